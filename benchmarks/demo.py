"""The whole job on a drawn catalogue, with the very commands a user types; `make demo` runs this.

    python benchmarks/demo.py [--count 1600] [--epochs 8] [--seed 0]

Draws tops, dresses and jeans of which 40 % of the labels are missing, some are ambiguous and some contradict each
other; ingests them, syncs with two plugins, installs a third with pip, syncs again and fills the gaps. Since the
garments are drawn, the hidden labels are known, and the answers to the gaps are compared with them at the end.
The plugins stay installed in .venv, and the catalogue stays in build/demo/, to be played with.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from attributree_drawn_shop import GarmentOptions, write_catalogue
from commands import BenchmarkError, Runner, installed, other_plugins

ROOT = Path(__file__).resolve().parent.parent
FIRST, LATER = ("neckline", "pattern"), "sleeves"
CONFIG = """\
[trunk]
backbone = "resnet34"
weights = "random"        # nothing is downloaded: the trunk is learnt from this catalogue
image_size = 64
branch_at = "layer3"       # the pictures are small: a branch owns the two upper stages

[training]
epochs = {epochs}
seed = {seed}

[plugins]
disabled = {disabled}
"""


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
@click.option("--count", default=1600, show_default=True, help="Photos to draw.")
@click.option("--epochs", default=8, show_default=True, help="Training epochs.")
@click.option("--seed", default=0, show_default=True, help="Seed of the drawings and of the training.")
@click.option("--variation", default=0.1, show_default=True, help="How varied the photos are, 0 to 1.")
def main(count: int, epochs: int, seed: int, variation: float) -> None:
    """Watch a partially labelled catalogue get its attributes."""
    folder = ROOT / "build" / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.perf_counter()
    try:
        run(folder, Runner(), count, epochs, seed, variation)
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error
    say(f"done in {time.perf_counter() - start:.0f} s. Now try, with build/demo/plugins.toml:")
    print("   .venv/bin/attributree --config build/demo/plugins.toml status")


def run(folder: Path, runner: Runner, count: int, epochs: int, seed: int, variation: float) -> None:
    """Do what the demo shows. Raises BenchmarkError if a command fails or a promise is broken."""
    say(f"{count} photos of tops, dresses and jeans, with holes in their labels")
    shop = write_catalogue(folder, count, seed=seed, options=GarmentOptions(size=64, variation=variation))
    print(", ".join(f"{number} {what}" for what, number in shop.counts.items()))

    say("two attribute plugins are installed")
    if installed(f"attributree-{LATER}"):
        runner.run("pip", "uninstall", "--quiet", "--yes", f"attributree-{LATER}", cwd=ROOT)
    install(runner, *FIRST)

    say("a catalogue is made and the label files are read: what is said, and what a supplier says otherwise")
    runner.run("attributree", "init", cwd=folder)
    others = other_plugins(*(f"attributree-{name}" for name in (*FIRST, LATER)))
    config = CONFIG.format(epochs=epochs, seed=seed, disabled=json.dumps(others))
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
