"""A real shop's file as it comes, with half of its labels hidden, beside a linear classifier on the same features.

    python benchmarks/real_shop.py [--shop FOLDER] [--wardrobe FOLDER] [--hidden 0.5] [--seed 0 --seed 1 --seed 2]

FOLDER holds `products.csv` (`image`, `sku`, `article_type`, `title`, and one column an attribute) and `photos/`. A
share of each column's cells is hidden, and the user's commands run on what is left: init, ingest, sync-catalog,
evaluate, predict --missing. What is said of the hidden cells is compared with them. Then, with all first-party plugins:
types, mine, and a branch that is grown from what was mined. `--wardrobe` is a folder of other photographs, whose column
`article` says what is on them: what of the answers for `subCategory` is accepted there, and how much of that is right;
and the same of the rest once 20 photographs of each value were labelled and the branch was trained again.

Written as build/bench/real_shop.json; build/bench/real_shop/mined.csv lists 200 titles with what was read off them, for
a person to judge. The first seed's tree is asked about the other photographs. Features are computed by the first seed
and read again by the others.

The measured folders are not part of this repository: `shop` is 5,771 products of "Fashion Product Images" (Kaggle,
MIT licence), `wardrobe` "clothing-dataset-small" (CC0). By default they are looked for in the folder that the variable
ATTRIBUTREE_DATA names; without a shop nothing is measured.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score

from attributree import Workspace
from attributree.schema import Attribute, fold, reserved_column
from attributree.training.metrics import confidence_error
from commands import ROOT, BenchmarkError, Runner, other_plugins, read_report, with_plugins
from linear import Pyramids, classify

WEIGHTS, TYPES = "attributree-weights-efficientnet-lite0", "attributree-fashion-types"
FIRST_PARTY = tuple(
    f"attributree-{name}"
    for name in "closure collar colour dresses hem-length jeans neckline occasion pattern silhouette sleeves".split()
)
#: What the other photographs' articles are in the shop's column `subCategory`.
SHIFTED = {
    "dress": "Dress",
    "hat": "Headwear",
    "longsleeve": "Topwear",
    "outwear": "Topwear",
    "pants": "Bottomwear",
    "shirt": "Topwear",
    "shoes": "Shoes",
    "shorts": "Bottomwear",
    "skirt": "Bottomwear",
    "t-shirt": "Topwear",
}
SHIFT = "subCategory"
TAUGHT = 20  # photographs of each value that are labelled
TARGET = 0.9
JUDGED = 200

CONFIG = """\
[catalog]
auto_attributes = true
cache = "{cache}"

[trunk]
backbone = "tf_efficientnet_lite0"
weights = "efficientnet-lite0"
image_size = {size}

[training]
seed = {seed}
target_precision = {target}

[plugins]
disabled = {disabled}
{depths}"""

Row = dict[str, str]


@dataclass(frozen=True)
class Answers:
    """What was said of an attribute's hidden cells. Shares in 0..1; `unknown` cells hold a value too rare to learn."""

    n: int
    unknown: float
    accuracy: float
    macro_f1: float
    ece: float | None = None
    accepted: float | None = None
    right_of_accepted: float | None = None


def hide(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], dict[str, Row]]:
    """Return the rows with a share of each column's cells emptied, and the hidden cells by column and sku."""
    kept, hidden = [dict(row) for row in rows], dict[str, Row]()
    for name in (column for column in rows[0] if not reserved_column(column)):
        stated = [row for row in kept if row[name]]
        drawn = random.Random(f"{seed} {name}").sample(stated, round(share * len(stated)))
        hidden[name] = {row["sku"]: row[name] for row in drawn}
        for row in drawn:
            row[name] = ""
    return kept, hidden


def keys_of(attribute: Attribute, cells: Mapping[str, str]) -> dict[str, str]:
    """Return the value keys that cells mean; a cell that is no value's spelling keeps its text, in brackets."""
    keys = {fold(text): value.key for value in attribute.labels.values for text in value.spellings}
    return {sku: keys.get(fold(text), f"({text})") for sku, text in cells.items()}


