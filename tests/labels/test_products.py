"""Labels of products: rows without an image, heard of all pictures, before and after these come."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from attributree import Attribute, MultiLabel, SingleLabel, Value
from attributree.catalog import Catalog
from attributree.errors import IngestError, UnknownNameError
from attributree.labels import export, readers
from attributree.labels.export import ExportOptions
from attributree.labels.products import of_pictures
from attributree.labels.records import AnnotationRecord, NewObservation, ProductPredictionRecord
from attributree.labels.resolve import Annotation
from attributree.registry.predictions import load_products
from support.catalogues import Shop

NECKLINE = Attribute("neckline", SingleLabel((Value("crew"), Value("v_neck"), Value("boat"))), applies_to=("top",))
COLOUR = Attribute("colour", MultiLabel(("red", "green", "blue")))


@pytest.fixture
def shown(catalog: Catalog, shop: Shop) -> Catalog:
    """A catalogue of two tops, S1 with three pictures and S2 with one."""
    for attribute in (NECKLINE, COLOUR):
        catalog.labels.declare(attribute, "test")
    rows = ("a.png,S1,top", "b.png,S1,top", "c.png,S1,top", "d.png,S2,top")
    catalog.labels.ingest(shop.labels("image,sku,article_type", *rows))
    return catalog


def known(catalog: Catalog, attribute: str = "neckline") -> dict[str, tuple[str, ...] | str]:
    """Return what is known of each image, by path: values, or the state if it is not labelled."""
    paths = {image.id: image.path for image in catalog.labels.images()}
    found: dict[int, AnnotationRecord] = catalog.labels.annotations(attribute, paths)
    return {paths[i]: a.values if a.state == "labelled" else a.state for i, a in found.items()}


def states(catalog: Catalog, attribute: str = "neckline") -> dict[str, tuple[str, set[str]]]:
    """Return what is known of each product, by sku: state and values."""
    (page,) = catalog.labels.product_pages()
    found, _ = catalog.labels.known_of_products(attribute, page)
    return {p.sku: (found[p.id].state, set(found[p.id].values)) for p in page if p.id in found}


@pytest.mark.parametrize(
    ("header", "row"), [("sku,neckline", "S1,crew"), ("image,sku,neckline", ",S1,crew")], ids=["no column", "no image"]
)
def test_a_row_without_an_image_speaks_of_all_pictures_of_its_product(
    shown: Catalog, shop: Shop, header: str, row: str
) -> None:
    file = shop.labels(header, row, name="products.csv", images=False)
    summary = shown.labels.ingest(file)
    assert (summary.observations_new, summary.images_new, summary.products_new) == (1, 0, 0)
    assert known(shown) == dict.fromkeys(("a.png", "b.png", "c.png"), ("crew",))
    assert shown.labels.coverage(NECKLINE).labelled == 3
    again = shown.labels.ingest(file)
    assert (again.observations_new, again.observations_same, again.revision) == (0, 1, summary.revision)


def test_a_label_set_says_which_images_are_of_one_product(shown: Catalog, shop: Shop) -> None:
    shown.labels.ingest(shop.labels("sku,neckline", "S1,crew", "S2,boat", name="products.csv", images=False))
    skus = {image.id: image.sku for image in shown.labels.images()}
    found = shown.labels.label_set("neckline")
    assert found.product_ids is not None
    pairs = set(zip([skus[i] for i in found.image_ids.tolist()], found.product_ids.tolist(), strict=True))
    assert len(found) == 4
    assert len(pairs) == len({product for _, product in pairs}) == 2


def test_a_picture_that_comes_later_has_heard_it(shown: Catalog, shop: Shop) -> None:
    shown.labels.ingest(shop.labels("sku,neckline", "S1,crew", name="p.csv", images=False))
    shown.labels.ingest(shop.labels("image,sku", "e.png,S1", "d.png,S1", name="more.csv"))  # d.png came from S2
    assert known(shown) == dict.fromkeys(("a.png", "b.png", "c.png", "d.png", "e.png"), ("crew",))
    shown.labels.ingest(shop.labels("image,sku", "a.png,S3", name="moved.csv"))
    assert "a.png" not in known(shown)


def test_a_product_that_no_picture_shows_yet_keeps_what_is_said_of_it(shown: Catalog, shop: Shop) -> None:
    file = shop.labels("sku,article_type,split,neckline", "S1,,,", "S9,top,val,boat", name="p.csv", images=False)
    summary = shown.labels.ingest(file)
    assert (summary.products_new, summary.without_pictures) == (1, 1)
    assert shown.labels.counts().products == 3
    shown.labels.ingest(shop.labels("image,sku", "x.png,S9", name="x.csv"))
    assert known(shown) == {"x.png": ("boat",)}
    assert [image.split for image in shown.labels.images() if image.path == "x.png"] == ["val"]
    shown.labels.ingest(shop.labels("image,sku", "x.png,S2", name="gone.csv"))  # S9 has no picture any more
    shown.labels.ingest(shop.labels("image,sku", "x.png,S9", name="back.csv"))
    assert known(shown) == {"x.png": ("boat",)}


def test_what_a_voice_says_of_a_picture_counts_there_before_what_it_says_of_the_product(
    shown: Catalog, shop: Shop
) -> None:
    shown.labels.ingest(shop.labels("image,neckline", "a.png,n/a", "b.png,v_neck", name="own.csv"))
    shown.labels.ingest(shop.labels("sku,neckline", "S1,crew", name="p.csv", images=False))
    assert known(shown) == {"a.png": "not_applicable", "b.png": ("v_neck",), "c.png": ("crew",)}
    shown.labels.ingest(shop.labels("sku,neckline", "S1,boat", name="q.csv", images=False), source="supplier")
    assert known(shown) == {"a.png": "ambiguous", "b.png": "ambiguous", "c.png": "ambiguous"}  # two voices
    ids = {image.path: image.id for image in shown.labels.images()}
    shown.labels.observe([NewObservation(ids["c.png"], "neckline", "boat")], source="review")
    assert known(shown)["c.png"] == ("boat",)


def test_what_is_said_twice_of_a_product_must_agree(
    shown: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for chunk in (1, 2000):
        monkeypatch.setattr(readers, "CHUNK", chunk)
        file = shop.labels("sku,neckline", "S1,crew", "S2,crew", "S1,boat", name="p.csv", images=False)
        message = r"row 4, column 'neckline': the same product has 'crew' in an earlier row, here 'boat'; give other"
        with pytest.raises(IngestError, match=message):
            shown.labels.ingest(file)
        assert known(shown) == {}


def test_a_file_whose_column_of_images_has_another_name_is_refused(catalog: Catalog, shop: Shop) -> None:
    file = shop.labels("photo,sku,neckline", "a.png,S1,crew", name="p.csv", images=False)
    message = "no row names an image, and none of its products is in the catalogue; is the column of images called"
    with pytest.raises(IngestError, match=message):
        catalog.labels.ingest(file)
    assert catalog.labels.counts().products == 0


def test_a_row_that_names_neither_is_refused(shown: Catalog, shop: Shop) -> None:
    file = shop.labels("image,sku,neckline", ",S1,crew", ",,crew", name="p.csv", images=False)
    with pytest.raises(IngestError, match="row 3, column 'image': the cell is empty; every row needs the path of an"):
        shown.labels.ingest(file)


def test_a_column_that_is_declared_later_finds_what_was_said_of_products(shown: Catalog, shop: Shop) -> None:
    shown.labels.ingest(shop.labels("sku,fit,mood", "S1,slim,x", "S2,wyde,y", name="p.csv", images=False))
    assert shown.labels.undeclared() == {"fit": 2, "mood": 2}
    fit = Attribute("fit", SingleLabel(("slim", "wide")))
    before = shown.labels.coverage(fit)
    shown.labels.declare(fit, "test")
    after = shown.labels.coverage(fit)
    assert (after.labelled, after.unknown) == (before.labelled, before.unknown) == (3, 1)
    assert (
        [(u.text, u.count) for u in after.unreadable] == [(u.text, u.count) for u in before.unreadable] == [("wyde", 1)]
    )
    assert known(shown, "fit") == dict.fromkeys(("a.png", "b.png", "c.png"), ("slim",))


def test_automatic_attributes_count_the_pictures_that_products_were_spoken_of_with(shown: Catalog, shop: Shop) -> None:
    rows = [f"p{i}.png,T{i // 5},{'top' if i < 20 else 'dress'}" for i in range(40)]
    shown.labels.ingest(shop.labels("image,sku,article_type", *rows, name="more.csv"))
    said = [f"T{i},{'slim' if i % 2 else 'wide'}" for i in range(8)]
    shown.labels.ingest(shop.labels("sku,fit", *said, name="p.csv", images=False))
    fit = shown.labels.auto_attributes([])["fit"]
    assert set(fit.labels.keys) == {"slim", "wide"}  # four products each, twenty pictures


def test_history_tells_it_and_forgetting_deletes_it(shown: Catalog, shop: Shop) -> None:
    shown.labels.ingest(shop.labels("sku,neckline", "S1,crew", name="p.csv", images=False), source="supplier")
    told = shown.labels.history("S1", lambda *_: [])
    assert [(o.attribute, o.raw, o.source) for o in told.observations] == [("neckline", "crew", "supplier")]
    assert shown.labels.forget(["S1"], "test").observations == 1
    assert shown.labels.counts().observations == 0
    with pytest.raises(UnknownNameError):
        shown.labels.history("S1", lambda *_: [])


# -- what pictures say of their product ------------------------------------------------------------


def labelled(*values: str) -> Annotation:
    return Annotation("labelled", frozenset(values), frozenset(values))


@pytest.mark.parametrize(
    ("said", "state", "values"),
    [
        ([labelled("crew"), labelled("crew")], "labelled", {"crew"}),
        ([labelled("crew"), labelled("boat")], "ambiguous", {"crew", "boat"}),
        ([Annotation("ambiguous", frozenset({"crew", "boat"})), labelled("crew")], "labelled", {"crew"}),
        ([Annotation("not_applicable"), labelled("crew")], "labelled", {"crew"}),  # a detail does not show it
        ([Annotation("not_applicable"), Annotation("not_applicable")], "not_applicable", set()),
        ([Annotation("ambiguous"), labelled("crew")], "labelled", {"crew"}),
        ([Annotation("ambiguous")], "ambiguous", set()),
    ],
)
def test_annotations_of_pictures_say_together_what_is_known_of_the_product(
    said: list[Annotation], state: str, values: set[str]
) -> None:
    found = of_pictures(NECKLINE, said)
    assert (found.state, set(found.values)) == (state, values)


def test_pictures_of_a_multi_label_attribute_agree_or_leave_a_value_open() -> None:
    assert of_pictures(COLOUR, [labelled("red", "blue"), labelled("red", "blue")]).state == "labelled"
    found = of_pictures(COLOUR, [labelled("red", "blue"), labelled("red")])
    assert (found.state, set(found.values), set(found.certain)) == ("ambiguous", {"red", "blue"}, {"red"})


def test_a_picture_in_quarantine_does_not_speak_for_its_product_unless_there_is_no_other(
    shown: Catalog, shop: Shop
) -> None:
    shown.labels.ingest(shop.labels("image,neckline", "a.png,crew", "b.png,boat", "d.png,crew", name="own.csv"))
    assert states(shown) == {"S1": ("ambiguous", {"crew", "boat"}), "S2": ("labelled", {"crew"})}
    ids = {image.path: image.id for image in shown.labels.images()}
    for path in ("b.png", "d.png"):
        shown.labels.quarantine({ids[path]: "spoilt"})
    assert states(shown) == {"S1": ("labelled", {"crew"}), "S2": ("labelled", {"crew"})}


def test_products_are_read_a_page_at_a_time_and_by_sku(shown: Catalog) -> None:
    assert [[p.sku for p in page] for page in shown.labels.product_pages(1)] == [["S1"], ["S2"]]
    assert [[i.path for i in p.images] for p in shown.labels.products(["S2", "S1", "S2"])] == [
        ["d.png"],
        ["a.png", "b.png", "c.png"],
    ]
    with pytest.raises(UnknownNameError, match="product 'S7' is not in the catalogue"):
        shown.labels.products(["S1", "S7"])


# -- exports ---------------------------------------------------------------------------------------


@pytest.fixture
def another(new_catalogue: Callable[[], str]) -> Iterator[Catalog]:
    """A second catalogue, empty, with the same attributes."""
    with Catalog.open(new_catalogue(), timeout=5) as catalog:
        for attribute in (NECKLINE, COLOUR):
            catalog.labels.declare(attribute, "test")
        yield catalog


@pytest.fixture
def spoken_of(shown: Catalog, shop: Shop) -> Catalog:
    """The catalogue with words of products and of pictures, of a product without a picture, and mined ones."""
    shown.labels.ingest(
        shop.labels(
            ["image", "sku", "article_type", "neckline", "colour", "mood"],
            ["", "S1", "", "crew", "red|blue", "calm"],
            ["", "S9", "top", "boat", "", ""],
            ["", "S8", "jeans", "", "", ""],
            ["a.png", "", "", "n/a", "", ""],
            ["d.png", "", "", "v_neck", "", "wild"],
            name="said.csv",
            images=False,
        )
    )
    more = ["e.png,S3,top,v_neck,red", "f.png,S3,top,boat,red|green", "g.png,S4,jeans,,"]
    shown.labels.ingest(shop.labels("image,sku,article_type,neckline,colour", *more, name="more.csv"))
    ids = {image.path: image.id for image in shown.labels.images()}
    shown.labels.observe([NewObservation(ids["g.png"], "colour", "blue")], source="text", cause="mine")
    return shown


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return [{column: cell for column, cell in row.items() if cell} for row in csv.DictReader(opened)]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export_by_product_comes_back_as_the_same_words_of_products(
    spoken_of: Catalog, another: Catalog, shop: Shop, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_PAGE", 8)
    file = shop.folder / f"products.{form}"
    summary = spoken_of.labels.export(file, form, ExportOptions(by_product=True))
    assert (summary.products, summary.images, summary.disputed) == (6, 7, 1)
    pictures = [f"{image.path},{image.sku}" for image in spoken_of.labels.images()]
    another.labels.ingest(shop.labels("image,sku", *pictures, name="pictures.csv"))
    another.labels.ingest(file)
    for name in ("neckline", "colour"):
        was, now = states(spoken_of, name), states(another, name)
        assert {sku: said for sku, said in was.items() if said != ("ambiguous", {"red", "green"})} == now
    assert another.labels.label_set("colour").weight.min() == pytest.approx(0.3)  # mined, and not a label now
    before = spoken_of.labels.revision()
    assert spoken_of.labels.ingest(file).without_pictures == 2  # S8 and S9
    assert known(spoken_of)["d.png"] == ("v_neck",)
    assert states(spoken_of) == states(another)
    assert spoken_of.labels.revision() == before + 1


def test_an_export_by_product_has_a_line_a_product(spoken_of: Catalog, shop: Shop) -> None:
    file = shop.folder / "products.csv"
    spoken_of.labels.export(file, "csv", ExportOptions(by_product=True))
    found = {row["sku"]: row for row in rows(file) if "::source" not in row}
    assert list(found) == ["S1", "S2", "S9", "S8", "S3", "S4"]
    assert "image" not in found["S1"]
    assert found["S1"]["::images"] == "a.png|b.png|c.png"
    assert (found["S1"]["neckline"], found["S1"]["neckline::state"], found["S1"]["mood"]) == (
        "crew",
        "labelled",
        "calm",
    )
    assert (found["S3"]["neckline"], found["S3"]["neckline::state"]) == ("v_neck|boat", "ambiguous")
    assert ("colour" in found["S3"], found["S3"]["colour::state"]) == (False, "ambiguous")  # no cell says just that
    assert (found["S9"]["neckline"], "::images" in found["S9"]) == ("boat", False)
    assert (found["S8"]["neckline"], found["S8"]["colour::state"]) == ("n/a", "unknown")
    assert [(r["sku"], r["colour"]) for r in rows(file) if r.get("::source") == "text"] == [("S4", "blue")]


@pytest.mark.parametrize("observations", [False, True])
def test_an_export_by_image_keeps_what_was_said_of_products(
    spoken_of: Catalog, another: Catalog, shop: Shop, observations: bool
) -> None:
    file = shop.folder / "all.csv"
    spoken_of.labels.export(file, "csv", ExportOptions(observations=observations))
    of_products = [row["sku"] for row in rows(file) if "image" not in row]
    assert of_products == (["S1", "S9", "S8"] if observations else ["S9", "S8"])
    another.labels.ingest(file)
    for name in ("neckline", "colour"):
        assert known(another, name) == known(spoken_of, name)
        assert states(another, name) == states(spoken_of, name)
    if observations:
        told = another.labels.history("S1", lambda *_: []).observations
        assert {(o.attribute, o.raw) for o in told} == {("neckline", "crew"), ("colour", "red|blue"), ("mood", "calm")}


def test_predictions_of_products_stand_beside_their_gaps(
    spoken_of: Catalog, shop: Shop, predict: Callable[..., int]
) -> None:
    version = predict(spoken_of, "neckline", {})
    (branch,) = [b for b in spoken_of.registry.branches() if b.attribute == "neckline"]
    products = {p.sku: p for page in spoken_of.labels.product_pages() for p in page}
    first, second = (image.id for image in products["S3"].images)
    record = ProductPredictionRecord(
        products["S3"].id, "neckline", ("boat",), 0.81234, "review", first, second, 2, version, branch.id or 0
    )
    spoken_of.registry.save_product_predictions([record])
    spoken_of.registry.save_product_predictions([record])  # the newest takes the place of the other
    assert spoken_of.registry.product_predictions("neckline", [products["S3"].id]) == [record]
    file = shop.folder / "filled.csv"
    options = ExportOptions(by_product=True, product_predictions=load_products)
    assert spoken_of.labels.export(file, "csv", options).predicted == 1
    (row,) = [row for row in rows(file) if row["sku"] == "S3" and "::source" not in row]
    told = {word: row[f"neckline::{word}"] for word in ("predicted", "confidence", "decision", "image", "against")}
    assert told == {
        "predicted": "boat", "confidence": "0.8123", "decision": "review", "image": "e.png", "against": "f.png"
    }  # fmt: skip
    spoken_of.labels.ingest(shop.labels("image,sku", "e.png,S4", name="moved.csv"))  # it was pooled with another
    assert spoken_of.registry.product_predictions("neckline") == []
    spoken_of.registry.save_product_predictions([replace(record, image_id=second, against_id=None)])
    assert spoken_of.labels.forget(["S3"], "test").predictions == 1
