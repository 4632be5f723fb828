"""Compare individual models, one multi-label model and the progressive tree on Fashion-MNIST; `make bench` runs this.

    python benchmarks/three_ways.py [--hidden 0.6] [--seed 0 --seed 1 --seed 2] [--train 2000] [--test 2000]

For each seed it makes a partially labelled catalogue (see fashion_mnist.py), ingests it and runs `attributree
compare` on it, as a user would. Data, hidden cells and training all follow the seed. Prints the arms side by side,
means over the seeds, with the paired differences of the progressive arms from the others, and writes everything, the
95 % intervals over test images too, as build/bench/three_ways-HIDDEN.json.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from commands import ROOT, BenchmarkError, Runner, new_catalogue, read_report, settings_for, with_plugins
from fashion_mnist import ATTRIBUTES, DatasetError, make_dataset

DISTRIBUTION = "attributree-fashion-mnist"
IMAGE_SIZE = 32


def compare_one(folder: Path, runner: Runner, seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the catalogue of one seed in `folder`, run `attributree compare` on it and return its document."""
    folder.mkdir(parents=True)
    sizes = {key: settings[key] for key in ("train", "test", "hidden", "source")}
    data = make_dataset(folder / "data", seed=seed, **sizes)
    backbone, epochs = settings["backbone"], settings["epochs"]
    config = settings_for(DISTRIBUTION, backbone=backbone, image_size=IMAGE_SIZE, seed=seed, epochs=epochs)
    new_catalogue(folder, runner, config, (data.ingest_file, data.images, "import"))
    runner.run("attributree", "sync-catalog", "--no-train", cwd=folder)
    wanted = [option for name in ATTRIBUTES for option in ("--attribute", name)]
    command = ("attributree", "compare", "--json", "--out", "comparison", *wanted)
    return read_report(runner.run(*command, cwd=folder, capture=True), "attributree compare --json")


