"""All first-party plugins at once on a drawn catalogue: one sync-catalog grows every branch; `make bench` runs this.

    python benchmarks/first_party.py [--count 3000] [--epochs 10] [--seed 0] [--hidden 0.4]

Installs every fashion plugin of plugins/, draws tops, dresses and jeans with all seventeen attributes, hides a share
of their labels, and runs init, ingest, one sync-catalog and evaluate as a user would. The trunk starts from random
weights. Prints one table by attribute and writes the same as build/bench/first_party.json. Plugins that were not
installed before are uninstalled at the end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from attributree.schema import NOT_APPLICABLE, SEPARATOR, MultiLabel
from attributree_drawn_shop import GarmentCatalogue, GarmentOptions, garment_attributes, write_catalogue
from commands import ROOT, BenchmarkError, Runner, Timing, new_catalogue, read_report, settings_for, with_plugins

PLUGINS = "closure collar colour dresses hem-length jeans neckline occasion pattern silhouette sleeves".split()
DISTRIBUTIONS = tuple(f"attributree-{name}" for name in PLUGINS)
ATTRIBUTES = {attribute.name: attribute.labels for attribute in garment_attributes(detailed=True)}
#: More jeans than a shop has, for the four attributes that only jeans have.
ARTICLE_TYPES = {"top": 0.36, "dress": 0.34, "jeans": 0.30}


@dataclass(frozen=True)
class Line:
    """One attribute: how its branch grew, and its test scores beside those of always giving the commonest answer."""

    attribute: str
    status: str
    labels: int
    depth: str | None
    donor: str | None
    seconds: float
    n_test: int
    majority: float | None
    accuracy: float | None
    macro_f1: float | None
    unchanged: float | None


def majorities(truth: Mapping[str, Mapping[str, str]]) -> dict[str, float]:
    """Return, per attribute, the share of its commonest answer among the images that it applies to.

    In an open world only presence is known, and saying everything is always right: there is no such share.
    """
    shares = {}
    for name, schema in ATTRIBUTES.items():
        if isinstance(schema, MultiLabel) and not schema.closed_world:
            continue
        answers = Counter(frozenset(labels[name].split(SEPARATOR)) for labels in truth.values())
        del answers[frozenset([NOT_APPLICABLE])]
        shares[name] = max(answers.values()) / answers.total()
    return shares


def collect(
    sync: Mapping[str, Any], evaluation: Mapping[str, Any], truth: Mapping[str, Mapping[str, str]]
) -> list[Line]:
    """Return a line for each attribute from what sync-catalog and evaluate printed. Raises BenchmarkError."""
    results = {entry["attribute"]: entry for entry in sync["results"]}
    commonest = majorities(truth)
    if absent := [name for name in ATTRIBUTES if name not in results]:
        raise BenchmarkError(f"sync-catalog did not grow {', '.join(absent)}; its plan was {sync['plan']}")
    lines = []
    for name in ATTRIBUTES:
        result, measured = results[name], evaluation["attributes"].get(name, {})
        lines.append(
            Line(
                attribute=name,
                status=result["status"],
                labels=result["metrics"].get("train_labels", 0),
                depth=result["metrics"].get("depth"),
                donor=result["metrics"].get("donor"),
                seconds=result["seconds"],
                n_test=measured.get("n", 0),
                majority=commonest.get(name),
                accuracy=measured.get("accuracy"),
                macro_f1=measured.get("macro_f1"),
                unchanged=result["unchanged"]["max_abs_diff"] if result["unchanged"] else None,
            )
        )
    return lines


def render(lines: Sequence[Line], timings: Sequence[Timing], parameters: Mapping[str, Any], console: Console) -> None:
    """Print the table, the seconds of each command and the parameters of the run."""
    table = Table(title="All first-party plugins, one sync-catalog: scores on the test split")
    table.add_column("attribute", no_wrap=True)
    for heading in ("labels", "depth", "seconds", "n test", "commonest", "accuracy", "macro-F1", "status"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        shares = (line.majority, line.accuracy, line.macro_f1)
        scores = [f"{share:.3f}" if share is not None else "-" for share in shares]
        cells = [str(line.labels), line.depth or "-", f"{line.seconds:.1f}", str(line.n_test)]
        table.add_row(line.attribute, *cells, *scores, line.status)
    console.print(table)
    moved = [line.unchanged for line in lines if line.unchanged is not None]
    promoted = sum(line.status == "promoted" for line in lines)
    console.print(f"{promoted} of {len(lines)} promoted; largest change of an old logit: {max(moved, default=None)}")
    console.print("labels: what the branch was trained on; commonest: accuracy of always giving that answer")
    console.print("occasion is an open world: its scores say how much of what is listed was found, and no more")
    for timing in timings:
        console.print(f"{timing.seconds:9.1f} s  {timing.command}", markup=False, highlight=False, soft_wrap=True)
    console.print(", ".join(f"{key} {value}" for key, value in parameters.items()), markup=False, highlight=False)


def measure(folder: Path, shop: GarmentCatalogue, runner: Runner, config: str) -> tuple[list[Line], Any]:
    """Run the user's commands and return the lines, and what sync-catalog says of the trunk. Raises BenchmarkError."""
    with with_plugins(runner, *DISTRIBUTIONS):
        new_catalogue(
            folder,
            runner,
            config,
            (shop.products.relative_to(folder), shop.photos.relative_to(folder), "import"),
            (shop.supplier.relative_to(folder), shop.photos.relative_to(folder), "supplier"),
        )
        runner.run("attributree", "plugins", "doctor", cwd=folder)
        sync = runner.run("attributree", "sync-catalog", "--json", cwd=folder, capture=True)
        evaluation = runner.run("attributree", "evaluate", "--json", cwd=folder, capture=True)
    report = read_report(sync, "attributree sync-catalog --json")
    return collect(report, read_report(evaluation, "attributree evaluate --json"), shop.truth), report["trunk"]


