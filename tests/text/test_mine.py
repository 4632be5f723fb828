"""Mined texts are observations of the source text: stored once, withdrawn, and outranked by everybody else."""

import json

import pytest
from sqlalchemy import create_engine, select

from attributree import Attribute, MultiLabel, SingleLabel, Value
from attributree.catalog import Catalog
from attributree.database.tables import AnnotationRow, LabelColumn, Observation, VoiceRow
from attributree.errors import UnknownNameError
from attributree.labels.auto import LEAST_IMAGES
from attributree.labels.export import ExportOptions
from attributree.labels.records import NewObservation
from attributree.text.mine import mine
from support.catalogues import Shop

PATTERN = Attribute("pattern", SingleLabel((Value("plain"), Value("striped", synonyms=("stripes",)), Value("floral"))))
COLOUR = Attribute("colour", MultiLabel((Value("red", translations={"de": ("rot",)}), "black")))
KNOWN = {"pattern": PATTERN, "colour": COLOUR}
HEADER = "image,sku,title,description,pattern"


@pytest.fixture
def labelled(catalog: Catalog, shop: Shop) -> Catalog:
    """A catalogue of three products, the first with two photos; nothing is registered."""
    file = shop.labels(
        HEADER,
        "a1.png,A,Striped dress,In red and black,",
        "a2.png,A,Striped dress,In red and black,",
        "b.png,B,Floral or striped dress,,plain",
        "c.png,C,Kleid in rot,No stripes.,",
    )
    catalog.labels.ingest(file)
    return catalog


def said(catalog: Catalog, source: str = "text") -> list[tuple[int, str, str]]:
    """Return the observations of a source, oldest first, as (image, attribute, raw)."""
    columns = (Observation.image_id, LabelColumn.name, Observation.raw)
    engine = create_engine(catalog.url)
    with engine.connect() as connection:
        query = select(*columns).select_from(Observation).join(LabelColumn).join(VoiceRow)
        query = query.where(VoiceRow.source == source).order_by(Observation.revision, LabelColumn.name)
        found = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return found


def test_texts_become_observations_of_every_photo(labelled: Catalog) -> None:
    done: list[int] = []
    summary = mine(labelled.labels, KNOWN, progress=done.append)
    assert sorted(said(labelled)) == [
        (1, "colour", "red|black"),
        (1, "pattern", "striped"),
        (2, "colour", "red|black"),
        (2, "pattern", "striped"),
        (3, "pattern", "striped|floral"),
        (4, "colour", "red"),
    ]
    assert (summary.products, summary.observations_new, summary.withdrawn, done) == (3, 6, 0, [3])
    assert (summary.attributes["pattern"].products, summary.attributes["pattern"].ambiguous) == (2, 1)
    assert (summary.attributes["colour"].products, summary.attributes["colour"].ambiguous) == (2, 0)
    assert summary.attributes["colour"].values == {"red": 2, "black": 1}
    assert [(e.sku, e.raw) for e in summary.attributes["pattern"].examples] == [
        ("A", "striped"),
        ("B", "striped|floral"),
    ]


def test_what_was_mined_before_an_attribute_is_registered_waits_for_it(labelled: Catalog) -> None:
    mine(labelled.labels, KNOWN)
    labelled.labels.declare(PATTERN, "p")
    records = labelled.labels.annotations("pattern", [1, 3, 4])
    assert (records[1].state, records[1].values) == ("labelled", ("striped",))
    assert (records[3].state, records[3].values) == ("labelled", ("plain",))  # the label file's word, not the text's
    assert 4 not in records


def test_mining_again_stores_nothing(labelled: Catalog) -> None:
    mine(labelled.labels, KNOWN)
    before, revision = said(labelled), labelled.labels.counts().revision
    summary = mine(labelled.labels, KNOWN)
    assert (summary.observations_new, summary.observations_same, summary.withdrawn) == (0, 6, 0)
    assert (said(labelled), labelled.labels.counts().revision) == (before, revision)