def summarise(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each arm's means over the seeds, and the differences of every pair of arms by seed."""
    arms = {
        arm: {
            "mean_macro_f1": mean(d["arms"][arm]["mean_macro_f1"] for d in documents),
            "mean_accuracy": mean(a["accuracy"] for d in documents for a in d["arms"][arm]["attributes"].values()),
            "train_seconds": mean(d["arms"][arm]["train_seconds"] for d in documents),
            "parameters": mean(d["arms"][arm]["parameters"] for d in documents),
            "predict_ms_per_image": mean(d["arms"][arm]["predict_ms_per_image"] for d in documents),
            "attributes": {
                name: mean(d["arms"][arm]["attributes"][name]["macro_f1"] for d in documents) for name in ATTRIBUTES
            },
        }
        for arm in documents[0]["arms"]
    }
    differences = {
        f"{one} - {other}": {
            "mean": arms[one]["mean_macro_f1"] - arms[other]["mean_macro_f1"],
            "by_seed": [d["arms"][one]["mean_macro_f1"] - d["arms"][other]["mean_macro_f1"] for d in documents],
            "within_seeds": [d["differences"].get(f"{one} - {other}") for d in documents],
        }
        for one in arms
        if one.startswith("progressive")
        for other in arms
        if other in ("individual", "multilabel")
    }
    return {"arms": arms, "differences": differences, "calibration": calibration(documents)}


def calibration(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each attribute's expected calibration error and accepted accuracy in the progressive arm, by seed."""
    told: dict[str, Any] = {}
    for name in ATTRIBUTES:
        rows = [d["arms"]["progressive"]["attributes"][name] for d in documents]
        told[name] = {key: [row[key] for row in rows] for key in ("n", "ece", "coverage", "accepted_accuracy")}
    return told


def render(summary: Mapping[str, Any], parameters: Mapping[str, Any], console: Console) -> None:
    """Print macro-F1 by attribute and arm, the costs, and the differences."""
    arms = summary["arms"]
    table = Table(title=f"macro-F1 on test, mean of seeds {parameters['seeds']}, {parameters['hidden']:.0%} hidden")
    table.add_column("attribute")
    for arm in arms:
        table.add_column(arm, justify="right")
    for name in ATTRIBUTES:
        table.add_row(name, *(f"{arm['attributes'][name]:.3f}" for arm in arms.values()))
    table.add_section()
    for label, key, shown in (
        ("mean macro-F1", "mean_macro_f1", "{:.4f}"),
        ("mean accuracy", "mean_accuracy", "{:.4f}"),
        ("training seconds", "train_seconds", "{:.0f}"),
        ("parameters", "parameters", "{:,.0f}"),
        ("predict ms an image", "predict_ms_per_image", "{:.2f}"),
    ):
        table.add_row(label, *(shown.format(arm[key]) for arm in arms.values()))
    console.print(table)
    for pair, difference in summary["differences"].items():
        seeds = ", ".join(f"{100 * value:+.2f}" for value in difference["by_seed"])
        console.print(f"{pair}: {100 * difference['mean']:+.2f} points (by seed {seeds})", highlight=False)
    console.print("\ncalibration of the progressive arm, by seed", highlight=False)
    for name, told in summary["calibration"].items():
        numbers = (f"{key} {', '.join('-' if v is None else f'{v:.3f}' for v in told[key])}" for key in list(told)[1:])
        console.print(f"  {name:18} {'; '.join(numbers)}", highlight=False)
    console.print("\n" + ", ".join(f"{key} {value}" for key, value in parameters.items()), highlight=False)


@click.command()
@click.option("--train", default=2000, show_default=True, help="Training-side images (train and val); 0 for all.")
@click.option("--test", default=2000, show_default=True, help="Test images; 0 for all.")
@click.option("--hidden", default=0.6, show_default=True, help="Share of the labels hidden outside the test split.")
@click.option("--seed", "seeds", default=(0, 1, 2), multiple=True, show_default=True, help="Seeds; repeatable.")
@click.option("--epochs", default=10, show_default=True, help="Most epochs of each training.")
@click.option("--backbone", default="resnet34", show_default=True, help="Any timm model with stages.")
@click.option("--jobs", default=1, show_default=True, help="Seeds measured side by side, one thread each if over 1.")
@click.option("--source", type=click.Path(path_type=Path, file_okay=False), help="Folder of the four idx .gz files.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build/bench", help="Folder to write."
)
def main(seeds: tuple[int, ...], jobs: int, out: Path, **settings: Any) -> None:
    """Compare three ways on Fashion-MNIST."""
    folder = out.resolve() / f"three_ways-{settings['hidden']}"
    shutil.rmtree(folder, ignore_errors=True)
    runner = Runner()
    if jobs > 1:
        runner.environment["OMP_NUM_THREADS"] = "1"
    try:
        with with_plugins(runner, DISTRIBUTION), ThreadPoolExecutor(jobs) as pool:
            work = [pool.submit(compare_one, folder / f"seed-{seed}", runner, seed, settings) for seed in seeds]
            documents = [job.result() for job in work]
    except (BenchmarkError, DatasetError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    parameters: dict[str, Any] = {
        **{key: settings[key] for key in ("train", "test", "hidden", "epochs", "backbone")},
        "seeds": list(seeds),
        "image_size": IMAGE_SIZE,
        "weights": "random",
        "cores": os.cpu_count(),
        "threads": 1 if jobs > 1 else os.cpu_count(),
        "side_by_side": jobs,
        "torch": version("torch"),
        "python": sys.version.split()[0],
    }
    summary = summarise(documents)
    render(summary, parameters, Console(width=max(Console().width, 120)))
    written = out / f"three_ways-{settings['hidden']}.json"
    written.write_text(json.dumps({"parameters": parameters, **summary, "seeds": documents}, indent=2) + "\n")
    print(written)


if __name__ == "__main__":
    main()
