"""All that is kept of a product, and its deletion."""

from pathlib import Path

import numpy as np
import pytest

from attributree import Workspace
from attributree.errors import CatalogError, UnknownNameError
from attributree.images.array_store import RecordStore, erase_everywhere
from attributree.registry.predictions import load as load_predictions
from support.projects import Project


def test_history_tells_who_said_what_and_what_it_means_today(project: Project) -> None:
    row = project.garments.rows[1]
    with project.open() as workspace:
        workspace.sync(train=False)
        other = {"image": row["image"], "sku": row["sku"], "tone": "Dark", "garment": "gown"}
        workspace.ingest(project.labels([other], "more.csv"), images=project.photos, source="supplier")
    found = project.run("history", row["sku"], "--json").json
    (image,) = found["images"]
    said = [(o["source"], o["attribute"], o["raw"]) for o in image["observations"]]
    assert ("import", "garment", row["garment"]) in said
    assert sorted(said[-2:]) == [("supplier", "garment", "gown"), ("supplier", "tone", "Dark")]
    assert image["annotations"]["garment"]["values"] == [row["garment"]]
    assert image["predictions"] == {}
    assert "supplier" in project.run("history", row["sku"]).out
    assert project.run("history", "nobody").err.startswith("error: product 'nobody' is not in the catalogue")


def test_a_forgotten_product_is_nowhere_and_the_others_are_untouched(grown: Project) -> None:
    sku, other = grown.garments.rows[0]["sku"], grown.garments.rows[1]["sku"]
    with grown.open() as workspace:
        list(workspace.live().predict_missing())
        before = workspace.labels.counts()
        kept = workspace.labels.history(other, load_predictions)
        image = workspace.labels.history(sku, load_predictions).images[0].image
    outcome = grown.run("forget", sku, "--yes", "--json")
    gone = outcome.json
    assert (gone["products"], gone["images"]) == (1, 1)
    assert gone["observations"] >= 1
    assert gone["records"] >= 2  # pixels and features at least
    with grown.open() as workspace:
        after = workspace.labels.counts()
        assert (after.products, after.images) == (before.products - 1, before.images - 1)
        assert after.observations == before.observations - gone["observations"]
        assert workspace.labels.history(other, load_predictions) == kept
        with pytest.raises(UnknownNameError):
            workspace.labels.history(sku, load_predictions)
        assert all(not holds(folder, image.digest or "") for folder in stores(workspace))
        assert workspace.live().evaluate("test")["attributes"]["garment"]["n"] > 0
    assert grown.run("forget", sku, "--yes").code == 1


def stores(workspace: Workspace) -> list[Path]:
    return [path.parent for path in workspace.settings.catalog.cache.glob("*/*/keys.txt")]


def holds(folder: Path, digest: str) -> bool:
    return digest in (folder / "keys.txt").read_text()


def test_forgetting_asks_first(grown: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    sku = grown.garments.rows[0]["sku"]
    monkeypatch.setattr("click.confirm", lambda *_, **__: (_ for _ in ()).throw(CatalogError("asked")))
    assert grown.run("forget", sku).err == "error: asked\n"
    with grown.open() as workspace:
        assert workspace.labels.history(sku, load_predictions).images


def test_an_erased_record_is_overwritten_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    keys = [f"{i:064x}" for i in range(10, 14)]
    store = RecordStore(tmp_path / "pixels" / "a", (3,), np.uint8)
    store.append(keys, np.full((4, 3), 7, dtype=np.uint8))
    assert erase_everywhere(tmp_path, [keys[1], "f" * 64]) == 1
    fresh = RecordStore(tmp_path / "pixels" / "a", (3,), np.uint8)
    assert keys[1] not in fresh
    assert fresh.rows([keys[2]]).tolist() == [2]
    assert np.asarray(fresh.records())[:, 0].tolist() == [7, 0, 7, 7]
    fresh.append([keys[1]], np.full((1, 3), 9, dtype=np.uint8))
    assert fresh.read([keys[1]]).tolist() == [[9, 9, 9]]
    assert fresh.erase([]) == 0