def measure(wanted: Mapping[str, str], said: Mapping[str, str], known: Sequence[str]) -> Answers:
    """Return how right `said` is, by sku. Macro-F1 is over the `known` values that were hidden at least once."""
    skus = list(wanted)
    truth, answers = [wanted[sku] for sku in skus], [said[sku] for sku in skus]
    there = sorted({value for value in truth if value in set(known)})
    return Answers(
        n=len(skus),
        unknown=mean(value not in set(known) for value in truth),
        accuracy=mean(a == b for a, b in zip(truth, answers, strict=True)),
        macro_f1=float(f1_score(truth, answers, labels=there, average="macro", zero_division=0.0)),
    )


def of_predictions(wanted: Mapping[str, str], lines: Sequence[dict[str, Any]], known: Sequence[str]) -> Answers:
    """Return how right, how calibrated and how often accepted the lines of `predict` are. Raises BenchmarkError."""
    mine = {line["sku"]: line for line in lines if line["sku"] in wanted}
    if absent := wanted.keys() - mine.keys():
        raise BenchmarkError(f"predict --missing said nothing of {len(absent)} hidden cells, sku {min(absent)} for one")
    if refused := [line for line in mine.values() if line["decision"] not in ("accept", "review")]:
        raise BenchmarkError(f"{len(refused)} hidden cells were not answered: {refused[0]}")
    plain = measure(wanted, {sku: line["value"] for sku, line in mine.items()}, known)
    right = np.array([mine[sku]["value"] == value for sku, value in wanted.items()])
    confidence = np.array([mine[sku]["confidence"] for sku in wanted])
    accepted = np.array([mine[sku]["decision"] == "accept" for sku in wanted])
    return replace(
        plain,
        ece=confidence_error(confidence, right),
        accepted=float(accepted.mean()),
        right_of_accepted=float(right[accepted].mean()) if accepted.any() else None,
    )


