"""Catalogues to test on, in both databases."""

import csv
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from attributree.catalog import Catalog
from attributree.labels.records import PredictionRecord
from attributree.registry.records import BranchRecord, NewVersion, TrunkRecord


class Shop:
    """A folder with small pictures and label files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def image(self, name: str, size: tuple[int, int] = (8, 8)) -> Path:
        """Write a small picture."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "teal").save(path)
        return path

    def labels(
        self, header: str | list[str], *rows: str | list[str], name: str = "labels.csv", images: bool = True
    ) -> Path:
        """Write a CSV file, of comma-separated texts or of lists of cells, and the pictures that it names."""
        columns = header.split(",") if isinstance(header, str) else header
        cells = [row.split(",") if isinstance(row, str) else row for row in rows]
        if images:
            for row in cells:
                self.image(row[columns.index("image")])
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *cells])
        return path


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    folder = tmp_path / "shop"
    folder.mkdir()
    return Shop(folder)


@pytest.fixture
def new_url(own_database: Callable[..., str] | None, tmp_path: Path) -> Callable[[], str]:
    """Makes databases that nothing is in, not even a schema, and returns their URLs."""
    numbers = count()
    return own_database or (lambda: f"sqlite:///{tmp_path}/empty_{next(numbers)}.db")


@pytest.fixture
def url(new_catalogue: Callable[[], str]) -> str:
    """An empty catalogue."""
    return new_catalogue()


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    with Catalog.open(url, timeout=5) as catalog:
        yield catalog


@pytest.fixture
def predict() -> Callable[..., int]:
    """Makes an untrained branch of an attribute live, and stores what it says.

    By path, (value, decision), or (values, decision).
    """

    def predict(catalog: Catalog, name: str, said: dict[str, tuple[str | tuple[str, ...], str]]) -> int:
        trunk = TrunkRecord("t" * 64, {})
        keys = catalog.labels.attributes()[name].schema.labels.keys
        branch = BranchRecord(
            None, name, ("h" * 64,), trunk.digest, "head", "linear", None, keys, "single", "s" * 64, 1, "f" * 64, 9,
            1.0, 0.5, True,
        )  # fmt: skip
        live = catalog.registry.live()
        branches = (*(live.branches.values() if live else ()), branch)
        version = catalog.registry.commit_version(
            NewVersion(trunk, branches, live.id if live else None, "grow", "test")
        )
        ids = {image.path: image.id for image in catalog.labels.images()}
        made_by = version.branches[name].id
        assert made_by is not None
        catalog.registry.save_predictions(
            [
                PredictionRecord(ids[path], name, values, 0.93124, decision, version.id, made_by)
                for path, (value, decision) in said.items()
                for values in ((value,) if isinstance(value, str) else value,)
            ]
        )
        return version.id

    return predict
