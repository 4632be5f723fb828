"""Bad input through the command line: one clear line or a place in the summary, and nothing said is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from support.projects import Project

in_both = pytest.mark.both_databases("what a text may hold is the database's to say")


@pytest.fixture
def shop(new_project: Callable[..., Project]) -> Project:
    """A project with an empty catalogue, the plugin tone and photos of its own."""
    project = new_project("tone")
    project.own_photos()
    return project


def rows(shop: Project, count: int) -> list[dict[str, str]]:
    """Return the first rows that state a tone."""
    return [dict(row) for row in shop.garments.rows if row["tone"] in ("dark", "bright")][:count]


def observations(shop: Project) -> int:
    return int(shop.run("status", "--json").json["observations"])


# -- images ----------------------------------------------------------------------------------------


def truncate(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:60])


def empty(photo: Path) -> None:
    photo.write_bytes(b"")


def html(photo: Path) -> None:
    photo.write_text("<html><body>404</body></html>")


def postscript(photo: Path) -> None:
    photo.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")


@in_both
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "file not found"),
        (truncate, "cannot be read"),
        (empty, "zero bytes"),
        (html, "not an image in one of"),
        (postscript, "not an image in one of"),
    ],
)
def test_an_image_that_cannot_be_used_is_quarantined_named_counted_and_its_labels_kept(
    shop: Project, damage: Callable[[Path], None], reason: str
) -> None:
    good, bad = rows(shop, 2)
    photo = shop.photos / bad["image"]
    intact = photo.read_bytes()
    damage(photo)
    labels = shop.labels([good, bad])
    outcome = shop.run("ingest", labels, "--images", shop.photos, "--json")
    assert outcome.code == 0
    (quarantined,) = outcome.json["files"][0]["quarantined"]
    assert quarantined["image"] == bad["image"]
    assert quarantined["reason"].startswith(reason)
    status = shop.run("status", "--json").json
    assert status["quarantined"] == [quarantined]
    assert status["observations"] == 6  # garment, sleeves and tone of both
    assert status["attributes"]["tone"]["labelled"] == 1
    assert shop.run("--strict", "status").code == 3
    shown = shop.run("--strict", "ingest", labels, "--images", shop.photos)
    assert shown.code == 3
    assert f"    {bad['image']}: {reason}" in shown.err

    photo.write_bytes(intact)
    assert shop.run("--strict", "ingest", labels, "--images", shop.photos).code == 0
    assert shop.run("status", "--json").json["attributes"]["tone"]["labelled"] == 2


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("../outside.jpg", "outside the images root"),
        ("/etc/hostname", "outside the images root"),
        ("link.jpg", "outside the images root"),
        ("file:///etc/hostname", "outside the images root"),
        ("http://shop.example/1.jpg", "not allowed: http://"),
        ("https://127.0.0.1/1.jpg", "not allowed: 127.0.0.1"),
        ("https://169.254.169.254/latest/meta-data", "not allowed: 169.254.169.254"),
        ("ftp://shop.example/1.jpg", "not allowed: ftp://"),
    ],
)
def test_an_image_from_elsewhere_is_quarantined(shop: Project, cell: str, reason: str) -> None:
    outside = shop.photos.parent / "outside.jpg"
    Image.new("RGB", (40, 40)).save(outside)
    (shop.photos / "link.jpg").symlink_to(outside)
    labels = shop.labels([{"image": cell, "tone": "dark"}])
    (quarantined,) = shop.run("ingest", labels, "--images", shop.photos, "--json").json["files"][0]["quarantined"]
    assert quarantined["image"] == cell
    assert quarantined["reason"].startswith(reason)
    assert observations(shop) == 1


def test_a_photo_that_is_torn_after_the_ingest_is_quarantined_by_the_sync_and_named(shop: Project) -> None:
    assert shop.run("ingest", shop.labels(), "--images", shop.photos).code == 0
    torn = rows(shop, 1)[0]["image"]
    photo = shop.photos / torn
    photo.write_bytes(photo.read_bytes()[:-120])
    before = observations(shop)
    outcome = shop.run("--strict", "sync-catalog")
    assert outcome.code == 3
    assert f"quarantined {torn}: cannot be read" in outcome.err
    assert "tree version 1 is live" in outcome.err
    assert observations(shop) == before


# -- label files -----------------------------------------------------------------------------------


def test_a_file_without_an_image_column_is_refused_whole_in_one_line(shop: Project) -> None:
    path = shop.folder / "labels.csv"
    path.write_text("picture,tone\n1.jpg,dark\n")
    outcome = shop.run("ingest", path, "--images", shop.photos)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"error: {path}")
    assert "column image" in outcome.err or "'image'" in outcome.err
    assert observations(shop) == 0


@in_both
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'image,tone\n1.jpg,"dark\n', "row"),
        (b"image,tone\n1.jpg,d\x00rk\n", "row"),
        (b"\xff\xfei\x00m\x00", "labels.csv"),
    ],
)
def test_a_file_that_is_no_table_is_refused_whole_in_one_line(shop: Project, content: bytes, named: str) -> None:
    path = shop.folder / "labels.csv"
    path.write_bytes(content)
    outcome = shop.run("ingest", path, "--images", shop.photos)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert named in outcome.err
    assert observations(shop) == 0


def test_a_file_that_is_not_there_is_one_line(shop: Project) -> None:
    outcome = shop.run("ingest", shop.folder / "nowhere.csv")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "nowhere.csv" in outcome.err


@in_both
def test_one_bad_file_of_several_leaves_what_was_stored_before_it(shop: Project) -> None:
    good = shop.labels(rows(shop, 3), "good.csv")
    bad = shop.folder / "bad.csv"
    bad.write_text("nothing\n")
    outcome = shop.run("ingest", good, bad, "--images", shop.photos)
    assert outcome.code == 1
    assert str(bad) in outcome.err
    assert observations(shop) == 9


@in_both
def test_a_value_no_schema_knows_is_kept_and_reported_with_the_nearest(shop: Project) -> None:
    first, second = rows(shop, 2)
    labels = shop.labels([{**first, "tone": "brigt"}, {**second, "tone": "dark"}])
    assert shop.run("ingest", labels, "--images", shop.photos).code == 0
    entry = shop.run("status", "--json").json["attributes"]["tone"]
    assert entry["unreadable"] == [{"text": "brigt", "count": 1, "nearest": "bright"}]
    assert (entry["labelled"], entry["unknown"]) == (1, 1)
    assert "tone: 'brigt' is no known value (1 cells); the nearest is bright" in shop.run("status").err

    shop.run("sync-catalog", "--no-train")  # registered, so that the next ingest can tell at once
    again = shop.run("ingest", labels, "--images", shop.photos, "--json").json["files"][0]
    assert again["unknown_values"] == [{"attribute": "tone", "text": "brigt", "count": 1, "nearest": "bright"}]
    assert observations(shop) == 6


# -- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[training]\nepoch = 3\n", "training -> epoch: unknown key; did you mean epochs?"),
        ("[trainning]\nepochs = 3\n", "trainning: unknown section; did you mean training?"),
        ("[attributes.tone]\ndeth = 'head'\n", "attributes -> tone -> deth: unknown key; did you mean depth?"),
        ("[training]\nepochs = 0\n", "training -> epochs: input should be greater than or equal to 1"),
        ("[training\n", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_configuration_is_named_by_section_and_key(shop: Project, text: str, problem: str) -> None:
    shop.config.write_text(text)
    for command in (["status"], ["sync-catalog", "--json"], ["plugins", "list"], ["db", "check"]):
        outcome = shop.run(*command)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.startswith(f"error: {shop.config}: ")
        assert outcome.err.count("\n") == 1
        assert problem in outcome.err


# -- plugins and labels ----------------------------------------------------------------------------


def test_a_plugin_that_raises_on_import_is_named_and_the_others_are_synced(shop: Project) -> None:
    shop.plugin("torn", "raise RuntimeError('no licence')")
    assert shop.run("ingest", shop.labels(), "--images", shop.photos).code == 0
    outcome = shop.run("sync-catalog", "--json")
    assert outcome.code == 0
    assert [(r["attribute"], r["status"]) for r in outcome.json["results"]] == [("tone", "promoted")]
    assert "plugin 'torn') is left out: raised RuntimeError: no licence on import" in outcome.err
    assert shop.run("--strict", "sync-catalog").code == 1


def test_an_attribute_with_too_few_labels_is_blocked_and_says_what_is_missing(shop: Project) -> None:
    dark = [row for row in rows(shop, 200) if row["tone"] == "dark"][:5]
    assert shop.run("ingest", shop.labels(dark), "--images", shop.photos).code == 0
    outcome = shop.run("sync-catalog", "--json")
    assert outcome.code == 0
    (result,) = outcome.json["results"]
    assert (result["status"], result["reason"]) == ("blocked", "5 of 20 labels; 1 of 2 values have none")
    assert outcome.json["version"] is None
    assert shop.run("--strict", "sync-catalog").code == 3
    assert observations(shop) == 15


def test_a_backbone_timm_does_not_know_fails_with_one_line_and_nothing_is_promoted(shop: Project) -> None:
    assert shop.run("ingest", shop.labels(), "--images", shop.photos).code == 0
    shop.settings(trunk={"backbone": "resnet43"})
    outcome = shop.run("sync-catalog")
    assert outcome.code == 1
    assert "error: trunk -> backbone: timm has no 'resnet43'" in outcome.err
    assert shop.run("status", "--json").json["version"] is None


def test_a_damaged_part_silences_its_branch_and_says_what_to_do(grown: Project) -> None:
    with grown.open() as workspace:
        live = workspace.registry.live()
    mine = live.branches["sleeves"].parts[-1]
    part = grown.folder / "artifacts" / mine[:2] / f"{mine}.safetensors"
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    top = next(row for row in grown.garments.rows if row["article_type"] == "top")
    garment, sleeves = grown.run("predict", grown.photos / top["image"]).lines
    assert garment["decision"] in ("accept", "review")
    assert sleeves["decision"] == "error"
    assert "is damaged: its content is not what its name says" in sleeves["reason"]
    evaluated = grown.run("evaluate", "--json").json["attributes"]
    assert evaluated["sleeves"]["n"] == 0
    assert "is damaged" in evaluated["sleeves"]["error"]
    assert evaluated["garment"]["n"] == 40
    assert grown.run("sync-catalog", "--retrain", "sleeves").code == 0
    assert grown.run("predict", grown.photos / top["image"]).lines[1]["decision"] in ("accept", "review")


def test_a_damaged_trunk_is_one_line(grown: Project) -> None:
    with grown.open() as workspace:
        digest = workspace.registry.live().trunk.digest
    part = grown.folder / "artifacts" / digest[:2] / f"{digest}.safetensors"
    part.write_bytes(part.read_bytes()[:-5])
    for command in (["evaluate"], ["predict", "--missing"]):
        outcome = grown.run(*command)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err == (
            f"error: {part} is damaged: its content is not what its name says; restore it, or roll back\n"
        )