@click.command()
@click.option("--count", default=3000, show_default=True, help="Photos to draw.")
@click.option("--hidden", default=0.4, show_default=True, help="Share of the labels hidden.")
@click.option("--variation", default=0.1, show_default=True, help="How varied the photos are, 0 to 1.")
@click.option("--seed", default=0, show_default=True, help="Seed of the drawings and of the training.")
@click.option("--epochs", default=10, show_default=True, help="Most epochs of each training.")
@click.option("--image-size", default=64, show_default=True, help="Side of the photos, pixels.")
@click.option("--backbone", default="resnet18", show_default=True, help="Any timm model with stages.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build/bench", help="Folder to write."
)
def main(
    count: int, hidden: float, variation: float, seed: int, epochs: int, image_size: int, backbone: str, out: Path
) -> None:
    """Grow every first-party attribute in one sync."""
    folder = out.resolve() / "first_party"
    shutil.rmtree(folder, ignore_errors=True)
    runner = Runner()
    options = GarmentOptions(
        size=image_size, hidden=hidden, variation=variation, article_types=ARTICLE_TYPES, detailed=True
    )
    shop = write_catalogue(folder / "shop", count, seed=seed, options=options)
    print(", ".join(f"{number} {what}" for what, number in shop.counts.items()), flush=True)
    config = settings_for(*DISTRIBUTIONS, backbone=backbone, image_size=image_size, seed=seed, epochs=epochs)
    try:
        lines, trunk = measure(folder, shop, runner, config)
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error
    parameters: dict[str, Any] = {
        "cores": os.cpu_count(),
        "torch": version("torch"),
        "weights": "random",
        "backbone": backbone,
        "image_size": image_size,
        "variation": variation,
        "epochs": epochs,
        "seed": seed,
        **shop.counts,
    }
    render(lines, runner.timings, parameters, Console(width=max(Console().width, 120)))
    report = {
        "parameters": parameters,
        "trunk": trunk,
        "attributes": [asdict(line) for line in lines],
        "commands": [asdict(timing) for timing in runner.timings],
    }
    written = out / "first_party.json"
    written.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
