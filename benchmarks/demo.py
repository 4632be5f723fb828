"""The whole job on a drawn catalogue, with the very commands a user types; `make demo` runs this.

    python benchmarks/demo.py [--trunk auto] [--count 1600] [--seed 0]

Draws tops, dresses and jeans of which 40 % of the labels are missing, some are ambiguous and some contradict each
other; ingests them, syncs with two plugins, installs a third with pip, syncs again and fills the gaps. Since the
garments are drawn, the hidden labels are known, and the answers to the gaps are compared with them at the end.
The plugins stay installed in .venv, and the catalogue stays in build/demo/, to be played with.

The trunk is timm's resnet34 with its ImageNet weights where they are cached or the hub answers, else the packaged
EfficientNet-Lite0; `--trunk resnet34-random` (`make demo TRUNK=resnet34-random`) learns one from the drawings alone.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import timm
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

from attributree_drawn_shop import GarmentOptions, write_catalogue
from commands import BenchmarkError, Runner, installed, other_plugins

ROOT = Path(__file__).resolve().parent.parent
FIRST, LATER = ("neckline", "pattern"), "sleeves"
#: Words for article types, which know that jeans have no neckline.
TYPES = "fashion-types"
LITE0 = "efficientnet-lite0"
USED = tuple(f"attributree-{name}" for name in (TYPES, *FIRST, LATER, f"weights-{LITE0}"))
RESNET = "resnet34"
CONFIG = """\
[trunk]
{trunk}

[training]
epochs = {epochs}
seed = {seed}

[plugins]
disabled = {disabled}
"""
#: Branches that read the trunk's stored features, trained in seconds. "auto" would also try deeper ones, for minutes.
EXITS = "\n".join(f'[attributes.{name}]\ndepth = "exit"\n' for name in ("neckline", "pattern", "sleeve_length"))


@dataclass(frozen=True)
class Trunk:
    """A trunk of the demo: in words, its lines of the [trunk] section, the photos' width, epochs, and more settings."""

    what: str
    section: str
    size: int
    epochs: int
    more: str = ""


def _pretrained(what: str, backbone: str, weights: str) -> Trunk:
    return Trunk(what, f'backbone = "{backbone}"\nweights = "{weights}"\nimage_size = 160', 160, 20, EXITS)


TRUNKS = {
    RESNET: _pretrained("timm's resnet34 with ImageNet weights, from the hub", RESNET, "hub"),
    LITE0: _pretrained("EfficientNet-Lite0 with ImageNet weights, packaged", "tf_efficientnet_lite0", LITE0),
    "resnet34-random": Trunk(
        "resnet34 from random weights, learnt from these drawings alone",
        # The pictures are small: a branch owns the two upper stages.
        'backbone = "resnet34"\nweights = "random"\nimage_size = 64\nbranch_at = "layer3"',
        64,
        8,
    ),
}


def choose() -> tuple[Trunk, str]:
    """Return the trunk that `auto` means on this machine, and why: resnet34 if its weights are cached or to be had."""
    config = timm.get_pretrained_cfg(RESNET)
    if config is None or config.hf_hub_id is None:
        raise BenchmarkError(f"timm {timm.__version__} names no weights of {RESNET}; give --trunk {LITE0}")
    if isinstance(try_to_load_from_cache(config.hf_hub_id, "model.safetensors"), str):
        return TRUNKS[RESNET], "downloaded before"
    try:
        get_hf_file_metadata(hf_hub_url(config.hf_hub_id, "model.safetensors"), timeout=5)
    except Exception as error:  # each version of the hub's client has its own
        return TRUNKS[LITE0], f"{constants.ENDPOINT} cannot be asked: {type(error).__name__}"
    return TRUNKS[RESNET], f"{constants.ENDPOINT} answers"


def say(text: str) -> None:
    """Print a heading of the demo itself."""
    print(f"\n== {text}", flush=True)


def install(runner: Runner, *plugins: str) -> None:
    """Install first-party plugins with pip, as anybody's would be."""
    paths = [f"./plugins/attributree-{plugin}" for plugin in plugins]
    runner.run("pip", "install", "--quiet", "--no-build-isolation", "--no-deps", *paths, cwd=ROOT)


