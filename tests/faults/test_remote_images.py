"""A feed whose images are URLs: faults 37 and 38 from the ingest to the predictions, with a web server of our own."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import create_engine, text

from attributree.labels.roots import REMOTE
from support.projects import Garments, Project
from support.web import HERE, WebServer

#: What one image of the feed each is behind, and what is said of it.
BAD = {
    "stall": "sent nothing for 5 s",
    "cut": "broke off",
    "html": "not an image in one of",
    "missing": "answers 404 Not Found",
    "to/http://169.254.169.254": "not allowed: 169.254.169.254 is a private address",
}
#: Of so many of the good ones the feed says nothing.
UNSAID = 4


@pytest.fixture
def shop(tmp_path: Path, garments: Garments) -> Iterator[WebServer]:
    """The shop's web server, which has its photos."""
    with WebServer(garments.photos).running() as server:
        yield server


@pytest.fixture
def feed(new_project: Callable[..., Project], shop: WebServer) -> Project:
    """A project whose label file names images by URLs: 75 good ones, and the bad ones first."""
    project = new_project("garment")
    project.settings(images={**HERE, "timeout": 5, "retries": 0})
    rows = [dict(row, image=shop.url(row["image"])) for row in project.garments.rows[: 75 + len(BAD)]]
    for row, how in zip(rows, BAD, strict=False):
        row["image"] = shop.url(f"{how}/{row['image'].rpartition('/')[2]}")
    for row in rows[-UNSAID:]:
        row["garment"] = ""
    project.garments = replace(project.garments, rows=tuple(rows))
    assert Project.command("--config", project.config, "db", "upgrade").code == 0
    return project


def bad_of(feed: Project) -> dict[str, str]:
    """Return the beginning of each bad image's reason, by URL."""
    return {row["image"]: reason for row, reason in zip(feed.garments.rows, BAD.values(), strict=False)}


def assert_reasons(found: list[dict[str, str]], expected: dict[str, str]) -> None:
    assert [item["image"] for item in found] == list(expected)
    for item in found:
        assert expected[item["image"]] in item["reason"]


def ingest(feed: Project, *more: str) -> Any:
    outcome = feed.run("ingest", feed.labels(), *more, "--json")
    assert outcome.code == 0, outcome.err
    return outcome.json["files"][0]


def test_a_feed_of_urls_is_ingested_trained_on_and_predicted_and_bad_ones_only_cost_themselves(
    feed: Project, shop: WebServer
) -> None:
    summary = ingest(feed)
    assert (summary["remote_new"], summary["quarantined"]) == (80, [])
    assert shop.asked == {}
    assert feed.run("status", "--json").json["remote"] == {"images": 80, "fetched": 0}

    synced = feed.run("sync-catalog", "--json")
    assert synced.code == 0, synced.err
    assert [result["status"] for result in synced.json["results"]] == ["promoted"]
    assert_reasons(synced.json["quarantined"], bad_of(feed))
    gaps = [row["image"] for row in feed.garments.rows[-UNSAID:]]
    predicted = feed.run("predict", "--missing").lines
    assert [line["image"] for line in predicted] == gaps
    status = feed.run("status", "--json").json
    assert_reasons(status["quarantined"], bad_of(feed))
    assert status["remote"] == {"images": 80, "fetched": 75}
    asked = shop.asked.total()

    shop.stop()  # from here on there is no network
    assert feed.run("sync-catalog", "--json").json["results"] == []
    assert feed.run("predict", "--missing").lines == predicted
    bad = next(iter(bad_of(feed)))
    sheet = feed.folder / "sheet.png"
    first, second = feed.run("predict", gaps[0], bad, "--sheet", sheet).lines
    assert first == predicted[0]
    assert (second["decision"], second["sku"]) == ("error", feed.garments.rows[0]["sku"])
    assert "cannot be reached" in second["reason"]
    with Image.open(sheet) as picture:
        assert picture.width > 200
    assert shop.asked.total() == asked


def test_a_feed_is_not_quarantined_because_its_host_is_away(feed: Project, shop: WebServer) -> None:
    ingest(feed)
    shop.stop()
    outcome = feed.run("sync-catalog")
    assert outcome.code == 1
    assert "76 of 76 images cannot be fetched, 127.0.0.1 cannot be reached" in outcome.err
    assert "is the network there?" in outcome.err
    fetched = feed.run("--strict", "fetch", "--json")
    assert (fetched.code, len(fetched.json["away"]), fetched.json["quarantined"]) == (3, 80, [])
    assert feed.run("status", "--json").json["quarantined"] == []


