"""Label Studio's files: what goes there comes back, with ids, choices and annotators."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from attributree import Attribute, Ordinal, SingleLabel, Workspace
from attributree.errors import CatalogError, IngestError, UnknownNameError
from attributree.labels.records import NewObservation
from attributree_label_studio import files as studio_files
from attributree_label_studio.reviews import import_reviews
from attributree_label_studio.tasks import TaskOptions, declared_attributes, export_tasks, labelling_config

Shop = Any


def item(name: str, *choices: str, region: str = "Dx_aB91ISN") -> dict[str, Any]:
    """Return one result as Label Studio writes it."""
    value = {"choices": list(choices)}
    return {"id": region, "from_name": name, "to_name": "image", "type": "choices", "value": value, "origin": "manual"}


def task(number: int, path: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    data = {"image": f"/data/local-files/?d={path}", "path": path}
    return {"id": number, "data": data, "annotations": list(annotations), "predictions": [], "project": 83}


def annotation(number: int | str, who: Any, *result: dict[str, Any], **more: Any) -> dict[str, Any]:
    at = {"created_at": "2024-03-09T21:00:00Z", "updated_at": "2024-03-09T22:16:08.728378Z", "lead_time": 4.2}
    return {"id": number, "completed_by": who, "result": list(result), "was_cancelled": False, **at, **more}


def write(shop: Shop, tasks: Any, name: str = "export.json") -> Path:
    path: Path = shop.folder / name
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def told(tasks: list[dict[str, Any]]) -> list[Any]:
    """Return the ids, choices and annotators in Label Studio's tasks."""
    annotations = (
        (
            task["data"]["path"],
            task["id"],
            annotation["id"],
            email(annotation["completed_by"]),
            sorted((r["from_name"], r["id"], r["value"]["choices"]) for r in annotation["result"]),
        )
        for task in tasks
        for annotation in task.get("annotations", [])
        if not annotation["was_cancelled"]
    )
    return sorted(annotations, key=str)


def email(who: Any) -> Any:
    return who["email"] if isinstance(who, dict) else who


ANNA = {"id": 3, "email": "anna@x.example", "first_name": "Anna", "last_name": ""}


def test_what_label_studio_exports_goes_in_and_out_with_ids_choices_and_annotators(
    stocked: Workspace, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio_files, "_BLOCK", 40)  # tasks are read across the bounds of blocks
    tasks = [
        task(0, "a.png", annotation(1001, ANNA, item("neckline", "v_neck"), item("colour", "red", "blue", region="c"))),
        task(
            2,
            "b b.png",
            annotation("1002", 10, item("neckline", "n/a"), item("colour", "red")),
            annotation(1003, ANNA, item("neckline", "crew", region="neckline")),
        ),
        task(3, "c.png", annotation(1004, 10, item("colour", "blue"), was_cancelled=True)),
        task(4, "d.png"),
        # The same image in another project.
        task(77, "a.png", annotation(2001, -1, item("neckline", "crew"))),
    ]
    file = write(shop, tasks)
    summary = import_reviews(stocked, file)
    assert (summary.tasks, summary.annotations, summary.skipped, summary.observations_new) == (5, 4, 1, 6)
    assert summary.annotators == {"-1": 1, "10": 1, "anna@x.example": 2}
    out = shop.folder / "tasks.json"
    written = export_tasks(stocked, out, TaskOptions(reviews="review"))
    assert (written.tasks, written.annotations) == (5, 4)
    again = json.loads(out.read_text(encoding="utf-8"))
    assert told(again) == told(tasks)
    revision = stocked.labels.revision()
    assert import_reviews(stocked, file).observations_same == 6
    assert import_reviews(stocked, write(shop, again, "again.json")).observations_same == 6
    assert stocked.labels.revision() == revision


def test_a_review_outranks_the_import_and_is_named(stocked: Workspace, shop: Shop) -> None:
    import_reviews(stocked, write(shop, [task(1, "a.png", annotation(1, ANNA, item("neckline", "v_neck")))]))
    assert stocked.labels.annotations("neckline", [1])[1].values == ("v_neck",)
    said = stocked.history("S1").images[0].observations[-1]
    assert (said.raw, said.source, said.annotator, said.cause) == ("v_neck", "review", "anna@x.example", "label-studio")


