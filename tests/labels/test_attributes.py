"""Attributes come, change, go and come back; annotations follow, and what did not change keeps its revision."""

from typing import Any

import pytest

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value
from attributree.catalog import Catalog
from attributree.errors import CatalogError, UnknownNameError
from attributree.labels.records import CatalogValue
from attributree.registry.records import BranchRecord, NewVersion, TrunkRecord
from support.catalogues import Shop

VALUES = (Value("crew", synonyms=("round neck",)), Value("v_neck", synonyms=("vee",)), Value("bateau"))


def neckline(*values: Value | str, **more: Any) -> Attribute:
    return Attribute("neckline", SingleLabel(tuple(values)), **more)


@pytest.fixture
def labelled(catalog: Catalog, shop: Shop) -> Catalog:
    """A catalogue that holds neckline labels; no attribute is declared."""
    rows = ["a.png,crew", "b.png,vee", "c.png,bateau", "d.png,Round-Neck", "e.png,boat", "f.png,crew|vee"]
    catalog.labels.ingest(shop.labels("image,neckline", *rows))
    return catalog


def values_of(catalog: Catalog) -> dict[int, tuple[str, ...]]:
    return {i: record.values for i, record in catalog.labels.annotations("neckline", range(1, 7)).items()}


def test_a_plugin_installed_after_the_import_finds_its_labels_waiting(labelled: Catalog) -> None:
    assert labelled.labels.undeclared() == {"neckline": 6}
    revision = labelled.labels.declare(neckline(*VALUES), "attributree-neckline")
    assert revision == labelled.labels.revision()
    assert labelled.labels.undeclared() == {}
    expected = {1: ("crew",), 2: ("v_neck",), 3: ("bateau",), 4: ("crew",), 6: ("crew", "v_neck")}
    assert values_of(labelled) == expected
    attribute = labelled.labels.attributes()["neckline"]
    assert attribute.schema == neckline(*VALUES)
    assert (attribute.kind, attribute.declared_by, attribute.state) == ("single", "attributree-neckline", "declared")
    assert [(value.key, value.class_index) for value in attribute.values] == [("crew", 0), ("v_neck", 1), ("bateau", 2)]


def test_names_are_in_one_order_whatever_the_language_of_the_server(catalog: Catalog, shop: Shop) -> None:
    names = ["B_1", "B_10", "Ba", "_b", "a_b", "aa", "ä"]  # no language sorts them by their characters
    catalog.labels.ingest(shop.labels(["image", *names], ["a.png", *names]))
    assert list(catalog.labels.undeclared()) == names
    for name in ("aa", "a_b"):
        catalog.labels.declare(Attribute(name, SingleLabel(("one", "two")), formerly=(f"{name}a", f"{name}_b")), "p")
    assert list(catalog.labels.attributes()) == ["a_b", "aa"]
    assert catalog.labels.attributes()["aa"].former_names == ("aa_b", "aaa")


def test_declaring_the_same_again_reads_nothing_anew(labelled: Catalog) -> None:
    first = labelled.labels.declare(neckline(*VALUES), "attributree-neckline")
    assert labelled.labels.declare(neckline(*VALUES, title="Neck", description="Where"), "attributree-necks") == first
    assert labelled.labels.revision() == first
    attribute = labelled.labels.attributes()["neckline"]
    assert (attribute.title, attribute.declared_by, attribute.schema.description) == (
        "Neck",
        "attributree-necks",
        "Where",
    )


def test_a_renamed_value_keeps_its_labels(labelled: Catalog) -> None:
    labelled.labels.declare(neckline(*VALUES), "p")
    before = labelled.labels.revision()
    labelled.labels.declare(neckline(VALUES[0], VALUES[1], Value("boat", formerly=("bateau",))), "p")
    assert values_of(labelled)[3] == values_of(labelled)[5] == ("boat",)
    assert labelled.labels.attributes()["neckline"].values == (
        CatalogValue("crew", 0, "active"),
        CatalogValue("v_neck", 1, "active"),
        CatalogValue("bateau", 2, "replaced", ("boat",)),
        CatalogValue("boat", 3, "active"),
    )
    # Renaming brings no new label; the cell that can be read for the first time does.
    assert labelled.labels.new_labels("neckline", before) == 1