class Shop:
    """A shop's folder, and the user's commands on copies of its file."""

    def __init__(self, shop: Path, work: Path, size: int, depth: str) -> None:
        self.photos = (shop / "photos").resolve()
        with (shop / "products.csv").open(encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.columns = [name for name in self.rows[0] if not reserved_column(name)]
        self.work, self.size, self.depth, self.runner = work, size, depth, Runner()

    def project(self, name: str, rows: Sequence[Row], seed: int, *plugins: str) -> Path:
        """Make a project of these rows, with no plugins but these and the ones for weights and article types."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with (folder / "products.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        self("attributree", "init", cwd=folder)
        named = () if self.depth == "auto" else (*self.columns, "pattern")
        config = CONFIG.format(
            cache=self.work / "cache",
            size=self.size,
            seed=seed,
            target=TARGET,
            disabled=json.dumps(other_plugins(WEIGHTS, TYPES, *plugins)),
            depths="".join(_depth(name, self.depth) for name in named),
        )
        (folder / "plugins.toml").write_text(config, encoding="utf-8")
        self("attributree", "ingest", "products.csv", "--images", str(self.photos), cwd=folder)
        return folder

    def __call__(self, *command: str, cwd: Path, capture: bool = False) -> str:
        """Run a command; see `Runner.run`."""
        return self.runner.run(*command, cwd=cwd, capture=capture)

    def report(self, *command: str, cwd: Path) -> dict[str, Any]:
        """Run a command with --json and return what it printed."""
        return read_report(self(*command, "--json", cwd=cwd, capture=True), " ".join(command))


def _depth(name: str, depth: str) -> str:
    return f'\n[attributes.{name}]\ndepth = "{depth}"\n'


def seconds(runner: Runner, since: int) -> dict[str, float]:
    """Return the seconds of the commands that ran since the one of that number, by their first words."""
    return {" ".join(timing.command.split()[1:3]): timing.seconds for timing in runner.timings[since:]}


def one_seed(shop: Shop, share: float, seed: int, wardrobe: Path | None) -> dict[str, Any]:
    """Hide, run the commands, compare; return what was found."""
    rows, hidden = hide(shop.rows, share, seed)
    since = len(shop.runner.timings)
    folder = shop.project(f"seed{seed}", rows, seed)
    synced = shop.report("attributree", "sync-catalog", cwd=folder)
    evaluated = shop.report("attributree", "evaluate", cwd=folder)
    text = shop("attributree", "predict", "--missing", cwd=folder, capture=True)
    spent = seconds(shop.runner, since)
    lines = [json.loads(line) for line in text.splitlines()]
    results = {result["attribute"]: result for result in synced["results"]}
    found: dict[str, Any] = {}
    with Workspace.open(folder / "plugins.toml") as workspace:
        images = {image.sku: image.id for page in workspace.labels.pages() for image in page if image.sku}
        pyramids = Pyramids.read(workspace, list(images.values()))
        for name in shop.columns:
            result = results.get(name)
            if result is None or result["status"] != "promoted":
                raise BenchmarkError(f"{name} was not promoted: {result}")
            attribute = workspace.labels.attributes()[name].schema
            wanted = keys_of(attribute, hidden[name])
            known = attribute.labels.keys
            branch = of_predictions(wanted, [line for line in lines if line["attribute"] == name], known)
            linear = classify(pyramids, workspace.labels.label_set(name), [images[sku] for sku in wanted])
            said = {sku: linear.said[images[sku]] for sku in wanted}
            found[name] = {
                "branch": asdict(branch),
                "linear": asdict(measure(wanted, said, known)),
                "depth": result["metrics"]["depth"],
                "labels": result["metrics"]["labels"],
                "seconds": result["seconds"],
                "linear_seconds": round(linear.seconds, 1),
                "penalty": linear.penalty,
                "test": evaluated["attributes"][name],
            }
    shifted = shift(shop, folder, wardrobe) if wardrobe else None
    return {"seed": seed, "attributes": found, "commands": spent, "shift": shifted}


def shift(shop: Shop, folder: Path, wardrobe: Path) -> dict[str, Any]:
    """Ask a shop's tree about other photographs; return what is accepted and how much of that is right.

    First as it is, then of the photographs that are left once some of each value were labelled and learnt.
    """
    with (wardrobe / "products.csv").open(encoding="utf-8", newline="") as file:
        articles = {row["image"]: row["article"] for row in csv.DictReader(file)}
    wanted = {image: SHIFTED[article] for image, article in articles.items() if article in SHIFTED}
    found = {"as it is": asked(shop, folder, wardrobe, wanted, articles)}
    by_value: dict[str, list[str]] = {}
    for image, value in wanted.items():
        by_value.setdefault(value, []).append(image)
    drawn = {image for value in sorted(by_value) for image in random.Random(value).sample(by_value[value], TAUGHT)}
    with (folder / "taught.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", SHIFT), *((image, wanted[image]) for image in sorted(drawn))])
    shop("attributree", "ingest", "taught.csv", "--images", str(wardrobe / "photos"), cwd=folder)
    shop.report("attributree", "sync-catalog", "--only", SHIFT, "--retrain", SHIFT, cwd=folder)
    left = {image: value for image, value in wanted.items() if image not in drawn}
    return found | {f"{TAUGHT} of each value labelled": asked(shop, folder, wardrobe, left, articles)}


def asked(
    shop: Shop, folder: Path, wardrobe: Path, wanted: Mapping[str, str], articles: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is accepted of the answers about photographs, and how much of that is right, by article."""
    text = shop(
        *(
            "attributree",
            "predict",
            "--attribute",
            SHIFT,
            "--",
            *(str(wardrobe / "photos" / image) for image in wanted),
        ),
        cwd=folder,
        capture=True,
    )
    lines = {Path(line["image"]).name: line for line in map(json.loads, text.splitlines())}
    groups: dict[str, list[tuple[bool, bool]]] = {}
    for image, value in wanted.items():
        line = lines[image]
        told = (line["decision"] == "accept", line["value"] is not None and fold(line["value"]) == fold(value))
        for group in ("all", articles[image]):
            groups.setdefault(group, []).append(told)
    return {group: _accepted(told) for group, told in sorted(groups.items())}


def _accepted(told: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    rights = [right for accepted, right in told if accepted]
    return {
        "n": len(told),
        "right": round(mean(right for _, right in told), 4),
        "accepted": round(len(rights) / len(told), 4),
        "right_of_accepted": round(mean(rights), 4) if rights else None,
    }


def types_and_titles(shop: Shop, seed: int) -> dict[str, Any]:
    """Ingest the file with every first-party plugin; see what is asked, mine the titles, grow what was mined."""
    rows = [{name: text for name, text in row.items() if reserved_column(name)} for row in shop.rows]
    with with_plugins(shop.runner, *FIRST_PARTY):
        folder = shop.project("all-plugins", rows, seed, *FIRST_PARTY)
        types = json.loads(shop("attributree", "types", "--json", cwd=folder, capture=True))
        mined = shop.report("attributree", "mine", "--attribute", "pattern", cwd=folder)
        shop("attributree", "export", "labels.csv", cwd=folder)
        synced = shop.report("attributree", "sync-catalog", "--only", "pattern", cwd=folder)
        evaluated = shop.report("attributree", "evaluate", "--attribute", "pattern", cwd=folder)
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        read = [(row["sku"], row["title"], row["pattern"]) for row in csv.DictReader(file) if row.get("pattern")]
    drawn = random.Random(seed).sample(read, min(JUDGED, len(read)))
    with (shop.work / "mined.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("sku", "title", "pattern"), *drawn])
    return {
        "types": types,
        "mined": mined,
        "values": Counter(value for *_, value in read).most_common(),
        "pattern": {"results": synced["results"], "test": evaluated["attributes"].get("pattern")},
    }


def show(seeds: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of means over the seeds."""
    heads = "attribute,depth,accuracy,linear,macro-F1,linear,ECE,accepted,right of it,seconds,linear"
    table = Table(*heads.split(","), title=f"hidden cells, mean of {len(seeds)} seeds")
    for name in seeds[0]["attributes"]:
        found = [seed["attributes"][name] for seed in seeds]

        def over(arm: str, what: str, found: list[dict[str, Any]] = found) -> str:
            values = [entry[arm][what] for entry in found]
            return "-" if None in values else f"{mean(values):.3f}"

        table.add_row(
            name,
            "/".join(dict.fromkeys(entry["depth"] or "-" for entry in found)),
            *(over(arm, what) for what in ("accuracy", "macro_f1") for arm in ("branch", "linear")),
            *(over("branch", what) for what in ("ece", "accepted", "right_of_accepted")),
            *(f"{mean(entry[what] for entry in found):.0f}" for what in ("seconds", "linear_seconds")),
        )
    return table


def below(name: str) -> Path | None:
    """Return the folder of that name where the data are, None if it is not there."""
    data = os.environ.get("ATTRIBUTREE_DATA")
    return Path(data) / name if data and (Path(data) / name).is_dir() else None


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--shop", type=FOLDER, default=lambda: below("shop"), help="products.csv and photos/.")
@click.option("--wardrobe", type=FOLDER, default=lambda: below("wardrobe"), help="Other photographs, as those.")
@click.option("--hidden", default=0.5, show_default=True, help="Share of each column's cells that is hidden.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
@click.option("--image-size", default=224, show_default=True)
@click.option("--depth", default="auto", show_default=True, help="Of the branches, as in the settings.")
@click.option("--titles/--no-titles", default=True, show_default=True, help="Article types and mined titles too.")
@click.option("--warm", is_flag=True, help="Keep the features of the last run.")
def main(
    shop: Path | None,
    wardrobe: Path | None,
    hidden: float,
    seeds: tuple[int, ...],
    image_size: int,
    depth: str,
    titles: bool,
    warm: bool,
) -> None:
    """Fill the gaps of a real shop, and compare with what was hidden."""
    if shop is None:
        click.echo("skipped: no --shop FOLDER, and no shop/ in ATTRIBUTREE_DATA; see the top of this file")
        return
    work = ROOT / "build" / "bench" / "real_shop"
    if not warm:
        shutil.rmtree(work / "cache", ignore_errors=True)
    told = Shop(shop, work, image_size, depth)
    given = {
        "products": len(told.rows),
        "hidden": hidden,
        "image_size": image_size,
        "depth": depth,
        "target": TARGET,
        "warm": warm,
    }
    document: dict[str, Any] = {"settings": given, "seeds": []}
    try:
        for seed in seeds:
            document["seeds"].append(one_seed(told, hidden, seed, wardrobe if seed == seeds[0] else None))
            write(work, document)
        if titles:
            document["titles"] = types_and_titles(told, seeds[0])
            write(work, document)
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error
    Console(width=130).print(show(document["seeds"]))


def write(work: Path, document: Mapping[str, Any]) -> None:
    """Write what is known so far."""
    (work.parent / "real_shop.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
