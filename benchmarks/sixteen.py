"""What the ninth attribute costs, and what sixteen weigh, on Fashion-MNIST; `make bench` runs this.

    python benchmarks/sixteen.py [--seed 0 --seed 1 --seed 2] [--ninth silhouette --ninth sleeve_length] [--ninth-only]

For each seed: a catalogue with eight attributes live gets a ninth by `attributree sync-catalog`, with every depth
measured and as an exit outright, each with the activation store warm and with an empty cache; `attributree compare
--arm individual` trains a whole network for the same attribute to its own early stop. Several attributes may each be
the ninth, beside the same eight. Then, for the first seed, the others are added up to sixteen: each growth's proof that
no old logit moved, the tree's parameters, and what predicting sixteen attributes costs beside one plain backbone with
sixteen linear heads (not with `--ninth-only`). Written as build/bench/sixteen.json.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from attributree import Workspace
from attributree.heads import LinearHead
from attributree.nn.tree import Branch, KeyedBranch, Tree, copy_units
from attributree.nn.trunk import Backbone
from attributree.registry.trees import parameters
from commands import ROOT, BenchmarkError, Runner, new_catalogue, read_report, settings_for, with_plugins
from fashion_mnist import ALL_ATTRIBUTES, DatasetError, make_dataset

DISTRIBUTIONS = ("attributree-fashion-mnist", "attributree-fashion-mnist-more")
PREDICT_IMAGES, PASSES = 64, 9
#: How the ninth is asked for: the depth that `[attributes.NINTH]` sets.
DEPTHS = ("auto", "exit")
#: What is averaged over the seeds.
MEANS = ("warm_ratio", "cold_ratio", "macro_f1", "individual_macro_f1")


def eight_live(folder: Path, runner: Runner, seed: int, first: Sequence[str], settings: dict[str, Any]) -> Any:
    """Make a catalogue whose `first` eight attributes are live; return sync-catalog's document."""
    folder.mkdir(parents=True)
    sizes = {key: settings[key] for key in ("train", "test", "hidden", "source")}
    data = make_dataset(folder / "data", seed=seed, attributes=ALL_ATTRIBUTES, **sizes)
    shown = {key: settings[key] for key in ("backbone", "image_size", "branch_at", "epochs")}
    config = settings_for(*DISTRIBUTIONS, seed=seed, **shown)
    new_catalogue(folder, runner, config, (data.ingest_file, data.images, "import"))
    return sync(folder, runner, first)


def sync(folder: Path, runner: Runner, names: Sequence[str]) -> Any:
    """Run sync-catalog on `names` and return its document. Raises BenchmarkError if one is not promoted."""
    only = [option for name in names for option in ("--only", name)]
    text = runner.run("attributree", "sync-catalog", "--json", *only, cwd=folder, capture=True)
    report = read_report(text, "attributree sync-catalog --json")
    for result in report["results"]:
        if result["attribute"] in names and result["status"] != "promoted":
            raise BenchmarkError(f"{result['attribute']} was {result['status']}: {result['reason']}")
    return report


def add_ninth(folder: Path, runner: Runner, ninth: str) -> tuple[list[dict[str, Any]], Any, Path]:
    """Add `ninth` at each of DEPTHS to copies of `folder`, and train a whole network for it.

    Returns the figures by depth; and sync-catalog's document for "auto" on a warm store, and where it did that.
    """
    grown = {depth: (copied(folder, ninth, depth, "warm"), copied(folder, ninth, depth, "cold")) for depth in DEPTHS}
    reports = {
        depth: (sync(warm, runner, [ninth]), sync(cold, runner, [ninth])) for depth, (warm, cold) in grown.items()
    }
    kept, _ = grown["auto"]
    command = ("attributree", "compare", "--json", "--arm", "individual", "--attribute", ninth)
    alone = read_report(runner.run(*command, cwd=kept, capture=True), "attributree compare --json")
    individual = alone["arms"]["individual"]
    rows = [{"asked": depth, **_figures(ninth, warm, cold, individual)} for depth, (warm, cold) in reports.items()]
    return rows, reports["auto"][0], kept