def test_a_dry_run_shows_the_same_and_stores_nothing(labelled: Catalog) -> None:
    revision = labelled.labels.counts().revision
    dry = mine(labelled.labels, KNOWN, dry_run=True)
    assert (said(labelled), labelled.labels.counts().revision) == ([], revision)
    assert dry.dry_run
    wet = mine(labelled.labels, KNOWN)
    assert (dry.attributes, dry.observations_new) == (wet.attributes, wet.observations_new)


def test_a_text_that_changes_takes_back_what_it_said(labelled: Catalog, shop: Shop) -> None:
    labelled.labels.declare(PATTERN, "p")
    mine(labelled.labels, KNOWN)
    file = shop.labels(HEADER, "a1.png,A,A dress,Black,", "b.png,B,Floral dress,,", name="more.csv")
    labelled.labels.ingest(file)
    summary = mine(labelled.labels, KNOWN)
    assert (summary.observations_new, summary.withdrawn) == (3, 2)  # black twice and floral; striped twice
    assert labelled.labels.annotations("pattern", [1, 2]) == {}
    coverage = labelled.labels.coverage(PATTERN)
    assert (coverage.labelled, coverage.unknown, coverage.unreadable) == (1, 3, ())
    assert mine(labelled.labels, KNOWN).observations_new == 0
    labelled.labels.export(exported := file.with_name("said.jsonl"), "jsonl", ExportOptions(observations=True))
    mined = [row for row in map(json.loads, exported.read_text().splitlines()) if row.get("::source") == "text"]
    assert [row.get("pattern") for row in mined] == [None, None, "floral", None]  # nothing that was taken back


def test_import_and_review_outrank_the_text_whose_labels_weigh_less(labelled: Catalog) -> None:
    labelled.labels.declare(PATTERN, "p")
    mine(labelled.labels, KNOWN)
    labelled.labels.observe([NewObservation(2, "pattern", "floral")], source="review", annotator="ann")
    engine = create_engine(labelled.url)
    with engine.connect() as connection:
        rows = connection.execute(select(AnnotationRow.image_id, AnnotationRow.weight)).all()
    engine.dispose()
    weights = {row.image_id: row.weight for row in rows}
    assert weights[2] == weights[3] == 1
    assert 0 < weights[1] < 1
    records = labelled.labels.annotations("pattern", [2, 3])
    assert {image: record.values for image, record in records.items()} == {2: ("floral",), 3: ("plain",)}


def test_only_what_is_named_is_stored_but_all_spellings_are_known(labelled: Catalog) -> None:
    red_stripes = Attribute("trim", SingleLabel(("piped", Value("banded", synonyms=("red and black",)))))
    summary = mine(labelled.labels, KNOWN | {"trim": red_stripes}, ["colour"])
    assert said(labelled) == [(4, "colour", "red")]
    assert summary.attributes.keys() == {"colour"}


def test_languages_restrict_mining(labelled: Catalog) -> None:
    assert mine(labelled.labels, KNOWN, languages=("en",)).attributes["colour"].values == {"red": 1, "black": 1}
    assert mine(labelled.labels, KNOWN).attributes["colour"].values == {"red": 2, "black": 1}


def test_a_name_that_nobody_declares_is_refused(labelled: Catalog) -> None:
    with pytest.raises(UnknownNameError, match="no attribute 'patern' is declared; there are: colour, pattern"):
        mine(labelled.labels, KNOWN, ["patern"])
    assert said(labelled) == []


def test_products_are_read_in_chunks(labelled: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attributree.text.mine._CHUNK", 2)
    done: list[int] = []
    assert mine(labelled.labels, KNOWN, progress=done.append).observations_new == 6
    assert done == [2, 3]


def test_attributes_made_from_columns_do_not_feed_on_what_was_mined_for_them(catalog: Catalog, shop: Shop) -> None:
    rows = [f"{i}.png,top,{'striped' if i % 2 else 'plain'} top,{'striped' if i % 2 else 'plain'}" for i in range(24)]
    rows += [f"x{i}.png,,striped thing," for i in range(LEAST_IMAGES)]
    catalog.labels.ingest(shop.labels("image,article_type,title,pattern", *rows))
    before = catalog.labels.auto_attributes(())
    assert before["pattern"].applies_to == ("top",)
    assert mine(catalog.labels, before).observations_new == 34  # an article type that is not known may be a top
    assert catalog.labels.auto_attributes(()) == before