def test_reviews_of_a_renamed_attribute_go_out_under_its_name_of_today(
    stocked: Workspace, shop: Shop, neckline: Attribute
) -> None:
    import_reviews(stocked, write(shop, [task(1, "a.png", annotation(1, ANNA, item("neckline", "v_neck")))]))
    stocked.labels.declare(Attribute("neck", neckline.labels, formerly=("neckline",)), "test")
    export_tasks(stocked, file := shop.folder / "tasks.json", TaskOptions(attributes=("neck",), reviews="review"))
    (reviewed,) = [row for row in told_of(json.loads(file.read_text())) if row]
    assert reviewed == [("neck", ["v_neck"])]


def told_of(tasks: list[dict[str, Any]]) -> list[Any]:
    """Return what the annotations of each task choose."""
    return [
        [(r["from_name"], r["value"]["choices"]) for annotation in task["annotations"] for r in annotation["result"]]
        for task in tasks
    ]


def test_the_last_word_of_an_annotator_counts(stocked: Workspace, shop: Shop) -> None:
    later = annotation(1, 5, item("neckline", "crew"), updated_at="2024-05-01T00:00:00Z")
    earlier = annotation(2, 5, item("neckline", "v_neck"), updated_at="2024-04-01T00:00:00Z")
    import_reviews(stocked, write(shop, [task(1, "c.png", later, earlier)]))
    assert stocked.labels.annotations("neckline", [3])[3].values == ("crew",)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
def test_the_newest_export_wins_in_whatever_order_they_are_read(
    stocked: Workspace, shop: Shop, order: tuple[int, ...]
) -> None:
    # The last one says again what the first one said: it must not be taken for known already.
    said = {1: "crew", 2: "v_neck", 3: "crew"}
    files = {}
    for n in order:
        results = item("neckline", said[n]), item("season", f"s{n}")
        made = annotation(n, ANNA, *results, updated_at=f"2024-05-0{n}T00:00:00Z")
        files[n] = write(shop, [task(1, "c.png", made)], f"{n}.json")
    summaries = [import_reviews(stocked, files[n]) for n in order]
    assert stocked.labels.annotations("neckline", [3])[3].values == ("crew",)
    newest = stocked.labels.newest_observations("review", (), [3], columns=["season", "neckline"])
    assert [found.raw for found in newest] == ["s3", "crew"]
    assert summaries[-1].observations_older == (0 if order[-1] == 3 else 2)
    revision = stocked.labels.revision()
    assert [import_reviews(stocked, file).observations_new for file in files.values()] == [0, 0, 0]
    assert stocked.labels.revision() == revision


def test_another_annotators_and_another_images_word_is_not_older(stocked: Workspace, shop: Shop) -> None:
    import_reviews(stocked, write(shop, [task(1, "c.png", annotation(1, 5, item("neckline", "crew")))]))
    old = {"updated_at": "2020-01-01T00:00:00Z"}
    red = annotation(3, 5, item("colour", "red"), **old)
    tasks = [
        task(1, "c.png", annotation(2, 6, item("neckline", "v_neck"), **old), red),
        task(2, "d.png", annotation(4, 5, item("neckline", "v_neck"), **old)),
    ]
    summary = import_reviews(stocked, write(shop, tasks))
    assert (summary.observations_new, summary.observations_older) == (3, 0)
    stocked.labels.observe([NewObservation(4, "neckline", "crew", "5")], source="review")  # today, and not by a file
    assert import_reviews(stocked, write(shop, tasks)).observations_older == 1
    assert stocked.labels.annotations("neckline", [4])[4].values == ("crew",)


def test_submitted_without_a_choice_says_none_of_them(stocked: Workspace, shop: Shop) -> None:
    tasks = [
        task(1, "a.png", annotation(1, ANNA, item("colour", "red"))),
        task(2, "b b.png", annotation(2, ANNA)),
        task(3, "c.png", annotation(3, ANNA, item("colour"))),
        task(4, "d.png", annotation(4, ANNA, was_cancelled=True)),
    ]
    summary = import_reviews(stocked, file := write(shop, tasks))
    assert (summary.observations_new, summary.without_choice, summary.skipped) == (3, {"colour": 1}, 1)
    known = stocked.labels.annotations("colour", [1, 2, 3, 4])
    assert {image: record.values for image, record in known.items()} == {1: ("red",), 2: (), 3: ()}
    assert {record.state for record in known.values()} == {"labelled"}
    assert import_reviews(stocked, file).observations_new == 0
    export_tasks(stocked, out := shop.folder / "tasks.json", TaskOptions(reviews="review"))
    again = json.loads(out.read_text(encoding="utf-8"))
    assert [row for row in told_of(again) if row] == [[("colour", ["red"])], [("colour", [])], [("colour", [])]]
    assert import_reviews(stocked, out).observations_new == 0


