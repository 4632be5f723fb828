"""What several pictures of a product are worth, and how to pool them: on simulated answers, and on drawn garments.

    python benchmarks/products.py [--products 400] [--seed 0] [--no-drawn]

Simulated: pictures whose probabilities are calibrated, of one value in six, with a share of their noise in common (all
pictures of a dress are dark) and a share of pictures that do not show the value. Drawn: a tree learns from products
with one picture each, and is asked about products with three. Written as build/bench/products.json.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from attributree import MultiLabel, SingleLabel, Workspace
from attributree.answers import Floats, answer, pool
from attributree.training.calibrate import confidence_cut
from commands import ROOT

PRECISION = 0.95
ATTRIBUTES = ("sleeve_length", "pattern", "neckline")
TRAINED = 700
PRIOR = np.array([0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
LABELS = SingleLabel(tuple("abcdef"))
VALUE = MultiLabel(("there",))


def _log(p: Floats) -> Floats:
    return np.log(np.clip(p, 1e-9, 1.0))


def _shares(logs: Floats) -> Floats:
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def _pooled(p: Floats) -> Floats:
    return pool(LABELS, p.reshape(-1, p.shape[2]), np.repeat(np.arange(len(p)), p.shape[1]))


#: Ways to pool (N, P, C) pictures' probabilities into (N, C) of products.
RULES: Mapping[str, Callable[[Floats], Floats]] = {
    "one picture": lambda p: p[:, 0],
    "mean": lambda p: p.mean(axis=1),
    "surest picture": lambda p: p[np.arange(len(p)), p.max(axis=2).argmax(axis=1)],
    "mean of logs": lambda p: _shares(_log(p).mean(axis=1)),
    "sum of logs": lambda p: _shares(_log(p).sum(axis=1)),
    "pool": _pooled,
}


def _pooled_values(p: Floats) -> Floats:
    return pool(VALUE, p.reshape(-1, 1), np.repeat(np.arange(len(p)), p.shape[1]))


#: The same for one value of a multi-label attribute.
VALUE_RULES: Mapping[str, Callable[[Floats], Floats]] = {
    "one picture": lambda p: p[:, 0],
    "mean": lambda p: p.mean(axis=1),
    "largest": lambda p: p.max(axis=1),
    "noisy-or": lambda p: 1 - (1 - p).prod(axis=1),
    "pool": _pooled_values,
}


def simulate_value(
    rng: np.random.Generator, alike: float, shown: float, every: bool, pictures: int
) -> tuple[Floats, Any]:
    """Return probabilities (N, P, 1) that a value is there, calibrated one by one, and whether it is (N,).

    A share `shown` of a product's pictures shows it. If `every`, labels are those of products; else each picture has
    its own, and a product has the value if a picture shows it.
    """
    count, share, signal = 20_000, 0.25, 2.6
    there = rng.random((count, 1)) < share
    shows = there & (rng.random((count, pictures)) < shown)
    noise = alike**0.5 * rng.normal(size=(count, 1)) + (1 - alike) ** 0.5 * rng.normal(size=(count, pictures))
    likelihood = np.exp(signal * (noise + signal * shows) - signal**2 / 2)
    if every:
        likelihood, prior, target = shown * likelihood + 1 - shown, share, there[:, 0]
    else:
        prior, target = share * shown, shows.any(axis=1)
    posterior = prior * likelihood / (prior * likelihood + 1 - prior)
    return posterior[:, :, None].astype(np.float32), target


def simulate(rng: np.random.Generator, alike: float, blind: float, pictures: int, count: int) -> tuple[Floats, Any]:
    """Return probabilities (N, P, C) of `count` products' pictures, calibrated one by one, and their values (N,)."""
    size, signal = len(PRIOR), 2.2
    value = rng.choice(size, count, p=PRIOR)
    noise = alike**0.5 * rng.normal(size=(count, 1, size))
    noise = noise + (1 - alike) ** 0.5 * rng.normal(size=(count, pictures, size))
    shows = rng.random((count, pictures, 1)) >= blind
    seen = shows * signal * np.eye(size)[value][:, None, :] + noise
    posterior = PRIOR * ((1 - blind) * np.exp(signal * seen - signal**2 / 2) + blind)
    return (posterior / posterior.sum(axis=2, keepdims=True)).astype(np.float32), value


def score(probabilities: Floats, value: Any, cut: float | None) -> dict[str, float | None]:
    """Return accuracy, the share that is accepted, and how often what is accepted is right."""
    answers = answer(LABELS, probabilities)
    right = probabilities.argmax(axis=1) == value
    sure = answers.confidence >= (2.0 if cut is None else cut)
    accepted = float(right[sure].mean()) if sure.any() else None
    return {"accuracy": float(right.mean()), "coverage": float(sure.mean()), "accepted": accepted}


