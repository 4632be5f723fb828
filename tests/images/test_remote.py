"""Files behind URLs: what is kept, what is refused, and that every wait ends (fault 37); with a server of our own."""

import hashlib
import logging
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from attributree.errors import ArtifactError, ConfigError, ImageError, UnreachableError
from attributree.images import remote as module
from attributree.images.download import AgainError
from attributree.images.pixels import Photo, PixelStore
from attributree.images.remote import RemoteFiles
from attributree.settings.models import ImagesSettings
from support.web import WebServer, settings


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits before another try take no time; returns how long they would have been."""
    pauses: list[float] = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    return pauses


def photo(web: WebServer, name: str, size: int = 40) -> bytes:
    """Write a picture that the server serves, and return its content."""
    Image.effect_noise((size, size), 60).convert("RGB").save(web.folder / name)
    return (web.folder / name).read_bytes()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_file_is_fetched_once_and_then_read_from_the_cache(web: WebServer, cache: Path) -> None:
    content = photo(web, "1.jpg")
    files = RemoteFiles(cache, settings())
    assert files.file(web.url("1.jpg")).read_bytes() == content
    assert RemoteFiles(cache, settings()).file(web.url("1.jpg#part")).read_bytes() == content
    assert web.asked == {"/1.jpg": 1}
    assert web.seen["/1.jpg"]["user-agent"].startswith("attributree/")


def test_with_recheck_a_file_is_sent_again_only_if_it_changed(web: WebServer, cache: Path) -> None:
    first = photo(web, "1.jpg")
    files, url = RemoteFiles(cache, settings()), web.url("1.jpg")
    files.file(url)
    assert files.file(url, recheck=True).read_bytes() == first
    assert web.seen["/1.jpg"]["if-none-match"]
    second = photo(web, "1.jpg", 50)
    assert files.file(url, recheck=True).read_bytes() == second != first
    (web.folder / "1.jpg").unlink()
    with pytest.raises(ImageError, match="answers 404"):
        files.file(url, recheck=True)


def test_what_is_cached_works_without_the_server(web: WebServer, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = photo(web, "1.jpg")
    files, url = RemoteFiles(cache, settings()), web.url("1.jpg")
    files.file(url)
    web.stop()
    assert files.file(url).read_bytes() == content
    with caplog.at_level(logging.WARNING):
        assert files.file(url, recheck=True).read_bytes() == content
    assert "the file in the cache is used" in caplog.text
    with pytest.raises(UnreachableError, match="cannot be reached"):
        files.file(web.url("2.jpg"))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("none.jpg", r"^127\.0\.0\.1:\d+ answers 404 Not Found$"),
        ("stall/1.jpg", r"sent nothing for 1 s"),
        ("silent/1.jpg", r"sent nothing for 1 s"),
        ("drip/1.jpg", r"did not arrive in 2 s"),
        ("slow-head/1.jpg", r"did not arrive in 2 s"),
        ("reset/1.jpg", "broke off"),
        ("cut/1.jpg", "broke off: .*IncompleteRead"),
        ("busy/9/1.jpg", "answers 503"),
        ("html/1.jpg", "not an image in one of JPEG"),
        ("huge/1.jpg", r"5000\.0 MB, more than the 0\.1 MB that images -> max_megabytes allows"),
        ("endless/1.jpg", r"0\.1 MB, more than the 0\.1 MB"),
        ("packed/1.jpg", "sends it packed"),
        ("loop/1.jpg", "more than 5 redirects"),
        (
            "to/http://169.254.169.254/latest",
            "not allowed: 169.254.169.254 is a private .*it was redirected to http://169",
        ),
        ("to/http://127.1.1.1/1.jpg", "not allowed: 127.1.1.1 .*it was redirected to"),
        ("to/file:///etc/passwd", "not allowed: file:// .*it was redirected to file:"),
        ("to/s3://bucket/1.jpg", "not allowed: a web server may lead to web servers only"),
    ],
)
def test_a_server_that_stalls_lies_or_leads_astray_costs_one_image_and_little_time(
    web: WebServer, cache: Path, path: str, reason: str
) -> None:
    photo(web, "1.jpg")
    files = RemoteFiles(cache, settings(max_megabytes=0.1, schemes=["http", "s3"], timeout=1, max_seconds=2))
    begun = time.monotonic()
    with pytest.raises(ImageError, match=reason) as error:
        files.file(web.url(path))
    assert not isinstance(error.value, UnreachableError)
    assert time.monotonic() - begun < 15
    assert [path for path in cache.rglob("*") if path.is_file()] == []  # nothing half is left


@pytest.mark.parametrize("path", ["wrong-type/1.jpg", "to//1.jpg", "1.jpg?size=large&v=ä b"])
def test_a_picture_is_a_picture_whatever_its_type_is_called_and_wherever_it_lies(
    web: WebServer, cache: Path, path: str
) -> None:
    content = photo(web, "1.jpg")
    assert RemoteFiles(cache, settings()).file(web.url(path)).read_bytes() == content


def test_a_host_that_is_busy_is_asked_again_after_a_pause(web: WebServer, cache: Path, no_pauses: list[float]) -> None:
    content = photo(web, "1.jpg")
    assert RemoteFiles(cache, settings(retries=2)).file(web.url("busy/2/1.jpg")).read_bytes() == content
    assert len(no_pauses) == 2
    assert 0 < no_pauses[0] < no_pauses[1]


def test_what_another_try_cannot_change_is_not_tried_again(web: WebServer, cache: Path) -> None:
    photo(web, "1.jpg")
    for path in ("none.jpg", "html/1.jpg"):
        with pytest.raises(ImageError):
            RemoteFiles(cache, settings(retries=5)).file(web.url(path))
    assert set(web.asked.values()) == {1}


def test_a_host_that_never_answers_is_given_up_for_this_time(web: WebServer, cache: Path) -> None:
    web.stop()
    files = RemoteFiles(cache, settings())
    reasons = []
    for number in range(8):
        with pytest.raises(UnreachableError) as error:
            files.file(web.url(f"{number}.jpg"))
        reasons.append(str(error.value))
    assert [("not asked any more" in reason) for reason in reasons] == [False] * 5 + [True] * 3


def test_a_few_bad_images_among_good_ones_do_not_give_a_host_up(web: WebServer, cache: Path) -> None:
    photo(web, "1.jpg")
    files = RemoteFiles(cache, settings())
    for number in range(12):
        with pytest.raises(AgainError):
            files.file(web.url(f"cut/1.jpg?{number}"))
        files.file(web.url(f"1.jpg?{number}"))


def test_the_settings_forbid_http_and_this_machine_by_default(web: WebServer, cache: Path) -> None:
    photo(web, "1.jpg")
    with pytest.raises(ImageError, match="not allowed: http://"):
        RemoteFiles(cache, settings(schemes=["https"])).file(web.url("1.jpg"))
    by_name = web.url("1.jpg").replace("127.0.0.1", "localhost")
    with pytest.raises(ImageError, match=r"not allowed: localhost leads to .*, a private address"):
        RemoteFiles(cache, settings(allow_private=[])).file(by_name)
    assert web.asked == {}
    assert RemoteFiles(cache, settings(allow_private=["localhost"])).file(by_name).is_file()


def test_the_cache_is_bounded_and_what_was_used_last_stays(web: WebServer, cache: Path) -> None:
    size = len(photo(web, "1.jpg", 100))
    files = RemoteFiles(cache, settings(cache_gigabytes=5.5 * size / 1e9))
    urls = [web.url(f"1.jpg?{number}") for number in range(12)]
    clock = iter(range(1_000_000_000, 2_000_000_000))
    for url in urls:
        kept = files.file(url)
        now = next(clock)
        os.utime(kept, (now, now))
    used = files.file(urls[-3])
    assert used.is_file()
    there = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".etag"]
    assert sum(path.stat().st_size for path in there) <= 5.5 * size
    assert 3 <= len(there) <= 5


def test_a_cache_that_cannot_be_written_is_one_line(web: WebServer, cache: Path) -> None:
    photo(web, "1.jpg")
    cache.mkdir()
    (cache / "remote").write_text("in the way")
    with pytest.raises(ArtifactError, match=r"remote cannot be written .*catalog -> cache"):
        RemoteFiles(cache, settings()).file(web.url("1.jpg"))


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [("https://a.example/1.jpg", "urllib3", "http"), ("s3://bucket/1.jpg", "s3fs", "s3")],
)
def test_a_missing_extra_is_named_with_what_to_type(
    cache: Path, monkeypatch: pytest.MonkeyPatch, url: str, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "attributree.images.web", raising=False)
    with pytest.raises(ConfigError, match=rf"pip install 'attributree\[{extra}\]'"):
        RemoteFiles(cache, ImagesSettings()).file(url)


# -- pixels ----------------------------------------------------------------------------------------


def test_pixels_of_urls_are_kept_under_the_digest_of_their_file(web: WebServer, cache: Path) -> None:
    content = photo(web, "1.jpg")
    shutil.copy(web.folder / "1.jpg", web.folder / "same.jpg")
    photos = [
        Photo(1, web.url("1.jpg")),
        Photo(2, web.folder / "1.jpg"),
        Photo(3, web.url("same.jpg")),
        Photo(4, web.url("none.jpg")),
    ]
    store = PixelStore(cache, 32)
    decoded = store.fill(photos, remote=RemoteFiles(cache, settings()))
    assert decoded.digests == dict.fromkeys((1, 2, 3), hashlib.sha256(content).hexdigest())
    assert list(decoded.failed) == [4]
    assert not decoded.away
    assert len(store) == 1


def test_an_image_that_takes_long_keeps_no_other_waiting(web: WebServer, cache: Path) -> None:
    photo(web, "1.jpg")
    web.gate_at = 60
    slow = [Photo(i, web.url(f"gate/1.jpg?{i}")) for i in range(4)]  # they arrive once all the others have
    others = [Photo(i, web.url(f"1.jpg?{i}")) for i in range(4, 64)]
    told: list[int] = []
    files = RemoteFiles(cache, settings(connections=8))
    decoded = PixelStore(cache, 32).fill(slow + others, told.append, 1, remote=files)
    assert not decoded.failed
    assert sum(told) == 64


def test_a_file_that_cannot_be_decoded_is_asked_for_anew(web: WebServer, cache: Path) -> None:
    content = photo(web, "1.jpg", 300)
    (web.folder / "1.jpg").write_bytes(content[: len(content) // 2])
    store, files, photos = PixelStore(cache, 300), RemoteFiles(cache, settings()), [Photo(1, web.url("1.jpg"))]
    assert "truncated" in store.fill(photos, remote=files).failed[1]
    (web.folder / "1.jpg").write_bytes(content)
    assert store.fill(photos, remote=files).digests == {1: hashlib.sha256(content).hexdigest()}


def test_threads_that_fetch_one_url_at_once_each_get_it(web: WebServer, cache: Path) -> None:
    content = photo(web, "1.jpg")
    photos = [Photo(i, web.url("1.jpg")) for i in range(16)]
    decoded = PixelStore(cache, 32).fill(photos, remote=RemoteFiles(cache, settings()))
    assert set(decoded.digests.values()) == {hashlib.sha256(content).hexdigest()}
    assert len(decoded.digests) == 16