def grown(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of what could be trained; an attribute without labels is blocked, and no failure.

    Raises BenchmarkError unless each was promoted and left the earlier branches as they were.
    """
    results = [result for result in report["results"] if result["status"] != "blocked"]
    for result in results:
        if result["status"] != "promoted":
            raise BenchmarkError(f"{result['attribute']} was not promoted: {result['reason']}")
        if result["unchanged"]["max_abs_diff"] != 0.0:
            raise BenchmarkError(f"growing {result['attribute']} moved earlier branches: {result['unchanged']}")
    return results


def compare(predictions: list[dict[str, Any]], truth: dict[str, dict[str, str]]) -> None:
    """Print, per attribute, how many gaps were filled or sent to review, and how many of those are right."""
    print(f"{'attribute':<16}{'gaps':>6}{'accepted':>10}{'right':>8}{'review':>8}{'right':>8}")
    for name in sorted({p["attribute"] for p in predictions}):
        mine = [p for p in predictions if p["attribute"] == name]
        cells = [f"{name:<16}{len(mine):>6}"]
        for decision, width in (("accept", 10), ("review", 8)):
            some = [p for p in mine if p["decision"] == decision]
            right = sum(p["value"] == truth[p["image"]][name] for p in some)
            cells.append(f"{len(some):>{width}}{f'{right / len(some):.0%}' if some else '-':>8}")
        print("".join(cells))


@click.command()
@click.option("--trunk", type=click.Choice(["auto", *TRUNKS]), default="auto", show_default=True)
@click.option("--count", default=1600, show_default=True, help="Photos to draw.")
@click.option("--seed", default=0, show_default=True, help="Seed of the drawings and of the training.")
@click.option("--variation", default=0.1, show_default=True, help="How varied the photos are, 0 to 1.")
def main(trunk: str, count: int, seed: int, variation: float) -> None:
    """Watch a partially labelled catalogue get its attributes."""
    start = time.perf_counter()
    folder = ROOT / "build" / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        chosen, why = choose() if trunk == "auto" else (TRUNKS[trunk], "as asked")
        print(f"trunk: {chosen.what} ({why})", flush=True)
        run(folder, Runner(), chosen, count, seed, variation)
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error
    say(f"done in {time.perf_counter() - start:.0f} s. Now try, with build/demo/plugins.toml:")
    print("   .venv/bin/attributree --config build/demo/plugins.toml status")


def run(folder: Path, runner: Runner, trunk: Trunk, count: int, seed: int, variation: float) -> None:
    """Do what the demo shows. Raises BenchmarkError if a command fails or a promise is broken."""
    say(f"{count} photos of tops, dresses and jeans, with holes in their labels")
    shop = write_catalogue(folder, count, seed=seed, options=GarmentOptions(size=trunk.size, variation=variation))
    print(", ".join(f"{number} {what}" for what, number in shop.counts.items()))

    say("two attribute plugins are installed, and one that knows what shops call their articles")
    if installed(f"attributree-{LATER}"):
        runner.run("pip", "uninstall", "--quiet", "--yes", f"attributree-{LATER}", cwd=ROOT)
    install(runner, TYPES, *FIRST)

    say("a catalogue is made and the label files are read: what is said, and what a supplier says otherwise")
    runner.run("attributree", "init", cwd=folder)
    disabled = json.dumps(other_plugins(*USED))
    config = CONFIG.format(trunk=trunk.section, epochs=trunk.epochs, seed=seed, disabled=disabled) + trunk.more
    (folder / "plugins.toml").write_text(config, encoding="utf-8")
    runner.run("attributree", "ingest", "products.csv", "--images", "photos", cwd=folder)
    runner.run("attributree", "ingest", "supplier.csv", "--images", "photos", "--source", "supplier", cwd=folder)
    runner.run("attributree", "status", cwd=folder)

    say("first sync: a trunk, and a branch for each attribute")
    runner.run("attributree", "sync-catalog", cwd=folder)

    say("a third plugin arrives; its labels have been in the catalogue all along")
    install(runner, LATER)
    runner.run("attributree", "sync-catalog", "--dry-run", cwd=folder)
    report = json.loads(runner.run("attributree", "sync-catalog", "--json", cwd=folder, capture=True))
    for result in grown(report):
        proof, scores = result["unchanged"], result["metrics"]["test"]
        print(
            f"{result['attribute']}: {result['status']} in {result['seconds']:.0f} s, held-out accuracy "
            f"{scores['accuracy']:.3f}, macro-F1 {scores['macro_f1']:.3f}\n{', '.join(proof['attributes'])}: "
            f"max_abs_diff {proof['max_abs_diff']} on {proof['images']} probe images"
        )

    say("a second sync has nothing to do")
    runner.run("attributree", "sync-catalog", cwd=folder)
    print(f"({runner.timings[-1].seconds:.1f} s)")

    say("the live tree on products it has never seen")
    runner.run("attributree", "evaluate", cwd=folder)

    say("the gaps are filled")
    lines = runner.run("attributree", "predict", "--missing", "--sheet", "sheet.png", cwd=folder, capture=True)
    (folder / "predictions.jsonl").write_text(lines, encoding="utf-8")
    predictions = [json.loads(line) for line in lines.splitlines()]
    decisions = Counter(prediction["decision"] for prediction in predictions)
    print(f"{decisions['accept']} gaps filled, {decisions['review']} to review, {decisions['error']} without an answer")
    compare(predictions, {image: dict(labels) for image, labels in shop.truth.items()})
    print(f"contact sheet: {(folder / 'sheet.png').relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