def copied(folder: Path, ninth: str, depth: str, store: str) -> Path:
    """Return a copy of a catalogue where `ninth` is to have `depth`, without its cache if the store is cold."""
    where = folder.with_name(f"{folder.name}-{ninth}-{depth}-{store}")
    shutil.copytree(folder, where, ignore=shutil.ignore_patterns("cache") if store == "cold" else None)
    with (where / "plugins.toml").open("a", encoding="utf-8") as config:
        config.write(f'\n[attributes.{ninth}]\ndepth = "{depth}"\n')
    return where


def _figures(ninth: str, warm: Any, cold: Any, individual: Any) -> dict[str, Any]:
    (warm_result,), (cold_result,) = warm["results"], cold["results"]
    return {
        "attribute": ninth,
        "warm_seconds": warm_result["seconds"],
        "cold_seconds": cold_result["seconds"],
        "individual_seconds": individual["train_seconds"],
        "warm_ratio": warm_result["seconds"] / individual["train_seconds"],
        "cold_ratio": cold_result["seconds"] / individual["train_seconds"],
        "labels": warm_result["metrics"]["labels"],
        "macro_f1": warm_result["metrics"]["test"]["macro_f1"],
        "individual_macro_f1": individual["attributes"][ninth]["macro_f1"],
        "depth": warm_result["metrics"]["depth"],
        "donor": warm_result["metrics"]["donor"],
    }


def proofs(reports: Sequence[Any]) -> list[dict[str, Any]]:
    """Return, growth by growth, which old attributes were compared and by how much any logit moved."""
    results = [result for report in reports for result in report["results"] if result["status"] == "promoted"]
    return [{"attribute": result["attribute"], **result["unchanged"]} for result in results]


def weigh(folder: Path) -> dict[str, Any]:
    """Return parameters of the live tree and the time of a forward pass, beside one plain backbone's."""
    with Workspace.open(folder / "plugins.toml") as workspace:
        live = workspace.live()
        backbone, tree = live.loaded.backbone, live.loaded.tree
        depths = {name: record.depth for name, record in live.version.branches.items()}
        size = backbone.spec.image_size
        pixels = torch.randint(0, 256, (PREDICT_IMAGES, size, size, 3), dtype=torch.uint8)
        outputs = [live.attributes[name].labels.outputs for name in tree.branches]
        plain = copies(backbone, outputs, "head")
        trees = {
            "plain backbone with heads": plain,
            "live tree": tree,
            "every branch an exit": copies(backbone, outputs, "exit"),
            "every branch its last block": copies(backbone, outputs, "block"),
            "every branch its stage": copies(backbone, outputs, "stage"),
        }
        seconds = timed({name: lambda tree=tree: tree(pixels) for name, tree in trees.items()})
        one = parameters(plain)
        return {
            "attributes": len(tree.branches),
            "depths": depths,
            "trees": {
                name: {
                    "parameters": parameters(tree),
                    "parameters_ratio": parameters(tree) / one,
                    "ms_per_image": 1000 * seconds[name] / PREDICT_IMAGES,
                    "time_ratio": seconds[name] / seconds["plain backbone with heads"],
                }
                for name, tree in trees.items()
            },
        }


def copies(backbone: Backbone, outputs: Sequence[int], depth: str) -> Tree:
    """Return a tree with one linear head for each of `outputs`, whose branches own what `depth` says."""
    upper = {} if depth == "exit" else backbone.upper
    owned = {"exit": 0, "head": 0, "block": 1, "stage": len(upper)}[depth]
    shared = len(upper) - owned
    branches = {}
    for i, k in enumerate(outputs):
        units: dict[str, nn.Module] = copy_units(upper)
        keys = tuple(name if j < shared else f"{name} of {i}" for j, name in enumerate(units))
        branches[f"attribute_{i}"] = KeyedBranch(Branch(units, LinearHead(backbone.width(len(upper)), k)), keys)
    return Tree(backbone.trunk, branches)


