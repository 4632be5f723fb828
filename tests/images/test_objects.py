"""Images in object stores: fsspec's memory stands in for one; S3 itself is tested with moto where that is installed."""

import hashlib
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from attributree.errors import ImageError, UnreachableError
from attributree.images.pixels import Photo, PixelStore
from attributree.images.remote import RemoteFiles
from attributree.settings.models import ImagesSettings

ONCE = ImagesSettings(retries=0, timeout=5, max_megabytes=0.1)


def picture(size: int = 40) -> bytes:
    out = BytesIO()
    Image.effect_noise((size, size), 60).convert("RGB").save(out, "PNG")
    return out.getvalue()


class Store(MemoryFileSystem):
    """An object store in memory, with etags; `refused` is raised by every read."""

    protocol = "s3"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False
    refused: Exception | None = None
    reads = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.partition("://")[2] if "://" in path else path

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        if Store.refused is not None:
            raise Store.refused
        found: dict[str, Any] = super().info(path, **more)
        return {**found, "ETag": hashlib.sha256(self.store[found["name"]].getvalue()).hexdigest()}

    def cat_file(self, path: str, **more: Any) -> bytes:
        Store.reads += 1
        content: bytes = super().cat_file(path, **more)
        return content


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(Store, "store", {})
    monkeypatch.setattr(Store, "reads", 0)
    monkeypatch.setattr(Store, "refused", None)
    made = Store()
    monkeypatch.setattr(fsspec, "filesystem", lambda scheme, **_: made)
    return made


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_an_object_is_fetched_once_and_again_when_its_etag_changed(store: Store, tmp_path: Path, scheme: str) -> None:
    url, first, second = f"{scheme}://bucket/a b/1#x.png", picture(), picture(50)
    store.pipe(url, first)
    files = RemoteFiles(tmp_path, ONCE)
    assert files.file(url).read_bytes() == first
    assert files.file(url, recheck=True).read_bytes() == first
    assert Store.reads == 1
    store.pipe(url, second)
    assert files.file(url).read_bytes() == first
    assert files.file(url, recheck=True).read_bytes() == second


def test_an_object_that_is_no_picture_too_large_or_not_there_is_refused(store: Store, tmp_path: Path) -> None:
    store.pipe("s3://bucket/page.png", b"<html>")
    store.pipe("s3://bucket/large.png", bytes(200_000))
    files = RemoteFiles(tmp_path, ONCE)
    for name, reason in (
        ("page.png", "not an image"),
        ("large.png", r"0\.2 MB, more than the 0\.1 MB"),
        ("none.png", "^not found in s3://bucket$"),
    ):
        with pytest.raises(ImageError, match=reason):
            files.file(f"s3://bucket/{name}")
    assert Store.reads == 1  # the large one was refused by its size


class NoCredentialsError(Exception):
    """As botocore's, by name."""


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (PermissionError("Forbidden"), ImageError, "s3://bucket does not let it be read: Forbidden"),
        (NoCredentialsError("Unable to locate credentials"), UnreachableError, "s3://bucket: Unable to locate"),
        (OSError("slow down"), ImageError, "s3://bucket: slow down"),
    ],
)
def test_what_a_store_refuses_is_said_and_missing_credentials_are_no_fault_of_the_image(
    store: Store, tmp_path: Path, error: Exception, kind: type[ImageError], reason: str
) -> None:
    Store.refused = error
    with pytest.raises(ImageError, match=reason) as found:
        RemoteFiles(tmp_path, ONCE).file("s3://bucket/1.png")
    assert isinstance(found.value, UnreachableError) == (kind is UnreachableError)


# -- S3 itself -------------------------------------------------------------------------------------


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that speaks S3, with the bucket `shop`, and the user's environment that leads to it."""
    why = "pip install s3fs 'moto[server,s3]'"
    s3fs = pytest.importorskip("s3fs", reason=why)
    moto = pytest.importorskip("moto.server", reason=why)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()  # one of another test has its own server and keys
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.acceptance
@pytest.mark.filterwarnings("default")  # of aiobotocore, moto and what they stand on
def test_images_in_s3_are_fetched_beside_each_other_and_asked_for_by_etag(endpoint: str, tmp_path: Path) -> None:
    import s3fs

    s3 = s3fs.S3FileSystem()
    s3.mkdir("shop")
    contents = {i: picture(30 + i) for i in range(20)}
    for i, content in contents.items():
        s3.pipe(f"shop/photos/{i}.png", content)
    s3.pipe("shop/photos/page.png", b"<html>")
    names = {**{i: str(i) for i in contents}, 98: "page", 99: "none"}
    files = RemoteFiles(tmp_path, ONCE)
    photos = [Photo(i, f"s3://shop/photos/{name}.png") for i, name in names.items()]
    decoded = PixelStore(tmp_path, 32).fill(photos, remote=files)
    assert decoded.digests == {i: hashlib.sha256(content).hexdigest() for i, content in contents.items()}
    assert "not an image" in decoded.failed[98]
    assert decoded.failed[99] == "not found in s3://shop"
    assert not decoded.away
    assert files.file("s3://shop/photos/1.png", recheck=True).read_bytes() == contents[1]
    s3.pipe("shop/photos/1.png", contents[2])
    assert files.file("s3://shop/photos/1.png", recheck=True).read_bytes() == contents[2]


@pytest.mark.acceptance
@pytest.mark.filterwarnings("default")
def test_without_credentials_no_image_of_s3_is_blamed(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UnreachableError, match="credentials"):
        RemoteFiles(tmp_path, ONCE).file("s3://shop/photos/1.png")