def test_fetch_tries_the_quarantined_again_and_recheck_asks_for_changes(
    feed: Project, shop: WebServer, tmp_path: Path
) -> None:
    shop.folder = tmp_path / "own"
    shop.folder.mkdir()
    rows = [{"image": shop.url(f"{i}.png"), "sku": str(i), "garment": "top"} for i in range(3)]
    for i in range(2):
        Image.effect_noise((40, 40), 50).save(shop.folder / f"{i}.png")
    (shop.folder / "2.png").write_text("<html>")
    feed.garments = replace(feed.garments, rows=tuple(rows))
    ingest(feed)
    first = feed.run("fetch", "--json").json
    assert (first["images"], first["fetched"], len(first["quarantined"])) == (3, 2, 1)
    shown = feed.run("fetch")
    assert "3 images behind URLs: 0 fetched, 2 were here, 1 quarantined, 0 out of reach" in shown.err
    assert f"{shop.url('2.png')}: not an image" in shown.err
    assert shop.asked["/0.png"] == 1

    Image.effect_noise((40, 40), 50).save(shop.folder / "2.png")
    Image.effect_noise((40, 40), 60).save(shop.folder / "0.png")
    second = feed.run("fetch", "--json").json
    assert (second["fetched"], second["changed"], second["here"], second["quarantined"]) == (1, 0, 2, [])
    assert feed.run("status", "--json").json["quarantined"] == []
    third = feed.run("fetch", "--recheck", "--json").json
    assert (third["fetched"], third["changed"]) == (3, 1)
    assert ingest(feed)["images_new"] == 0


def test_what_the_settings_forbade_is_used_once_they_allow_it(feed: Project, shop: WebServer) -> None:
    row = feed.garments.rows[-1]
    feed.garments = replace(feed.garments, rows=(row,))
    closed = {"schemes": ["https"]}
    feed.settings(images=closed)
    (quarantined,) = ingest(feed)["quarantined"]
    assert quarantined["reason"].startswith("not allowed: http:// is not among images -> schemes")
    assert shop.asked == {}
    feed.settings(images=HERE)
    assert ingest(feed)["quarantined"] == []
    assert feed.run("fetch", "--json").json["fetched"] == 1
    feed.settings(images=closed)
    assert len(ingest(feed)["quarantined"]) == 1


def test_one_url_is_one_image_however_it_is_spelt_and_wherever_its_label_file_lies(
    feed: Project, shop: WebServer, tmp_path: Path
) -> None:
    url = feed.garments.rows[-1]["image"]
    rows = [{"image": spelt, "garment": "top"} for spelt in (url, url.replace("http", "HTTP"), url + "#front")]
    feed.garments = replace(feed.garments, rows=tuple(rows))
    assert ingest(feed)["images_new"] == 1
    again = ingest(feed, "--images", str(tmp_path))
    assert (again["images_new"], again["observations_new"]) == (0, 0)
    assert [image["image"] for image in feed.run("history", url, "--json").json["images"]] == [url]


def test_a_url_that_a_former_version_quarantined_is_fetched_once_its_label_file_is_ingested_again(
    feed: Project, shop: WebServer
) -> None:
    feed.garments = replace(feed.garments, rows=feed.garments.rows[-2:])
    ingest(feed)
    engine = create_engine(feed.url)
    with engine.begin() as connection:  # as 0.1.0 stored them
        connection.execute(text("UPDATE images_root SET folder = '/feeds' WHERE folder = :there"), {"there": REMOTE})
        connection.execute(text("UPDATE image SET state = 'quarantined', reason = 'remote images are not fetched'"))
    engine.dispose()
    assert feed.run("fetch", "--json").json["images"] == 0
    again = ingest(feed)
    assert (again["images_new"], again["quarantined"]) == (0, [])
    assert feed.run("fetch", "--json").json["fetched"] == 2


def test_what_is_forgotten_is_in_no_cache(feed: Project, shop: WebServer) -> None:
    feed.garments = replace(feed.garments, rows=feed.garments.rows[-2:])
    ingest(feed)
    feed.run("fetch")
    remote = feed.folder / "cache" / "remote"
    there = [path for path in remote.rglob("*") if path.is_file()]
    assert len(there) == 4  # two photos and their etags
    assert feed.run("forget", feed.garments.rows[0]["sku"], "--yes").code == 0
    assert len([path for path in remote.rglob("*") if path.is_file()]) == 2


def test_an_export_names_urls_as_the_feed_did_and_comes_back_the_same(feed: Project, tmp_path: Path) -> None:
    ingest(feed)
    out = tmp_path / "out.csv"
    outcome = feed.run("export", out)
    assert outcome.code == 0
    assert "roots" not in outcome.err
    back = feed.run("ingest", out, "--json").json["files"][0]
    assert (back["images_new"], back["observations_new"]) == (0, 0)