@pytest.mark.parametrize(
    ("others", "asked", "said"),
    [
        ((), (), {"colour": 1}),  # a project asks what is declared
        ((), ("neckline",), {}),
        ((item("neckline", "crew"),), (), {}),  # a project that asks for necklines alone
        ((item("neckline", "crew"),), ("colour",), {"colour": 1}),
    ],
)
def test_none_of_them_is_said_of_what_the_project_asks(
    stocked: Workspace, shop: Shop, others: tuple[Any, ...], asked: tuple[str, ...], said: dict[str, int]
) -> None:
    tasks = [task(1, "b b.png", annotation(1, ANNA)), *(task(2, "c.png", annotation(2, ANNA, one)) for one in others)]
    assert import_reviews(stocked, write(shop, tasks), attributes=asked).without_choice == said
    assert ("labelled" in {record.state for record in stocked.labels.annotations("colour", [2]).values()}) == bool(said)


def test_none_of_them_can_be_chosen_beside_other_answers(stocked: Workspace, shop: Shop) -> None:
    answers = item("neckline", "crew"), item("colour", "[]")
    summary = import_reviews(stocked, write(shop, [task(1, "b b.png", annotation(1, ANNA, *answers))]))
    assert (summary.observations_new, summary.unknown_values, summary.without_choice) == (2, (), {})
    assert stocked.labels.annotations("colour", [2])[2].state == "labelled"


def other(kind: str, name: str, value: Any) -> dict[str, Any]:
    return {"id": "x", "from_name": name, "to_name": "image", "type": kind, "value": {kind: value}}


def test_ratings_numbers_and_paths_are_read_and_regions_are_named(stocked: Workspace, shop: Shop) -> None:
    stocked.labels.declare(Attribute("stars", Ordinal(("1", "2", "3"))), "test")
    results = [
        other("taxonomy", "neckline", [["Tops", "Crew <&>"]]),
        other("rating", "stars", 3),
        other("number", "length", 61.5),
        other("rectanglelabels", "box", ["collar"]),
        other("textarea", "comment", ["nice"]),
        {"type": "relation", "from_id": "a", "to_id": "b"},
    ]
    summary = import_reviews(stocked, write(shop, [task(1, "b b.png", annotation(1, ANNA, *results))]))
    assert (summary.observations_new, summary.undeclared, summary.without_choice) == (3, {"length": 1}, {})
    assert summary.unread == {"box (rectanglelabels)": 1, "comment (textarea)": 1, "relation (relation)": 1}
    assert stocked.labels.annotations("neckline", [2])[2].values == ("crew",)
    assert stocked.labels.annotations("stars", [2])[2].values == ("3",)
    row = {"id": 9, "annotation_id": 9, "annotator": 4, "image": "c.png", "stars": 2.0}
    boxes = [{"x": 1, "y": 2, "rectanglelabels": ["red"]}]
    summary = import_reviews(stocked, write(shop, [{**row, "colour": boxes, "neckline": [["Tops", "V-neck"]]}]))
    assert (summary.observations_new, summary.unread) == (2, {"colour (rectanglelabels)": 1})
    assert stocked.labels.annotations("stars", [3])[3].values == ("2",)


def test_an_empty_prediction_of_a_multi_label_attribute_is_shown(
    stocked: Workspace, shop: Shop, predict: Callable[..., int]
) -> None:
    predict(stocked, "colour", {"b b.png": ((), "review"), "d.png": ((), "not_applicable")})
    export_tasks(stocked, out := shop.folder / "tasks.json", TaskOptions(only_review=True))
    (written,) = json.loads(out.read_text(encoding="utf-8"))
    assert [result["value"] for result in written["predictions"][0]["result"]] == [{"choices": []}]


def test_json_min_is_read_too(stocked: Workspace, shop: Shop) -> None:
    rows = [
        {"id": 1, "annotation_id": 9, "annotator": 4, "image": "/data/local-files/?d=b%20b.png", "neckline": "v_neck"},
        {"id": 2, "annotation_id": 8, "annotator": "ben@x.example", "image": "c.png", "neckline": "n/a", "sku": "S3",
         "colour": {"choices": ["red", "blue"]}},
    ]  # fmt: skip
    summary = import_reviews(stocked, write(shop, rows))
    assert (summary.observations_new, summary.annotators) == (3, {"4": 1, "ben@x.example": 1})
    assert stocked.labels.annotations("neckline", [2])[2].values == ("v_neck",)
    assert stocked.labels.annotations("colour", [3])[3].values == ("red", "blue")
    assert stocked.labels.annotations("neckline", [3])[3].state == "not_applicable"


