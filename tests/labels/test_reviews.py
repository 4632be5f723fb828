"""What a tool reads and writes that people review labels with."""

from pathlib import Path
from typing import Any

import pytest

from attributree import Attribute, MultiLabel, SingleLabel
from attributree.catalog import Catalog
from attributree.errors import UnknownNameError
from attributree.labels.records import NewestObservation, NewObservation
from attributree.registry.predictions import load as load_predictions

Shop = Any  # the class is in support/catalogues.py

NECKLINE = Attribute("neckline", SingleLabel(("crew", "v_neck")))
COLOUR = Attribute("colour", MultiLabel(("red", "blue")))


@pytest.fixture
def stocked(catalog: Catalog, shop: Shop) -> Catalog:
    for attribute in (NECKLINE, COLOUR):
        catalog.labels.declare(attribute, "test")
    catalog.labels.ingest(shop.labels("image,neckline,colour", "a.png,crew,red", "b.png,,", "c.png,,blue"))
    return catalog


def test_pages_have_every_image_once_by_id_and_those_of_one_state_alone(stocked: Catalog) -> None:
    stocked.labels.quarantine({2: "torn"})
    assert [[image.id for image in page] for page in stocked.labels.pages(2)] == [[1, 2], [3]]
    assert [[image.id for image in page] for page in stocked.labels.pages(2, state="ok")] == [[1, 3]]
    assert [[image.path for image in page] for page in stocked.labels.pages(1, state="quarantined")] == [["b.png"]]


def test_images_are_found_by_the_cells_that_name_them(stocked: Catalog, shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stocked.labels.ingest(shop.labels("image", "a.png", name="more.csv"), images=tmp_path / "other")
    cells = ["b.png", "a.png", "gone.png", "a.png", *(f"{i}.png" for i in range(2000))]
    assert stocked.labels.image_ids(cells) == {"a.png": (1, 4), "b.png": (2,)}
    assert stocked.labels.image_ids([]) == {}


def test_an_image_behind_a_url_is_found_by_its_url_however_it_is_spelt(stocked: Catalog, shop: Shop) -> None:
    stocked.labels.ingest(shop.labels("image", "https://a.example/1.png", name="feed.csv", images=False))
    cells = ["HTTPS://A.example:443/1.png", "https://a.example/2.png"]
    assert stocked.labels.image_ids(cells) == {"HTTPS://A.example:443/1.png": (4,)}


def test_each_detail_has_a_revision_and_each_annotator_a_voice(
    stocked: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attributree.labels.observations._CHUNK", 2)
    said = [
        NewObservation(1, "neckline", "v_neck", "ann", "one"),
        NewObservation(2, "neckline", "crew", "ben", "two"),
        NewObservation(1, "colour", "red|blue", "ann", "one"),
        NewObservation(1, "neckline", "crew", "ann", "three"),
        NewObservation(3, "neckline", "crew"),
        NewObservation(2, "colour", "red", "ben", "two"),
        NewObservation(2, "colour", "blue", "ben", "two"),
    ]
    before = stocked.labels.revision()
    assert stocked.labels.observe(said, source="review", annotator="cleo", cause="tool") == 6
    assert stocked.labels.revision() == before + 4
    history = [stocked.labels.history(f"{name}.png", load_predictions).images[0].observations for name in "abc"]
    told = [
        [(o.attribute, o.raw, o.annotator, o.revision - before) for o in seen if o.cause == "tool"] for seen in history
    ]
    assert told == [
        [("neckline", "v_neck", "ann", 1), ("colour", "red|blue", "ann", 1), ("neckline", "crew", "ann", 3)],
        [("neckline", "crew", "ben", 2), ("colour", "blue", "ben", 2)],
        [("neckline", "crew", "cleo", 4)],
    ]
    assert stocked.labels.annotations("neckline", [1, 2, 3])[1].values == ("crew",)
    assert stocked.labels.observe([said[4], said[6]], source="review", annotator="cleo", cause="tool") == 0


def test_of_a_list_with_an_unknown_image_nothing_is_stored(stocked: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attributree.labels.observations._CHUNK", 2)
    said = [NewObservation(i, "neckline", "crew", "ann", str(i)) for i in (1, 2, 3, 99)]
    before = stocked.labels.counts()
    with pytest.raises(UnknownNameError, match="image 99"):
        stocked.labels.observe(said, source="review")
    assert stocked.labels.counts() == before


def test_the_newest_of_each_annotator_is_told_with_the_detail_of_its_revision(stocked: Catalog) -> None:
    for raw, detail in (("v_neck", "one"), ("crew", "two")):
        stocked.labels.observe(
            [NewObservation(1, "neckline", raw, "ann", detail), NewObservation(1, "colour", "red", "ann", detail)],
            source="review",
            cause="tool",
        )
    stocked.labels.observe([NewObservation(1, "neckline", "v_neck")], source="review")
    stocked.labels.observe([NewObservation(2, "neckline", "v_neck")], source="supplier")
    found = stocked.labels.newest_observations("review", ["colour", "neckline"], [1, 2, 3])
    assert found == [
        NewestObservation(1, "colour", "colour", "red", "ann", "tool", "one"),
        NewestObservation(1, "neckline", "neckline", "crew", "ann", "tool", "two"),
        NewestObservation(1, "neckline", "neckline", "v_neck", None, "review", "review"),
    ]
    assert stocked.labels.newest_observations("review", ["neckline"], [2, 3]) == []
    with pytest.raises(UnknownNameError, match="'necklace' is not declared"):
        stocked.labels.newest_observations("review", ["necklace"], [1])


def test_the_newest_under_a_former_name_is_of_the_attribute_of_today(stocked: Catalog) -> None:
    stocked.labels.observe([NewObservation(1, "neckline", "crew", "ann")], source="review")
    stocked.labels.declare(Attribute("neck", NECKLINE.labels, formerly=("neckline",)), "test")
    (said,) = stocked.labels.newest_observations("review", ["neck"], [1])
    assert (said.attribute, said.column, said.raw) == ("neck", "neckline", "crew")
    stocked.labels.observe([NewObservation(1, "neck", "v_neck", "ann")], source="review")
    (said,) = stocked.labels.newest_observations("review", ["neck"], [1])
    assert (said.attribute, said.column, said.raw) == ("neck", "neck", "v_neck")
