"""How fast labels come in and questions are answered at a million annotations; `make bench` runs this.

    python benchmarks/catalogue.py [--images 100000] [--attributes 5] [--files 2] [--repeats 5] [--database URL]

Writes label files for that many images (one PNG over and over) with so many columns each, and ingests them one after
the other: the first brings images, products and labels, and its labels a second are the figure. Then the attributes are
declared by `sync-catalog --no-train`, and `status` and a sync that has nothing to do are timed. The ratios: labels a
second beside the rows a second that the same database takes from one bulk INSERT, of plain rows and of rows with a key
(an upsert). The first ingest is repeated into new catalogues and the yardsticks around each; of every one the fastest
counts, since nothing but other work on the machine makes the same work slower. All of them are in the report, which is
written as build/bench/catalogue.json.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import click
from PIL import Image
from sqlalchemy import Column, Insert, Integer, MetaData, Table, Text, UniqueConstraint, insert
from sqlalchemy.dialects import postgresql, sqlite

from attributree import Workspace
from attributree.database.engine import make_engine
from commands import ROOT

VALUES = ("crew", "v_neck", "boat", "scoop", "halter")
PLUGIN = """
from attributree import Attribute, SingleLabel, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute(f"attribute_{{i}}", SingleLabel({values!r})) for i in range({count})]
"""


def write_catalogue(folder: Path, images: int, attributes: int, files: int, seed: int) -> list[Path]:
    """Write photos (one PNG over and over), label files with `attributes` columns each, and a plugin for all."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "white").save(buffer, "PNG")
    photo = buffer.getvalue()
    draw = random.Random(seed)
    for i in range(images):
        (photos / f"{i}.png").write_bytes(photo)
    written = []
    for part in range(files):
        file = folder / f"labels-{part}.csv"
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            names = [f"attribute_{i}" for i in range(part * attributes, (part + 1) * attributes)]
            writer.writerow(["image", "sku", "article_type", *names])
            writer.writerows(
                [f"{i}.png", f"sku-{i}", "top", *draw.choices(VALUES, k=attributes)] for i in range(images)
            )
        written.append(file)
    plugins = folder / "plugins"
    plugins.mkdir()
    source = PLUGIN.format(values=VALUES, count=files * attributes)
    (plugins / "many.py").write_text(source, encoding="utf-8")
    return written


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def rows_a_second(url: str, rows: int, *, upsert: bool = False) -> float:
    """Return how many rows of an image's number, a column's name and a text one bulk INSERT stores a second.

    SQLAlchemy's Core does it. `upsert`: one row for each image and column, and the last text counts; what a catalogue
    would do at least that keeps labels and nothing of where they are from.
    """
    engine = make_engine(url, timeout=30)
    key = [UniqueConstraint("image", "column")] if upsert else []
    columns = Column("image", Integer), Column("column", Text), Column("raw", Text)
    table = Table("plain", MetaData(), Column("id", Integer, primary_key=True), *columns, *key)
    table.create(engine)
    batch = [{"image": i // 5, "column": f"attribute_{i % 5}", "raw": "crew"} for i in range(rows)]
    statement: Insert = insert(table)
    if upsert:
        of_dialect = postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)
        statement = of_dialect.on_conflict_do_update(["image", "column"], set_={"raw": of_dialect.excluded.raw})

    def store() -> None:
        with engine.begin() as connection:
            connection.execute(statement, batch)

    seconds = timed(store)
    table.drop(engine)
    engine.dispose()
    return rows / seconds


def measure_ingest(workspace: Workspace, file: Path, photos: Path, labels: int) -> dict[str, list[float]]:
    """Return labels a second of an ingest, and rows a second of bulk INSERTs before and after it."""
    url = workspace.settings.catalog.database
    plain, upserts = [rows_a_second(url, labels)], [rows_a_second(url, labels, upsert=True)]
    ingest = labels / timed(lambda: workspace.ingest(file, images=photos))
    plain.append(rows_a_second(url, labels))
    upserts.append(rows_a_second(url, labels, upsert=True))
    return {"ingest_labels": [ingest], "plain_rows": plain, "upserts": upserts}


@click.command()
@click.option("--images", default=100_000, show_default=True, help="Images, one row of the label file each.")
@click.option("--attributes", default=5, show_default=True, help="Label columns of a file.")
@click.option("--files", default=2, show_default=True, help="Label files, of the same images.")
@click.option("--repeats", default=5, show_default=True, help="How often the first ingest is done; a --database: once.")
@click.option("--seed", default=0, show_default=True, help="Seed of the labels.")
@click.option("--database", help="Catalogue to use, an empty one.  [default: SQLite in a new file]")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build/bench", help="Folder to write."
)
def main(images: int, attributes: int, files: int, repeats: int, seed: int, database: str | None, out: Path) -> None:
    """Measure ingest, status and an empty sync."""
    folder = out.resolve() / "catalogue"
    shutil.rmtree(folder, ignore_errors=True)
    first, *others = write_catalogue(folder, images, attributes, files, seed)
    labels = images * attributes
    config = {
        "trunk": {"weights": "random"},
        "training": {"min_labels": images + 1},
        "plugins": {"plugin_dirs": ["plugins"]},
    }
    lines = []
    for section, keys in config.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    (folder / "plugins.toml").write_text("\n".join(lines), encoding="utf-8")
    seconds: dict[str, float] = {}
    rates: defaultdict[str, list[float]] = defaultdict(list)
    repeats = 1 if database else repeats
    for left in reversed(range(repeats)):
        with Workspace.create(folder, database=database) as workspace:
            for name, found in measure_ingest(workspace, first, folder / "photos", labels).items():
                rates[name] += found
        if left:
            for file in folder.glob("attributree.db*"):
                file.unlink()
    best = {name: max(found) for name, found in rates.items()}
    seconds["ingest"] = labels / best["ingest_labels"]
    with Workspace.create(folder, database=database) as workspace:  # the last of them
        seconds["same file again"] = timed(lambda: workspace.ingest(first, images=folder / "photos"))
        for number, file in enumerate(others, 2):
            seconds[f"file {number} of the same images"] = timed(
                partial(workspace.ingest, file, images=folder / "photos")
            )
        seconds["declare"] = timed(lambda: workspace.sync(train=False))
        seconds["status, counted anew"] = timed(workspace.status)
        seconds["status"] = min(timed(workspace.status) for _ in range(3))
        seconds["empty sync"] = min(timed(workspace.sync) for _ in range(3))
    report: dict[str, Any] = {
        "parameters": {
            "images": images,
            "attributes": attributes,
            "files": files,
            "repeats": repeats,
            "database": database or "sqlite",
            "cores": os.cpu_count(),
        },
        "seconds": seconds,
        **{f"{name}_a_second": found for name, found in best.items()},
        "ratio": best["ingest_labels"] / best["plain_rows"],
        "ratio_to_upserts": best["ingest_labels"] / best["upserts"],
        "all_a_second": rates,
    }
    (out / "catalogue.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