def test_merged_values_and_candidates_become_one(labelled: Catalog) -> None:
    labelled.labels.declare(neckline(*VALUES), "p")
    labelled.labels.declare(
        neckline(Value("crew", synonyms=("round neck", "vee"), formerly=("v_neck",)), "bateau"), "p"
    )
    record = labelled.labels.annotations("neckline", [6])[6]
    assert (record.state, record.values) == ("labelled", ("crew",))
    assert labelled.labels.coverage(labelled.labels.attributes()["neckline"].schema).per_value == {
        "crew": 4,
        "bateau": 1,
    }


def test_a_retired_value_comes_back_under_its_old_index(labelled: Catalog) -> None:
    labelled.labels.declare(neckline(*VALUES), "p")
    labelled.labels.declare(neckline(VALUES[0], VALUES[1], "halter"), "p")
    assert 3 not in values_of(labelled)
    assert labelled.labels.coverage(neckline(VALUES[0], VALUES[1], "halter")).unreadable[0].text == "bateau"
    labelled.labels.declare(neckline("halter", *VALUES), "p")
    assert values_of(labelled)[3] == ("bateau",)
    indices = {value.key: value.class_index for value in labelled.labels.attributes()["neckline"].values}
    assert indices == {"crew": 0, "v_neck": 1, "bateau": 2, "halter": 3}
    assert labelled.labels.attributes()["neckline"].schema.labels.keys == ("halter", "crew", "v_neck", "bateau")


def test_an_orphan_is_kept_and_reads_what_it_missed_when_it_is_revived(labelled: Catalog, shop: Shop) -> None:
    revision = labelled.labels.declare(neckline(*VALUES), "p")
    labelled.labels.orphan("neckline")
    gone_at = labelled.labels.revision()
    labelled.labels.orphan("neckline")
    assert labelled.labels.revision() == gone_at
    assert labelled.labels.attributes()["neckline"].state == "orphaned"
    assert labelled.labels.undeclared() == {"neckline": 6}
    assert len(labelled.labels.label_set("neckline")) == 5
    labelled.labels.ingest(shop.labels("image,neckline", "g.png,crew"))
    assert labelled.labels.declare(neckline(*VALUES), "p") == revision  # its schema did not change
    assert labelled.labels.attributes()["neckline"].state == "declared"
    assert labelled.labels.annotations("neckline", [7])[7].values == ("crew",)
    with pytest.raises(UnknownNameError, match="attribute 'sleeve' is not in the catalogue"):
        labelled.labels.orphan("sleeve")


def test_the_kind_may_change_until_a_branch_is_trained(labelled: Catalog) -> None:
    labelled.labels.declare(neckline(*VALUES), "p")
    labelled.labels.declare(Attribute("neckline", MultiLabel(VALUES)), "p")
    assert labelled.labels.annotations("neckline", [6])[6].state == "labelled"
    digest = labelled.labels.attributes()["neckline"].digest
    branch = BranchRecord(
        None, "neckline", ("p",), "t", "head", "linear", None, ("crew",), "multi", digest, 2, "f", 5, 1.0, None, False
    )
    labelled.registry.commit_version(NewVersion(TrunkRecord("t", {}), (branch,), None, "grow", "sync"))
    with pytest.raises(
        CatalogError, match=r"cannot become ordinal, since .*; declare it under another name, such as neckline_2"
    ):
        labelled.labels.declare(Attribute("neckline", Ordinal(VALUES)), "p")
    assert labelled.labels.attributes()["neckline"].kind == "multi"
