"""A workspace with four tops, and a way to predict without training."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from attributree import Attribute, MultiLabel, SingleLabel, Value, Workspace
from attributree.labels.records import PredictionRecord
from attributree.registry.records import BranchRecord, NewVersion, TrunkRecord

NECKLINE = Attribute(
    "neckline", SingleLabel((Value("crew", "Crew <&>"), Value("v_neck", "V-neck"))), applies_to=("top",)
)
COLOUR = Attribute("colour", MultiLabel(("red", "blue")))


class Shop:
    """A folder with small pictures and label files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def labels(self, header: str, *rows: str, name: str = "labels.csv") -> Path:
        """Write a CSV file and the pictures that its first column names."""
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(line.split(",") for line in (header, *rows))
        for row in rows:
            Image.new("RGB", (8, 8), "teal").save(self.folder / row.partition(",")[0])
        return path


@pytest.fixture
def neckline() -> Attribute:
    """Asked of tops alone."""
    return NECKLINE


@pytest.fixture
def colour() -> Attribute:
    """Asked of everything."""
    return COLOUR


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    folder = tmp_path / "shop"
    folder.mkdir()
    return Shop(folder)


def stock(workspace: Workspace, shop: Shop) -> None:
    """Declare both attributes and ingest four tops, two of which have gaps."""
    for attribute in (NECKLINE, COLOUR):
        workspace.labels.declare(attribute, "test")
    rows = ["a.png,S1,top,crew,red", "b b.png,S2,top,,", "c.png,S3,top,,blue", "d.png,S4,top,crew,"]
    workspace.ingest(shop.labels("image,sku,article_type,neckline,colour", *rows))


@pytest.fixture
def stocked(attributree_workspace: Callable[..., Workspace], shop: Shop) -> Workspace:
    workspace = attributree_workspace()
    stock(workspace, shop)
    return workspace


@pytest.fixture
def stock_up() -> Callable[[Workspace, Shop], None]:
    """Fills a workspace as `stocked` is."""
    return stock


@pytest.fixture
def predict() -> Callable[..., int]:
    """Makes an untrained branch of an attribute live and stores what it says: by path, (value, decision)."""

    def predict(workspace: Workspace, name: str, said: dict[str, tuple[str, str]]) -> int:
        trunk = TrunkRecord("t" * 64, {})
        keys = workspace.labels.attributes()[name].schema.labels.keys
        branch = BranchRecord(
            None, name, ("h" * 64,), trunk.digest, "head", "linear", None, keys, "single", "s" * 64, 1, "f" * 64, 9,
            1.0, 0.5, True,
        )  # fmt: skip
        version = workspace.registry.commit_version(NewVersion(trunk, (branch,), None, "grow", "test"))
        ids = {image.path: image.id for image in workspace.labels.images()}
        made_by = version.branches[name].id
        assert made_by is not None
        workspace.registry.save_predictions(
            [
                PredictionRecord(ids[path], name, values, 0.93124, decision, version.id, made_by)
                for path, (value, decision) in said.items()
                for values in ((value,) if isinstance(value, str) else value,)
            ]
        )
        return version.id

    return predict