def timed(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each, run in turns so that all see the same machine."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(PASSES + 1):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if turn:  # the first warms up
                taken[name].append(time.perf_counter() - start)
    return {name: median(seconds) for name, seconds in taken.items()}


def render(ninths: Sequence[dict[str, Any]], moved: Sequence[dict[str, Any]], weight: Any, console: Console) -> None:
    """Print the ninth attribute by seed, the proofs, and what the tree weighs."""
    table = Table(title="The ninth attribute, beside a network of its own")
    keys = (
        "seed",
        "attribute",
        "asked",
        "labels",
        "warm_seconds",
        "cold_seconds",
        "individual_seconds",
        "warm_ratio",
        "cold_ratio",
    )
    for key in (*keys, "macro_f1", "individual_macro_f1", "depth"):
        table.add_column(key.replace("_", " "), justify="right")
    for row in ninths:
        cells = (row[str(column.header).replace(" ", "_")] for column in table.columns)
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells))
    console.print(table)
    for name, asked in dict.fromkeys((row["attribute"], row["asked"]) for row in ninths):
        rows = [row for row in ninths if (row["attribute"], row["asked"]) == (name, asked)]
        means = (f"{key.replace('_', ' ')} {mean(row[key] for row in rows):.4f}" for key in MEANS)
        console.print(f"{name}, {asked}, means: {', '.join(means)}", highlight=False)
    if not weight:
        return
    worst = max(proof["max_abs_diff"] for proof in moved)
    console.print(f"{len(moved)} growths in a row, largest change of an old logit: {worst}", highlight=False)
    for name, told in weight["trees"].items():
        console.print(
            f"{name}: {told['parameters'] / 1e6:.1f} M parameters ({told['parameters_ratio']:.2f} times), "
            f"{told['ms_per_image']:.2f} ms an image ({told['time_ratio']:.2f} times)",
            highlight=False,
        )
    console.print(f"depths: {weight['depths']}", highlight=False)


@click.command()
@click.option("--train", default=2000, show_default=True, help="Training-side images (train and val); 0 for all.")
@click.option("--test", default=2000, show_default=True, help="Test images; 0 for all.")
@click.option("--hidden", default=0.6, show_default=True, help="Share of the labels hidden outside the test split.")
@click.option("--seed", "seeds", default=(0, 1, 2), multiple=True, show_default=True, help="Seeds; repeatable.")
@click.option(
    "--ninth",
    "ninths",
    default=(ALL_ATTRIBUTES[8],),
    multiple=True,
    show_default=True,
    type=click.Choice(ALL_ATTRIBUTES),
    help="Which attribute is the ninth; repeatable.",
)
@click.option("--ninth-only", is_flag=True, help="Leave out the growth to sixteen.")
@click.option("--epochs", default=20, show_default=True, help="Most epochs of each training.")
@click.option("--image-size", default=32, show_default=True, help="Side of the images, pixels.")
@click.option("--branch-at", default="layer4", show_default=True, help="The first stage that a branch owns.")
@click.option("--backbone", default="resnet34", show_default=True, help="Any timm model with stages.")
@click.option("--source", type=click.Path(path_type=Path, file_okay=False), help="Folder of the four idx .gz files.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build/bench", help="Folder to write."
)
def main(seeds: tuple[int, ...], ninths: tuple[str, ...], ninth_only: bool, out: Path, **settings: Any) -> None:
    """Measure the ninth attribute, and a tree of sixteen."""
    folder = out.resolve() / "sixteen"
    shutil.rmtree(folder, ignore_errors=True)
    runner = Runner()
    first = [name for name in ALL_ATTRIBUTES if name not in ninths][:8]
    added, grown = [], []
    try:
        with with_plugins(runner, *DISTRIBUTIONS):
            for seed in seeds:
                where = folder / f"seed-{seed}"
                begun = eight_live(where, runner, seed, first, settings)
                for ninth in ninths:
                    rows, report, full = add_ninth(where, runner, ninth)
                    added += [{"seed": seed, **row} for row in rows]
                    if not (grown or ninth_only):
                        whole = full
                        grown = [begun, report, sync(full, runner, ALL_ATTRIBUTES)]
            weight = {} if ninth_only else weigh(whole)
    except (BenchmarkError, DatasetError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    parameters_of_run = {
        **{key: settings[key] for key in ("train", "test", "hidden", "epochs", "image_size", "backbone", "branch_at")},
        "first": first,
        "weights": "random",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": version("torch"),
    }
    moved = proofs(grown)
    render(added, moved, weight, Console(width=max(Console().width, 160)))
    print(", ".join(f"{key} {value}" for key, value in parameters_of_run.items()))
    report = {"parameters": parameters_of_run, "ninth": added, "proofs": moved, "weight": weight}
    written = out / "sixteen.json"
    written.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
