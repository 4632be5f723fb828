"""The four states, counted and handed to training."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value
from attributree.catalog import Catalog
from attributree.database.engine import make_engine
from attributree.errors import CatalogError, UnknownNameError
from attributree.labels import coverage as coverage_module
from attributree.labels.queries import new_labels_query
from attributree.labels.records import Coverage, UnknownValue
from attributree.sync.plan import missing
from support.catalogues import Shop
from support.projects import Project
from support.soak import examples

NECKLINE = Attribute("neckline", SingleLabel((Value("crew"), Value("v_neck"), Value("boat"))), applies_to=("top",))
COLOUR = Attribute("colour", MultiLabel(("red", "green", "blue")))
OPEN = Attribute("colour", MultiLabel(("red", "green", "blue"), closed_world=False))

ROWS = (
    "a.png,top,train,crew",  # labelled
    "b.png,top,val,V-neck",  # labelled
    "c.png,top,train,crew|boat",  # ambiguous
    "d.png,top,train,",  # unknown
    "e.png,top,train,vnekc",  # unknown: unreadable
    "f.png,top,train,n/a",  # not applicable: said so
    "g.png,jeans,train,crew",  # not applicable: its article type, whatever was said
    "h.png,jeans,train,",  # not applicable: its article type, nothing said
    "i.png,,test,boat",  # labelled: an unknown article type is always asked
    "j.png,top,train,crew",  # in quarantine, not counted
)
HEADER = "image,article_type,split,neckline"


@pytest.fixture
def four_states(catalog: Catalog, shop: Shop) -> Catalog:
    catalog.labels.ingest(shop.labels(HEADER, *ROWS))
    catalog.labels.quarantine({10: "cannot be read"})
    return catalog


EXPECTED = Coverage(
    labelled=3,
    ambiguous=1,
    not_applicable=3,
    unknown=2,
    per_value={"crew": 1, "v_neck": 1, "boat": 1},
    per_split={"train": 1, "val": 1, "test": 1},
    train_values={"crew": 1, "v_neck": 0, "boat": 0},
    unreadable=(UnknownValue("neckline", "vnekc", 1, "v_neck"),),
)


def test_the_four_states_are_told_apart_before_and_after_registering(four_states: Catalog) -> None:
    assert four_states.labels.coverage(NECKLINE) == EXPECTED
    four_states.labels.declare(NECKLINE, "p")
    assert four_states.labels.coverage(NECKLINE) == EXPECTED
    assert EXPECTED.images == 9
    states = {image: record.state for image, record in four_states.labels.annotations("neckline", range(1, 10)).items()}
    assert states == {
        1: "labelled",
        2: "labelled",
        3: "ambiguous",
        6: "not_applicable",
        7: "not_applicable",
        8: "not_applicable",
        9: "labelled",
    }


def test_images_to_predict_are_those_unknown_or_ambiguous(four_states: Catalog) -> None:
    four_states.labels.declare(NECKLINE, "p")
    assert four_states.labels.missing("neckline") == [3, 4, 5]


def test_not_applicable_is_no_row_where_nothing_was_said(four_states: Catalog, url: str) -> None:
    four_states.labels.declare(NECKLINE, "p")
    engine = make_engine(url, timeout=5)
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT image_id FROM annotation WHERE state = 'not_applicable'")).scalars()
        assert sorted(stored) == [6, 7]
    engine.dispose()


def test_a_schema_that_would_be_is_measured_without_registering_it(four_states: Catalog) -> None:
    four_states.labels.declare(NECKLINE, "p")
    before = four_states.labels.revision()
    wider = Attribute("neckline", SingleLabel((*NECKLINE.labels.values[:2], Value("boat", synonyms=("vnekc",)))))
    found = four_states.labels.coverage(wider)
    assert (found.labelled, found.not_applicable, found.unreadable) == (5, 1, ())
    assert four_states.labels.revision() == before


@pytest.mark.parametrize("attribute", [COLOUR, OPEN])
def test_none_of_them_is_a_label_and_not_a_gap(catalog: Catalog, shop: Shop, attribute: Attribute) -> None:
    cells = ["[]", "", "red", "n/a", "[]|red"]
    rows = [[f"{number}.png", "train", cell] for number, cell in enumerate(cells)]
    catalog.labels.ingest(shop.labels(["image", "split", "colour"], *rows))
    for _ in ("before", "after"):
        found = catalog.labels.coverage(attribute)
        assert (found.labelled, found.ambiguous, found.not_applicable, found.unknown) == (2, 0, 1, 2)
        assert found.per_value == {"red": 1, "green": 0, "blue": 0}
        catalog.labels.declare(attribute, "p")
    assert catalog.labels.missing("colour") == [2, 5]
    known = catalog.labels.annotations("colour", range(1, 6))
    assert {image: (record.state, record.values) for image, record in known.items()} == {
        1: ("labelled", ()), 3: ("labelled", ("red",)), 4: ("not_applicable", ()),
    }  # fmt: skip
    taught = catalog.labels.label_set("colour")
    absent = 0.0 if attribute is COLOUR else np.nan
    assert taught.image_ids.tolist() == [1, 3]
    np.testing.assert_array_equal(taught.target, np.float32([[0, 0, 0], [1, absent, absent]]))
    assert missing(attribute, catalog.labels.coverage(attribute), 1) == (
        "no label in the val split, so nothing could be measured (2 in train); label some products of the val split too"
    )


def test_sources_of_which_one_says_none_and_one_names_a_value_disagree(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(COLOUR, "p")
    catalog.labels.ingest(shop.labels("image,colour", "a.png,[]"))
    catalog.labels.ingest(shop.labels("image,colour", "a.png,red"), source="supplier")
    taught = catalog.labels.label_set("colour")
    assert (taught.ambiguous.tolist(), taught.target.tolist()) == ([True], [[0.5, 0.0, 0.0]])
    catalog.labels.ingest(shop.labels("image,colour", "a.png,n/a"), source="third")
    assert len(catalog.labels.label_set("colour")) == 0


CELLS = st.lists(
    st.tuples(
        st.sampled_from(["", "top", "jeans"]),
        st.sampled_from(["", "crew", "boat", "crew|boat", "n/a", "what"]),
        st.sampled_from(["", "crew", "v_neck|boat", "n/a", "crew|what"]),
    ),
    min_size=1,
    max_size=8,
)


@given(CELLS)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counting_rows_and_reading_observations_agree(catalog: Catalog, shop: Shop, cells: Any) -> None:
    start = catalog.labels.counts().images
    rows = [[f"{start + i}.png", article_type, one, two] for i, (article_type, one, two) in enumerate(cells)]
    catalog.labels.ingest(shop.labels("image,article_type,neckline", *(row[:3] for row in rows)))
    catalog.labels.ingest(shop.labels("image,neckline", *([row[0], row[3]] for row in rows)), source="supplier")
    catalog.labels.declare(NECKLINE, "p")
    counted = catalog.labels.coverage(NECKLINE)
    catalog.labels.orphan("neckline")  # is read from the observations
    assert catalog.labels.coverage(NECKLINE) == counted
    catalog.labels.declare(NECKLINE, "p")
    assert catalog.labels.label_set("neckline").part("train", labelled_only=True).counts() == counted.train_values
    assert counted.images == catalog.labels.counts().images


# -- label sets ------------------------------------------------------------------------------------


def test_a_label_set_of_single_labels(four_states: Catalog) -> None:
    four_states.labels.declare(NECKLINE, "p")
    labels = four_states.labels.label_set("neckline")
    assert labels.image_ids.tolist() == [1, 2, 3, 9]
    assert labels.split.tolist() == [0, 1, 0, 2]
    assert labels.ambiguous.tolist() == [False, False, True, False]
    assert labels.target.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1]]
    assert labels.revision == four_states.labels.revision()
    assert labels.target.dtype == np.float32


def test_columns_follow_the_order_of_the_schema_today(four_states: Catalog) -> None:
    four_states.labels.declare(NECKLINE, "p")
    turned = replace(NECKLINE, labels=SingleLabel(tuple(reversed(NECKLINE.labels.values))))
    four_states.labels.declare(turned, "p")
    assert four_states.labels.label_set("neckline").target.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0]]


NAN = float("nan")


@pytest.mark.parametrize(
    ("attribute", "targets"),
    [
        (COLOUR, {1: [1, 0, 1], 2: [1, 0.5, 0], 3: [0.5, 0.5, 0]}),
        (OPEN, {1: [1, NAN, 1], 2: [1, 0.5, NAN], 3: [0.5, 0.5, NAN]}),
    ],
    ids=["closed world", "open world"],
)
def test_a_label_set_of_several_labels(
    catalog: Catalog, shop: Shop, attribute: Attribute, targets: dict[int, list[float]]
) -> None:
    catalog.labels.declare(attribute, "p")
    catalog.labels.ingest(
        shop.labels("image,colour", "a.png,red|blue", "b.png,red", "c.png,red", "d.png,n/a", "e.png,red")
    )
    catalog.labels.ingest(shop.labels("image,colour", "b.png,red|green", "c.png,green", "e.png,n/a"), source="supplier")
    labels = catalog.labels.label_set("colour")
    assert labels.image_ids.tolist() == list(targets)
    np.testing.assert_array_equal(labels.target, np.array(list(targets.values()), dtype=np.float32))
    assert labels.ambiguous.tolist() == [False, True, True][: len(targets)]


def test_mined_texts_weigh_less(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(COLOUR, "p")
    catalog.labels.ingest(shop.labels("image,colour", "a.png,red"), source="text")
    catalog.labels.ingest(shop.labels("image,colour", "b.png,red"))
    weak, strong = catalog.labels.label_set("colour").weight.tolist()
    assert 0 < weak < strong == 1


def test_a_label_set_nobody_labelled_is_empty_and_has_the_right_shape(catalog: Catalog) -> None:
    catalog.labels.declare(Attribute("length", Ordinal(("short", "long"))), "p")
    labels = catalog.labels.label_set("length")
    assert (len(labels), labels.target.shape) == (0, (0, 2))


def test_an_attribute_that_is_not_there_is_named_with_those_that_are(catalog: Catalog) -> None:
    catalog.labels.declare(COLOUR, "p")
    for ask in (
        catalog.labels.label_set,
        catalog.labels.missing,
        catalog.registry.predictions,
        lambda name: catalog.labels.new_labels(name, 0),
    ):
        with pytest.raises(UnknownNameError, match=r"attribute 'sleeve' is not in the catalogue \(there: colour\)"):
            ask("sleeve")


# -- what sync asks --------------------------------------------------------------------------------


def test_new_labels_are_those_changed_since_a_revision(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(COLOUR, "p")
    catalog.labels.ingest(shop.labels("image,colour", "a.png,red", "b.png,blue", "c.png,n/a"))
    since = catalog.labels.revision()
    assert (catalog.labels.new_labels("colour", 0), catalog.labels.new_labels("colour", since)) == (2, 0)
    catalog.labels.ingest(shop.labels("image,colour", "a.png,red", "b.png,green", "d.png,red"))
    assert catalog.labels.new_labels("colour", since) == 2


@pytest.mark.sqlite_only("the planner of PostgreSQL goes by what is in a table, and this one is empty")
def test_new_labels_are_counted_in_an_index_alone(url: str) -> None:
    engine = make_engine(url, timeout=5)
    statement = new_labels_query(1, 0).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        plan = " ".join(row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}"))
    engine.dispose()
    assert "USING COVERING INDEX ix_annotation_attribute_id_state_revision" in plan


def test_the_catalogue_never_imports_torch() -> None:
    program = "import sys, attributree.catalog; sys.exit('torch' in sys.modules or 'alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


# -- counted once ----------------------------------------------------------------------------------


def test_coverage_is_counted_once_and_again_after_each_change(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[str] = []
    count = coverage_module.coverage

    def counting(connection: Any, attribute: Attribute, *followed: Any) -> Any:
        counts.append(attribute.name)
        return count(connection, attribute, *followed)

    monkeypatch.setattr(coverage_module, "coverage", counting)
    row = project.garments.rows[1]
    with project.open() as workspace:
        workspace.sync(train=False)
        catalog, garment = workspace.catalog, workspace.plugins.attributes["garment"]
        before = catalog.labels.coverage(garment)
        counts.clear()
        assert catalog.labels.coverage(garment) == before
        assert counts == []
        catalog.labels.quarantine({1: "torn"})
        assert catalog.labels.coverage(garment).images == before.images - 1
        other = [{"image": row["image"], "garment": "gown"}]
        workspace.ingest(project.labels(other, "more.csv"), images=project.photos, source="supplier")
        assert [text.text for text in catalog.labels.coverage(garment).unreadable] == ["gown"]
        workspace.forget([row["sku"]])
        assert catalog.labels.coverage(garment).images == before.images - 2
        assert counts == ["garment"] * 3
        narrower = replace(garment, applies_to=("top",))
        assert catalog.labels.coverage(narrower).not_applicable > 0  # another schema is another count


def test_coverage_of_a_catalogue_that_cannot_be_written_is_counted_all_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise CatalogError("read-only")

    with project.open() as workspace:
        garment = workspace.plugins.attributes["garment"]
        monkeypatch.setattr(coverage_module, "store", refused)
        assert workspace.labels.coverage(garment) == workspace.labels.coverage(garment)
