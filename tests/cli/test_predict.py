"""predict and evaluate, as they are typed."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from support.projects import Project

KEYS = {"image", "sku", "attribute", "value", "confidence", "decision", "version"}


def rows_of(project: Project, article_type: str) -> list[dict[str, str]]:
    return [row for row in project.garments.rows if row["article_type"] == article_type]


def test_predict_prints_one_line_an_image_and_attribute_in_order(grown: Project) -> None:
    photos = [grown.photos / row["image"] for row in grown.garments.rows[:6]]
    outcome = grown.run("predict", *photos)
    assert outcome.code == 0
    assert [(line["image"], line["attribute"]) for line in outcome.lines] == [
        (str(photo), name) for photo in photos for name in ("garment", "sleeves")
    ]
    for line, row in zip(outcome.lines[::2], grown.garments.rows, strict=False):
        assert line.keys() == KEYS
        assert line["sku"] == row["sku"]
        assert line["value"] in ("top", "dress", "jeans")
        assert 0 < line["confidence"] <= 1
        assert line["decision"] in ("accept", "review")
        assert line["version"] == 2


def test_answers_are_mostly_right(grown: Project) -> None:
    photos = [grown.photos / row["image"] for row in grown.garments.rows]
    lines = grown.run("predict", *photos, "--attribute", "garment").lines
    right = [line["value"] == grown.garments.truth[Path(line["image"]).name]["garment"] for line in lines]
    assert sum(right) / len(right) > 0.55


def test_what_does_not_apply_says_so(grown: Project) -> None:
    jeans = rows_of(grown, "jeans")[0]
    (line,) = grown.run("predict", grown.photos / jeans["image"], "--attribute", "sleeves").lines
    assert line.keys() == KEYS
    assert (line["decision"], line["value"], line["confidence"]) == ("not_applicable", None, None)


def test_a_file_the_catalogue_does_not_know_is_predicted_without_a_sku(grown: Project, tmp_path: Path) -> None:
    photo = tmp_path / "new.png"
    Image.open(grown.photos / rows_of(grown, "top")[0]["image"]).save(photo)
    lines = grown.run("predict", photo).lines
    assert [(line["sku"], line["decision"] in ("accept", "review")) for line in lines] == [(None, True), (None, True)]
    typed = grown.run("predict", photo, "--article-type", "jeans").lines
    assert [line["decision"] for line in typed][1] == "not_applicable"


def test_a_file_that_cannot_be_read_is_an_error_in_its_place(grown: Project, tmp_path: Path) -> None:
    good = grown.photos / rows_of(grown, "top")[0]["image"]
    bad = tmp_path / "bad.jpg"
    bad.write_text("<html>not found</html>")
    command = ("predict", good, bad, tmp_path / "missing.jpg", good, "--attribute", "garment")
    outcome = grown.run(*command)
    assert outcome.code == 0
    lines = outcome.lines
    assert [line["decision"] == "error" for line in lines] == [False, True, True, False]
    assert [line["image"] for line in lines] == [str(good), str(bad), str(tmp_path / "missing.jpg"), str(good)]
    assert lines[1].keys() == KEYS | {"reason"}
    assert lines[1]["reason"].startswith("not an image in one of JPEG")
    assert lines[2]["reason"] == "file not found"
    assert lines[0] == lines[3]
    assert grown.run("--strict", *command).code == 3


def test_what_is_no_image_file_says_what_it_would_take(
    grown: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = grown.photos / rows_of(grown, "top")[0]["image"]
    monkeypatch.chdir(tmp_path)
    shutil.copy(good, "good.PNG")
    shutil.copy(good, os.fsdecode(b"caf\xe9.png"))
    Path("none").mkdir()
    Path("round").symlink_to("round")
    reasons = {
        ".": "is a folder; give its files: ./*.PNG",
        "none": "is a folder; give its files: none/*.jpg",
        "god.PNG": "file not found; did you mean good.PNG?",
        "elsewhere/good.PNG": "file not found",
        "round": "is a link that leads nowhere",
        "x" * 300: "file not found",
        "-": "stdin is not read; give the paths of image files",
        os.fsdecode(b"caf\xe9.png"): "its name is not UTF-8; rename the file",
    }
    typed = [*reasons, "good.PNG"]
    outcome = grown.run("predict", *typed, "--attribute", "garment")
    assert outcome.code == 0
    *wrong, right = outcome.lines
    assert [line["reason"] for line in wrong] == list(reasons.values())
    assert {line["decision"] for line in wrong} == {"error"}
    assert wrong[-1]["image"] == r"caf\xe9.png"
    assert right["value"] in ("top", "dress", "jeans")
    for nothing in (["."], ["-", "none"]):
        outcome = grown.run("predict", *nothing, "--attribute", "garment")
        assert (outcome.code, len(outcome.lines)) == (1, len(nothing))
        assert outcome.err == f"error: nothing could be answered; {nothing[0]}: {outcome.lines[0]['reason']}\n"


@pytest.mark.parametrize("command", ["history NAME", "forget --yes NAME", "runs --attribute NAME", "export NAME.csv"])
def test_text_that_is_not_utf8_is_one_line(project: Project, tmp_path: Path, command: str) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    outcome = project.run(*(word.replace("NAME", name) for word in command.split()))
    if command.startswith("export"):
        assert (outcome.code, Path(f"{name}.csv").is_file()) == (0, True)
    else:
        assert (outcome.code, outcome.out) == (1, "")
        assert r"caf\\xe9' is not UTF-8; the catalogue cannot hold it or look for it" in outcome.err


def test_label_files_may_have_any_name_and_images_roots_need_utf8(project: Project, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    file = shutil.copy(project.labels(project.garments.rows[:3]), folder / "labels.csv")
    again = project.run("ingest", file, "--images", project.photos, "--json").json["files"][0]
    assert (again["images_new"], again["file"]) == (0, rf"{tmp_path}/caf\xe9/labels.csv")
    (folder / "a.png").touch()
    outcome = project.run("ingest", file, "--images", folder)
    assert (outcome.code, outcome.out) == (1, "")
    assert "is not UTF-8" in outcome.err


def test_a_multi_label_attribute_has_its_values(grown: Project) -> None:
    grown.plugin("tone", kind="MultiLabel")
    assert grown.run("sync-catalog", "--json").json["results"][0]["status"] == "promoted"
    (line,) = grown.run("predict", grown.photos / grown.garments.rows[1]["image"], "--attribute", "tone").lines
    assert line.keys() == KEYS | {"values"}
    assert set(line["values"]) <= {"dark", "bright"}
    assert line["value"] == ("|".join(line["values"]) or None)


def test_missing_fills_every_gap_once_and_stores_it(grown: Project) -> None:
    gaps = grown.run("status", "--json").json["attributes"]["sleeves"]
    outcome = grown.run("predict", "--missing", "--attribute", "sleeves")
    assert outcome.code == 0
    assert len(outcome.lines) == gaps["unknown"] + gaps["ambiguous"] > 10
    assert {line["attribute"] for line in outcome.lines} == {"sleeves"}
    assert not {"not_applicable", "error"} & {line["decision"] for line in outcome.lines}
    said = Counter(line["decision"] for line in outcome.lines)
    counts = ", ".join(f"{n} {decision}" for decision, n in sorted(said.items()))
    assert outcome.err == f"{len(outcome.lines)} gaps: {counts}\n"
    with grown.open() as workspace:
        stored = workspace.registry.predictions("sleeves")
        paths = {image.id: image.path for image in workspace.labels.images()}
    assert {(paths[p.image_id], "|".join(p.values), p.decision) for p in stored} == {
        (line["image"], line["value"], line["decision"]) for line in outcome.lines
    }
    again = grown.run("predict", "--missing", "--attribute", "sleeves")
    assert again.lines == outcome.lines  # a prediction is no label: the gap stays until somebody says so


def test_a_catalogue_without_gaps_has_nothing_missing(grown: Project) -> None:
    outcome = grown.run("predict", "--missing", "--attribute", "garment")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "0 gaps: none\n")


def test_a_gap_whose_photo_is_away_is_an_error_and_a_gap_again_when_it_is_back(grown: Project) -> None:
    grown.own_photos()
    rows = [{"image": row["image"], "article_type": "top"} for row in rows_of(grown, "top")[:3]]
    assert grown.run("ingest", grown.labels(rows, "again.csv"), "--images", grown.photos).code == 0
    photo = grown.photos / rows[0]["image"]
    photo.rename(grown.folder / "away.jpg")
    grown.settings(catalog={"cache": "cold"})  # pixels of the same photo, decoded before, would still do
    lines = grown.run("predict", "--missing", "--attribute", "garment").lines
    assert sorted(line["decision"] == "error" for line in lines) == [False, False, True]
    assert grown.run("status", "--json").json["quarantined"] == []
    (grown.folder / "away.jpg").rename(photo)
    lines = grown.run("predict", "--missing", "--attribute", "garment").lines
    assert [line["decision"] == "error" for line in lines] == [False, False, False]


def test_a_contact_sheet_is_a_png_with_a_tile_an_image(grown: Project) -> None:
    sheet = grown.folder / "out" / "sheet.png"
    outcome = grown.run("predict", "--missing", "--attribute", "sleeves", "--sheet", sheet)
    assert f"{sheet}: 24 images with their predictions" in outcome.err
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
        assert picture.width > 6 * 160
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 500  # photos, not a blank page


def test_a_contact_sheet_that_cannot_be_written_is_one_line(grown: Project) -> None:
    photo = grown.photos / grown.garments.rows[0]["image"]
    outcome = grown.run("predict", photo, "--sheet", grown.config / "sheet.png")
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {grown.config}/sheet.png cannot be written: ")


@pytest.mark.parametrize("arguments", [(), ("x.jpg", "--missing"), ("--missing", "--article-type", "top")])
def test_what_to_predict_must_be_said_once(grown: Project, arguments: tuple[str, ...]) -> None:
    assert grown.run("predict", *arguments).code == 2


def test_an_attribute_without_a_branch_is_one_line(grown: Project) -> None:
    outcome = grown.run("predict", "--missing", "--attribute", "tone")
    assert outcome.code == 1
    assert outcome.err == (
        "error: no live branch for attribute 'tone'; there are: garment, sleeves. See attributree status\n"
    )


@pytest.mark.parametrize("command", [("predict", "--missing"), ("evaluate",)])
def test_nothing_live_is_one_line(project: Project, command: tuple[str, ...]) -> None:
    outcome = project.run(*command)
    assert outcome.code == 1
    assert outcome.err == "error: no tree is live yet; run: attributree sync-catalog\n"


def test_evaluate_scores_the_live_tree_on_a_split(grown: Project) -> None:
    document = grown.run("evaluate", "--json").json
    assert document.keys() == {"version", "split", "attributes"}
    assert (document["version"], document["split"]) == (2, "test")
    assert document["attributes"].keys() == {"garment", "sleeves"}
    for scores in document["attributes"].values():
        assert scores.keys() == {"n", "accuracy", "macro_f1", "ece", "coverage", "accepted_accuracy", "per_value"}
    garment = document["attributes"]["garment"]
    assert garment["n"] == 40
    assert garment["per_value"].keys() == {"top", "dress", "jeans"}
    status = grown.run("status", "--json").json["attributes"]["garment"]
    assert (status["accuracy"], status["macro_f1"]) == (garment["accuracy"], garment["macro_f1"])


def test_evaluate_takes_a_split_and_an_attribute(grown: Project) -> None:
    document = grown.run("evaluate", "--split", "val", "--attribute", "sleeves", "--json").json
    assert (document["split"], list(document["attributes"])) == ("val", ["sleeves"])
    assert grown.run("evaluate", "--split", "all").code == 2


def test_evaluate_shows_a_person_a_table(grown: Project) -> None:
    outcome = grown.run("evaluate")
    assert "tree version 2 on the test split" in outcome.out
    assert "macro-F1" in outcome.out
