"""What doubtful labels cost, on Fashion-MNIST: candidates, guesses and contradictions; `make bench` runs this.

    python benchmarks/ambiguous.py [--share 0.2] [--seed 0 --seed 1 --seed 2]

The same catalogue is trained four times from the same random weights: with clean labels; with a share of the train
split's labels as candidate pairs `truth|other`; with one of each pair picked at random; and with the other one said by
a second source. `attributree sync-catalog` learns trunk and branches anew each time, `attributree evaluate` scores them
on the same clean test labels. Written as build/bench/ambiguous.json.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from commands import ROOT, BenchmarkError, Runner, new_catalogue, read_report, settings_for, with_plugins
from fashion_mnist import ATTRIBUTES, DatasetError, make_dataset, write_rows
from label_noise import choose_cells, contradictions, read_rows, with_candidates, with_guesses

DISTRIBUTION = "attributree-fashion-mnist"
IMAGE_SIZE = 32
ARMS = ("clean", "candidates", "guesses", "contradictions")


def measure(folder: Path, runner: Runner, seed: int, share: float, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Train the four arms of one seed below `folder`; return each one's accuracies on test, by attribute."""
    from attributree_fashion_mnist import ATTRIBUTES as SCHEMAS  # installed by now

    folder.mkdir(parents=True)
    sizes = {key: settings[key] for key in ("train", "test", "hidden", "source")}
    data = make_dataset(folder / "data", seed=seed, **sizes)
    rows = read_rows(data.ingest_file)
    disputed = choose_cells(rows, SCHEMAS, share=share, seed=seed)
    files = {
        "clean": [("import", rows)],
        "candidates": [("import", with_candidates(rows, disputed))],
        "guesses": [("import", with_guesses(rows, disputed))],
        "contradictions": [("import", rows), ("supplier", contradictions(rows, disputed))],
    }
    scores = {}
    backbone, epochs = settings["backbone"], settings["epochs"]
    config = settings_for(DISTRIBUTION, backbone=backbone, image_size=IMAGE_SIZE, seed=seed, epochs=epochs)
    for arm in ARMS:
        where = folder / arm
        where.mkdir()
        for source, said in files[arm]:
            write_rows(where / f"{source}.csv", ("image", *ATTRIBUTES) if source != "import" else list(rows[0]), said)
        written = [(where / f"{source}.csv", data.images, source) for source, _ in files[arm]]
        new_catalogue(where, runner, config, *written)
        runner.run("attributree", "--quiet", "sync-catalog", "--json", cwd=where, capture=True)
        text = runner.run("attributree", "evaluate", "--json", cwd=where, capture=True)
        report = read_report(text, "attributree evaluate --json")
        for name in ATTRIBUTES:
            if name not in report["attributes"]:
                raise BenchmarkError(f"{name} has no live branch in the arm of {arm}; raise --train")
        scores[arm] = {name: report["attributes"][name]["accuracy"] for name in ATTRIBUTES}
    return {"seed": seed, "disputed": len(disputed), "accuracy": scores}


def summarise(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean accuracy of each arm, and its loss against clean labels in points, over all and by seed."""
    by_seed = {arm: [mean(one["accuracy"][arm].values()) for one in found] for arm in ARMS}
    losses = {arm: [100 * (c - a) for c, a in zip(by_seed["clean"], by_seed[arm], strict=True)] for arm in ARMS[1:]}
    guessed = mean(losses["guesses"])
    return {
        "accuracy": {arm: mean(values) for arm, values in by_seed.items()},
        "loss_points": {arm: mean(values) for arm, values in losses.items()},
        "loss_points_by_seed": losses,
        "share_of_the_guesses_loss": {arm: mean(losses[arm]) / guessed for arm in ("candidates", "contradictions")},
    }


@click.command()
@click.option("--train", default=1200, show_default=True, help="Training-side images (train and val); 0 for all.")
@click.option("--test", default=3000, show_default=True, help="Test images; 0 for all.")
@click.option("--hidden", default=0.2, show_default=True, help="Share of the labels hidden outside the test split.")
@click.option("--share", default=0.2, show_default=True, help="Share of the train split's labels put in doubt.")
@click.option("--seed", "seeds", default=(0, 1, 2), multiple=True, show_default=True, help="Seeds; repeatable.")
@click.option("--epochs", default=6, show_default=True, help="Most epochs of each training.")
@click.option("--backbone", default="resnet18", show_default=True, help="Any timm model with stages.")
@click.option("--jobs", default=1, show_default=True, help="Seeds measured side by side, one thread each if over 1.")
@click.option("--source", type=click.Path(path_type=Path, file_okay=False), help="Folder of the four idx .gz files.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build/bench", help="Folder to write."
)
def main(seeds: tuple[int, ...], share: float, jobs: int, out: Path, **settings: Any) -> None:
    """Measure what doubtful labels cost."""
    folder = out.resolve() / "ambiguous"
    shutil.rmtree(folder, ignore_errors=True)
    runner = Runner()
    if jobs > 1:
        runner.environment["OMP_NUM_THREADS"] = "1"
    try:
        with with_plugins(runner, DISTRIBUTION), ThreadPoolExecutor(jobs) as pool:
            work = [pool.submit(measure, folder / f"seed-{seed}", runner, seed, share, settings) for seed in seeds]
            found = [job.result() for job in work]
    except (BenchmarkError, DatasetError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    summary = summarise(found)
    table = Table(title=f"{share:.0%} of the training labels in doubt, seeds {', '.join(map(str, seeds))}")
    for heading in ("labels", "mean accuracy", "loss, points", "by seed"):
        table.add_column(heading, justify="right")
    for arm in ARMS:
        told = summary["loss_points_by_seed"].get(arm)
        loss = f"{summary['loss_points'][arm]:+.2f}" if told else ""
        table.add_row(arm, f"{summary['accuracy'][arm]:.4f}", loss, ", ".join(f"{x:+.2f}" for x in told or ()))
    console = Console(width=max(Console().width, 100))
    console.print(table)
    for arm, part in summary["share_of_the_guesses_loss"].items():
        console.print(f"{arm} lose {part:.2f} times what guesses lose", highlight=False)
    parameters = {
        **{key: settings[key] for key in ("train", "test", "hidden", "epochs", "backbone")},
        "share": share,
        "image_size": IMAGE_SIZE,
        "weights": "random",
        "cores": os.cpu_count(),
        "torch": version("torch"),
        "python": sys.version.split()[0],
    }
    print(", ".join(f"{key} {value}" for key, value in parameters.items()))
    written = out / "ambiguous.json"
    written.write_text(json.dumps({"parameters": parameters, **summary, "seeds": found}, indent=2) + "\n")
    print(written)


if __name__ == "__main__":
    main()
