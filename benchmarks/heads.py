"""Which head reads a small region best: every head of the library on drawn necklines and sleeves.

    python benchmarks/heads.py [--count 1200] [--epochs 12] [--seed 0 --seed 1]

A small trunk is learnt from the pattern and the colour of drawn garments, as one that has never heard of what comes
later. Then neckline and sleeve length grow on it with every head that answers them: on frozen features (depth `head`),
and with the last block trained too (depth `block`); each time from the same trunk, donors and splits. Seeds are those
of the growths; drawings and trunk are the same. Scores are macro-F1 on the test split.

Written as build/bench/heads.json.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from attributree import Attribute, Workspace, hookimpl
from attributree.heads import new_head
from attributree.settings.head_names import HEAD_NAMES, unfit
from attributree_drawn_shop import GarmentOptions, garment_attributes, write_catalogue
from commands import ROOT, BenchmarkError, other_plugins

FIRST, LATER = ("pattern", "colour"), ("neckline", "sleeve_length")
DEPTHS = ("head", "block")
DRAWN, READ = 64, 128  # pixels; 32 of these are one place of the map, so heads see 4 x 4
CONFIG = """\
[trunk]
backbone = "test_resnet"
weights = "random"
image_size = {size}

[training]
epochs = {epochs}
learning_rate = 0.003
seed = {seed}
max_loss = 100

[plugins]
disabled = {disabled}
"""
CHOICE = '\n[attributes.{name}]\nhead = "{head}"\ndepth = "{depth}"\n'


class Plugin:
    """Declares the drawn garments' attributes of these names."""

    def __init__(self, *names: str) -> None:
        self.attributes = [attribute for attribute in garment_attributes() if attribute.name in names]

    @hookimpl
    def attributree_attributes(self) -> list[Attribute]:
        """Return the attributes."""
        return self.attributes


def settings(epochs: int, seed: int) -> str:
    """Return the configuration that all arms share."""
    return CONFIG.format(size=READ, epochs=epochs, seed=seed, disabled=json.dumps(other_plugins()))


def sync(folder: Path, config: str, *names: str) -> dict[str, dict[str, Any]]:
    """Sync the catalogue in `folder` under `config`; return what is reported of each attribute that trained."""
    (folder / "plugins.toml").write_text(config, encoding="utf-8")
    with Workspace.open(folder / "plugins.toml", extra_plugins={"garments": Plugin(*names)}) as workspace:
        results = workspace.sync().results
    for result in results:
        if not result.metrics:
            raise BenchmarkError(f"{result.attribute} was {result.status}: {result.reason}")
    return {result.attribute: {"seconds": result.seconds, **result.metrics} for result in results}


def learn_trunk(base: Path, count: int, epochs: int, variation: float) -> None:
    """Draw a catalogue in `base`, ingest it and sync what is learnt first."""
    base.mkdir(parents=True)
    options = GarmentOptions(
        size=DRAWN,
        variation=variation,
        hidden=0,
        ambiguous=0,
        contradictory=0,
        article_types={"top": 0.6, "dress": 0.4},
    )
    shop = write_catalogue(base, count, options=options)
    with Workspace.create(base) as workspace:
        workspace.ingest(shop.products, images=shop.photos)
    sync(base, settings(epochs, 0), *FIRST)


def grow_all(base: Path, epochs: int, seed: int) -> list[dict[str, Any]]:
    """Grow every arm of one seed, each on a copy of the catalogue in `base`; return a row for each."""
    rows = []
    for attribute in Plugin(*LATER).attributes:
        for head in HEAD_NAMES:
            if unfit(head, attribute):
                continue
            for depth in DEPTHS:
                arm = base.parent / "arm"
                shutil.copytree(base, arm)
                choice = CHOICE.format(name=attribute.name, head=head, depth=depth)
                found = sync(arm, settings(epochs, seed) + choice, *FIRST, attribute.name)[attribute.name]
                shutil.rmtree(arm)
                row = {"attribute": attribute.name, "head": head, "depth": depth, "seed": seed}
                row |= {key: found["test"][key] for key in ("macro_f1", "accuracy", "n")}
                rows.append(row | {"seconds": round(found["seconds"], 2), "labels": found["labels"]})
                print(json.dumps(rows[-1]), flush=True)
    return rows


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each attribute, head and depth: mean and deviation over the seeds."""
    lines = []
    for key in dict.fromkeys((row["attribute"], row["head"], row["depth"]) for row in rows):
        mine = [row for row in rows if (row["attribute"], row["head"], row["depth"]) == key]
        scores = [row["macro_f1"] for row in mine]
        schema = Plugin(key[0]).attributes[0]
        lines.append(
            {
                **dict(zip(("attribute", "head", "depth"), key, strict=True)),
                "macro_f1": round(mean(scores), 3),
                "deviation": round(pstdev(scores), 3),
                "accuracy": round(mean(row["accuracy"] for row in mine), 3),
                "seconds": round(mean(row["seconds"] for row in mine), 1),
                "parameters": sum(p.numel() for p in new_head(key[1], schema, 96).parameters()),
            }
        )
    return lines


@click.command()
@click.option("--count", default=1200, show_default=True, help="Photos to draw.")
@click.option("--epochs", default=12, show_default=True, help="Most epochs of each training.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1), show_default=True, help="Repeat for more.")
@click.option("--variation", default=0.1, show_default=True, help="How varied the photos are, 0 to 1.")
def main(count: int, epochs: int, seeds: tuple[int, ...], variation: float) -> None:
    """Compare the heads of the library on what fills a few places of a picture."""
    folder = ROOT / "build" / "bench" / "heads"
    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    try:
        learn_trunk(folder / "base", count, epochs, variation)
        rows = [row for seed in seeds for row in grow_all(folder / "base", epochs, seed)]
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error
    lines, seconds = summarise(rows), round(time.perf_counter() - start, 1)
    given = {"count": count, "epochs": epochs, "seeds": seeds, "variation": variation, "drawn": DRAWN, "read": READ}
    document = {"settings": given, "seconds": seconds, "summary": lines, "rows": rows}
    (folder.parent / "heads.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    title = f"{count} drawn photos, {len(seeds)} seeds, {seconds:.0f} s; macro-F1 on test, mean and deviation"
    table = Table(*lines[0], title=title)
    for line in lines:
        table.add_row(*map(str, line.values()))
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main())
