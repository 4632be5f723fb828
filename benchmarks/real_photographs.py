"""Measure attributree on real photographs, with the very commands a user types; `make bench` runs this.

    python benchmarks/real_photographs.py [--train 3000] [--test 2000] [--hidden 0.6] [--seed 0]

Makes a partially labelled catalogue from Fashion-MNIST (see fashion_mnist.py) in a fresh folder below
build/bench/, installs its plugin, and runs init, ingest, sync-catalog and evaluate as subprocesses. Prints one
table and writes the same as build/bench/real_photographs.json. The trunk starts from random weights, so nothing
is fetched, and nothing that was learnt elsewhere flatters the scores. The plugin is uninstalled at the end unless
it was there before.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from commands import (
    ROOT,
    BenchmarkError,
    Runner,
    Timing,
    new_catalogue,
    read_report,
    settings_for,
    with_plugins,
)
from fashion_mnist import ATTRIBUTES, N_A, UNKNOWN, Dataset, DatasetError, make_dataset

DISTRIBUTION = "attributree-fashion-mnist"
IMAGE_SIZE = 32


@dataclass(frozen=True)
class Score:
    """One line of the table. Shares and scores from 0 to 1; a score is None where nothing could be measured."""

    attribute: str
    status: str
    visible: float
    labels_used: int
    n_test: int
    majority: float
    accuracy: float | None
    macro_f1: float | None
    ece: float | None
    train_seconds: float | None


def majority_shares(ingest_file: Path) -> dict[str, float]:
    """Return, per attribute, the share of the commonest value among the labelled test cells."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ATTRIBUTES}
    with ingest_file.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["split"] == "test":
                for name in ATTRIBUTES:
                    if row[name] not in (N_A, UNKNOWN) and "|" not in row[name]:
                        counts[name][row[name]] += 1
    return {name: max(count.values()) / count.total() for name, count in counts.items() if count}


def collect(
    sync: Mapping[str, Any], evaluation: Mapping[str, Any], visible: Mapping[str, float], majority: Mapping[str, float]
) -> list[Score]:
    """Return one Score per attribute from the documents that sync-catalog and evaluate printed.

    Attributes of other plugins are left out. An attribute that was not promoted has no scores.
    Raises BenchmarkError if sync-catalog's document says nothing of an attribute.
    """
    results = {entry["attribute"]: entry for entry in sync["results"]}
    scores = []
    for name in ATTRIBUTES:
        if name not in results:
            raise BenchmarkError(
                f"sync-catalog did not plan and train {name!r}; is {DISTRIBUTION} installed and enabled?"
            )
        measured = evaluation["attributes"].get(name, {})
        scores.append(
            Score(
                attribute=name,
                status=results[name]["status"],
                visible=visible[name],
                labels_used=results[name]["metrics"].get("train_labels", 0),
                n_test=measured.get("n", 0),
                majority=majority[name],
                accuracy=measured.get("accuracy"),
                macro_f1=measured.get("macro_f1"),
                ece=measured.get("ece"),
                train_seconds=results[name].get("seconds"),
            )
        )
    return scores


def render(scores: Sequence[Score], timings: Sequence[Timing], parameters: Mapping[str, Any], console: Console) -> None:
    """Print the table, the seconds of each command and the parameters of the run."""
    table = Table(title="Real photographs: scores on the test split")
    table.add_column("attribute", no_wrap=True)
    for heading in ("visible", "labels used", "n test", "commonest", "accuracy", "macro-F1", "ECE"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for s in scores:
        measured = [f"{value:.3f}" if value is not None else "-" for value in (s.accuracy, s.macro_f1, s.ece)]
        counted = [f"{s.visible:.0%}", str(s.labels_used), str(s.n_test), f"{s.majority:.3f}"]
        seconds = f"{s.train_seconds:.1f}" if s.train_seconds is not None else "-"
        table.add_row(s.attribute, *counted, *measured, seconds, s.status)
    console.print(table)
    console.print("visible: share of the labels left in the file; commonest: accuracy of always giving that value;")
    console.print("seconds: training\n")
    for timing in timings:
        console.print(f"{timing.seconds:9.1f} s  {timing.command}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        "\n" + ", ".join(f"{key} {value}" for key, value in parameters.items()), markup=False, highlight=False
    )


def measure(folder: Path, data: Dataset, runner: Runner, seed: int, epochs: int) -> list[Score]:
    """Run the user's commands in `folder` on `data` and return the scores. Raises BenchmarkError."""
    with with_plugins(runner, DISTRIBUTION):
        config = settings_for(DISTRIBUTION, backbone="resnet34", image_size=IMAGE_SIZE, seed=seed, epochs=epochs)
        files = (data.ingest_file.relative_to(folder), data.images.relative_to(folder), "import")
        new_catalogue(folder, runner, config, files)
        sync = runner.run("attributree", "sync-catalog", "--json", cwd=folder, capture=True)
        evaluation = runner.run("attributree", "evaluate", "--json", cwd=folder, capture=True)
    return collect(
        read_report(sync, "attributree sync-catalog --json"),
        read_report(evaluation, "attributree evaluate --json"),
        {name: coverage.share for name, coverage in data.coverage.items()},
        majority_shares(data.ingest_file),
    )


@click.command()
@click.option("--train", default=3000, show_default=True, help="Training-side images (train and val); 0 for all.")
@click.option("--test", default=2000, show_default=True, help="Test images; 0 for all.")
@click.option("--hidden", default=0.6, show_default=True, help="Share of the labels hidden outside the test split.")
@click.option("--seed", default=0, show_default=True, help="Seed of the data and of the training.")
@click.option("--epochs", default=10, show_default=True, help="Training epochs.")
@click.option("--source", type=click.Path(path_type=Path, file_okay=False), help="Folder of the four idx .gz files.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build/bench", help="Folder to write."
)
def main(train: int, test: int, hidden: float, seed: int, epochs: int, source: Path | None, out: Path) -> None:
    """Measure attributree on Fashion-MNIST and print one table."""
    folder = out.resolve() / "real_photographs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    runner = Runner()
    try:
        start = time.perf_counter()
        data = make_dataset(folder / "data", source=source, train=train, test=test, hidden=hidden, seed=seed)
        print(f"{data.ingest_file}: {data.counts} in {time.perf_counter() - start:.1f} s", flush=True)
        scores = measure(folder, data, runner, seed, epochs)
    except (BenchmarkError, DatasetError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    parameters: dict[str, Any] = {
        "cores": os.cpu_count(),
        "torch": version("torch"),
        "weights": "random",
        "image_size": IMAGE_SIZE,
        **data.counts,
        "hidden": hidden,
        "seed": seed,
        "epochs": epochs,
    }
    render(scores, runner.timings, parameters, Console(width=max(Console().width, 120)))
    report = {
        "parameters": parameters,
        "data": {name: asdict(coverage) for name, coverage in data.coverage.items()},
        "attributes": [asdict(score) for score in scores],
        "commands": [asdict(timing) for timing in runner.timings],
    }
    written = out / "real_photographs.json"
    written.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