def test_what_cannot_be_placed_or_read_is_told(stocked: Workspace, shop: Shop) -> None:
    tasks = [
        task(1, "gone.png", annotation(1, 4, item("neckline", "crew"))),
        task(2, "a.png", annotation(2, 4, item("neckline", "crwe"), item("season", "summer"))),
    ]
    summary = import_reviews(stocked, write(shop, tasks))
    assert summary.unknown_images == ("task 1: gone.png",)
    assert [(v.text, v.count, v.nearest) for v in summary.unknown_values] == [("crwe", 1, "crew")]
    assert summary.undeclared == {"season": 1}
    assert summary.observations_new == 2


def test_an_image_below_two_roots_is_known_by_its_id(stocked: Workspace, shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stocked.labels.ingest(shop.labels("image,colour", "a.png,blue", name="more.csv"), images=tmp_path / "other")
    one = task(1, "a.png", annotation(1, 4, item("neckline", "v_neck")))
    assert import_reviews(stocked, write(shop, [one])).unknown_images == ("task 1: a.png",)
    one["data"]["image_id"] = 5
    assert import_reviews(stocked, write(shop, [one])).unknown_images == ()
    assert stocked.labels.annotations("neckline", [5])[5].values == ("v_neck",)


def one_task(*result: dict[str, Any]) -> str:
    return json.dumps([task(1, "a.png", annotation(1, 4, *result))])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"id": 1}', "is no array of tasks"),
        ('[{"id": 1, "data": {}}, ', "row 2: not JSON, cut short or too long"),
        ("[" + "[" * 100_000, "row 1: not JSON, cut short or too long"),
        ("[3]", "row 1: is not an object with data and annotations"),
        ('[{"id": 1}]', "row 1: data is not an object"),
        ('[{"data": {}, "annotations": {}}]', "row 1: annotations is not a list"),
        ('[{"data": {}, "annotations": [{"id": {}}]}]', "row 1: annotations.id is {}, which is no text"),
        (one_task(item("neckline", "crew|v_neck")), "row 1: choice 'crew|v_neck' holds '|'"),
        (one_task(item("title", "crew")), "row 1: from_name 'title' is a reserved column"),
        (one_task(item("neckline", "a\0b")), "row 1: choices is 'a\\x00b', which is no text"),
        (one_task(item("neckline", "a\ud800")), "row 1: choices is 'a\\ud800', which is no text"),
        (b'[{"data": {"image": "\xff', "row 1: not UTF-8"),
    ],
)
def test_what_is_no_export_of_label_studio_is_refused(
    stocked: Workspace, shop: Shop, content: str | bytes, problem: str
) -> None:
    path = shop.folder / "export.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(IngestError) as caught:
        import_reviews(stocked, path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_bad_task_leaves_nothing_of_those_before_it(stocked: Workspace, shop: Shop) -> None:
    good = [task(i, "b b.png", annotation(i, i, item("colour", "red"))) for i in range(600)]
    before = stocked.labels.counts()
    with pytest.raises(IngestError, match="row 601: is not an object"):
        import_reviews(stocked, write(shop, [*good, 3]))
    assert stocked.labels.counts() == before
    with pytest.raises(IngestError, match=r"nowhere\.json: cannot be read: No such file"):
        import_reviews(stocked, shop.folder / "nowhere.json")
    with pytest.raises(IngestError, match="the source has no name"):
        import_reviews(stocked, write(shop, []), source=" ")


def test_tasks_show_what_was_predicted_for_gaps(stocked: Workspace, shop: Shop, predict: Callable[..., int]) -> None:
    version = predict(
        stocked,
        "neckline",
        {"a.png": ("v_neck", "review"), "b b.png": ("v_neck", "review"), "c.png": ("crew", "accept")},
    )
    out = shop.folder / "tasks.json"
    assert export_tasks(stocked, out).tasks == 4
    summary = export_tasks(stocked, out, TaskOptions(only_review=True, prefix="https://cdn.example/"))
    assert (summary.tasks, summary.predictions, summary.attributes) == (1, 1, ("colour", "neckline"))
    assert json.loads(out.read_text(encoding="utf-8")) == [
        {
            "data": {
                "image": "https://cdn.example/b%20b.png", "path": "b b.png", "image_id": 2, "sku": "S2",
                "article_type": "top", "title": "",
            },
            "predictions": [
                {
                    "model_version": f"attributree-{version}",
                    "score": 0.9312,
                    "result": [
                        {
                            "id": "neckline", "from_name": "neckline", "to_name": "image", "type": "choices",
                            "value": {"choices": ["v_neck"]}, "score": 0.9312,
                        }
                    ],
                }
            ],
        }
    ]  # fmt: skip
    assert export_tasks(stocked, out, TaskOptions(attributes=("colour",), only_review=True)).tasks == 0
    assert json.loads(out.read_text(encoding="utf-8")) == []


def test_what_was_predicted_in_values_that_were_retired_is_left_out(
    stocked: Workspace, shop: Shop, predict: Callable[..., int]
) -> None:
    predict(stocked, "neckline", {"b b.png": ("crew", "review"), "c.png": ("v_neck", "accept")})
    stocked.labels.declare(Attribute("neckline", SingleLabel(("v_neck", "rund")), applies_to=("top",)), "test")
    export_tasks(stocked, file := shop.folder / "tasks.json", TaskOptions(attributes=("neckline",)))
    told = {task["data"]["path"]: task["predictions"] for task in json.loads(file.read_text(encoding="utf-8"))}
    assert told["b b.png"] == []
    assert told["c.png"][0]["result"][0]["value"] == {"choices": ["v_neck"]}


def test_a_prediction_without_a_review_is_no_review(
    stocked: Workspace, shop: Shop, predict: Callable[..., int]
) -> None:
    predict(stocked, "neckline", {"b b.png": ("v_neck", "accept")})
    out = shop.folder / "tasks.json"
    export_tasks(stocked, out)
    assert import_reviews(stocked, out).observations_new == 0
    assert 2 not in stocked.labels.annotations("neckline", [2])


def test_the_labelling_configuration_shows_titles_and_stores_keys(neckline: Attribute, colour: Attribute) -> None:
    view = ElementTree.fromstring(labelling_config([neckline, colour]))
    assert [(image.get("name"), image.get("value")) for image in view.iter("Image")] == [("image", "$image")]
    groups = {choices.get("name"): choices for choices in view.iter("Choices")}
    assert {name: (group.get("choice"), group.get("toName")) for name, group in groups.items()} == {
        "neckline": ("single", "image"),
        "colour": ("multiple", "image"),
    }
    assert [choice.get("alias") for choice in groups["colour"]] == ["red", "blue", "[]", "n/a"]
    shown = [(choice.get("value"), choice.get("alias")) for choice in groups["neckline"]]
    assert shown == [("Crew <&>", "crew"), ("V-neck", "v_neck"), ("Not applicable", "n/a")]


def test_reviews_that_did_not_come_from_label_studio_are_annotations_without_an_id(
    stocked: Workspace, shop: Shop
) -> None:
    stocked.labels.observe([NewObservation(2, "neckline", "crew")], source="review", annotator="ben@x.example")
    out = shop.folder / "tasks.json"
    export_tasks(stocked, out, TaskOptions(reviews="review"))
    (annotated,) = [task for task in json.loads(out.read_text(encoding="utf-8")) if task["annotations"]]
    assert "id" not in annotated
    (made,) = annotated["annotations"]
    assert made["completed_by"] == {"email": "ben@x.example"}
    assert "id" not in made


def test_nothing_is_asked_where_nothing_is_declared(stocked: Workspace) -> None:
    with pytest.raises(
        UnknownNameError, match=r"'necklace' is not declared in the catalogue \(there: colour, neckline\)"
    ):
        declared_attributes(stocked, ["necklace"])
    for name in ("neckline", "colour"):
        stocked.labels.orphan(name)
    with pytest.raises(CatalogError, match="no attribute is declared in the catalogue yet; run sync-catalog first"):
        declared_attributes(stocked)


def test_what_two_annotations_say_is_kept_with_a_revision_each(stocked: Workspace, shop: Shop) -> None:
    before = stocked.labels.revision()
    said = [annotation(number, number, item("neckline", "crew"), item("colour", "red")) for number in (1, 2)]
    summary = import_reviews(stocked, write(shop, [task(1, "c.png", *said)]))
    assert (summary.observations_new, summary.revision) == (4, before + 2)
    assert import_reviews(stocked, write(shop, [task(1, "c.png", *said[:1])])).observations_same == 2