def simulated(seed: int) -> list[dict[str, Any]]:
    """Return the scores of every rule in every setting."""
    rng = np.random.default_rng(seed)
    found = []
    for alike, blind, pictures in ((0.0, 0.0, 3), (0.3, 0.3, 3), (0.3, 0.3, 6), (0.6, 0.0, 6), (0.6, 0.3, 6)):
        rows, value = simulate(rng, alike, blind, pictures, 20_000)
        cut = confidence_cut(LABELS, rows[:, 0], np.eye(len(PRIOR), dtype=np.float32)[value], PRECISION)
        scores = {name: score(rule(rows), value, cut) for name, rule in RULES.items()}
        found.append({"alike": alike, "blind": blind, "pictures": pictures, "rules": scores})
    return found


def simulated_values(seed: int) -> list[dict[str, Any]]:
    """Return the accuracy of every rule for one value of a multi-label attribute in every setting."""
    rng = np.random.default_rng(seed)
    found = []
    for every, shown in ((True, 1.0), (True, 0.7), (False, 0.7)):
        for alike in (0.0, 0.4):
            for pictures in (3, 6):
                rows, target = simulate_value(rng, alike, shown, every, pictures)
                rules = {
                    name: float(((rule(rows)[:, 0] >= 0.5) == target).mean()) for name, rule in VALUE_RULES.items()
                }
                labels = "product" if every else "picture"
                found.append({"labels": labels, "shown": shown, "alike": alike, "pictures": pictures, "rules": rules})
    return found


def drawn(folder: Path, products: int, seed: int) -> dict[str, Any]:
    """Train on garments with one picture each and evaluate on `products` with three; return `evaluate`'s documents."""
    from attributree_drawn_shop.paint import photograph
    from attributree_drawn_shop.style import ARTICLE_TYPES, draw_style

    rng = np.random.default_rng(seed)
    photos = folder / "photos"
    photos.mkdir()
    rows = []
    for number in range(TRAINED + products):
        style = draw_style(rng, ARTICLE_TYPES[int(rng.integers(2))])  # tops and dresses have all three attributes
        split = "test" if number >= TRAINED else "val" if number % 4 == 0 else "train"
        for picture in range(3 if split == "test" else 1):
            image = f"{number}-{picture}.png"
            Image.fromarray(photograph(style, rng, 64, 1.0)).save(photos / image, compress_level=1)
            about = {"image": image, "sku": str(number), "article_type": style.article_type, "split": split}
            rows.append(about | {name: style.labels[name] for name in ATTRIBUTES})
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "garments.py").write_text(
        "from attributree import hookimpl\nfrom attributree_drawn_shop import garment_attributes\n\n@hookimpl\n"
        f"def attributree_attributes():\n    return [a for a in garment_attributes() if a.name in {ATTRIBUTES!r}]\n"
    )
    (folder / "plugins.toml").write_text(
        '[trunk]\nbackbone = "resnet10t"\nweights = "random"\nimage_size = 64\n'
        f'[training]\nseed = {seed}\nepochs = 10\nmin_labels = 50\ndevice = "auto"\n'
        '[plugins]\nplugin_dirs = ["plugins"]\n'
    )
    with Workspace.create(folder) as workspace:
        workspace.ingest(folder / "labels.csv", images=photos)
        report = workspace.sync()
        statuses = {result.attribute: result.status for result in report.results}
        from attributree.inference.products import evaluate_products

        live = workspace.live()
        by_picture, by_product = live.evaluate("test")["attributes"], evaluate_products(live, "test")
    return {"statuses": statuses, "pictures": by_picture, "products": by_product}


def show(console: Console, document: Mapping[str, Any]) -> None:
    """Write both tables."""
    for setting in document["simulated"]:
        title = "noise in common {alike}, not shown in {blind}, pictures {pictures}".format(**setting)
        table = Table("rule", "accuracy", "accepted", "right of accepted", title=title)
        for name, scores in setting["rules"].items():
            table.add_row(name, *("-" if x is None else f"{x:.3f}" for x in scores.values()))
        console.print(table)
    table = Table("labels of", "shown", "in common", "pictures", *VALUE_RULES, title="multi-label: accuracy by value")
    for s in document["values"]:
        about = (s["labels"], s["shown"], s["alike"], s["pictures"])
        table.add_row(*map(str, about), *(f"{x:.3f}" for x in s["rules"].values()))
    console.print(table)
    if found := document.get("drawn"):
        table = Table("attribute", "", "n", "accuracy", "macro-F1", "ECE", "accepted", "right of accepted")
        keys = ("n", "accuracy", "macro_f1", "ece", "coverage", "accepted_accuracy")
        for name in found["pictures"]:
            for what in ("pictures", "products"):
                table.add_row(name, what, *(str(found[what][name][key]) for key in keys))
        console.print(table)


@click.command(help=__doc__)
@click.option("--products", default=400, show_default=True, help="Products with three pictures.")
@click.option("--seed", default=0, show_default=True)
@click.option("--no-drawn", is_flag=True, help="Only the simulated answers.")
def main(products: int, seed: int, no_drawn: bool) -> None:
    document: dict[str, Any] = {"seed": seed, "simulated": simulated(seed), "values": simulated_values(seed)}
    if not no_drawn:
        with tempfile.TemporaryDirectory() as folder:
            document["drawn"] = drawn(Path(folder), products, seed)
    show(Console(width=110), document)
    report = ROOT / "build" / "bench" / "products.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
