"""Files of object stores, by fsspec: s3:// through s3fs and gs:// through gcsfs.

Who one is there, and which server that is, fsspec and the stores' own settings say (AWS_PROFILE, AWS_ENDPOINT_URL_S3,
FSSPEC_S3_ANON, GOOGLE_APPLICATION_CREDENTIALS ...): never a label file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from ..errors import ImageError, UnreachableError
from ..settings.models import ImagesSettings
from .download import AgainError, Download

#: What s3fs and gcsfs raise if it is not the object's fault, by name: neither is imported here.
_AWAY = {
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"),
    *("EndpointConnectionError", "ConnectTimeoutError", "SSLError", "DefaultCredentialsError", "RefreshError"),
    *("ClientConnectorError", "ClientConnectorDNSError"),
}


class ObjectFiles:
    """Opens URLs of one object store; see `download.Opener`. Raises ImportError if fsspec lacks what it needs."""

    def __init__(self, scheme: str, settings: ImagesSettings) -> None:
        self._limit = int(settings.max_megabytes * 1e6)
        self._files = fsspec.filesystem(scheme, **_options(scheme, settings))

    @contextmanager
    def open(self, url: str, etag: str | None, deadline: float) -> Iterator[Download]:
        """See `download.Opener`."""
        with _told(url):
            info = self._files.info(url)
        if info.get("type") == "directory":
            raise ImageError("is a folder, not an image")
        now = _etag(info)
        if etag and now == etag:
            yield Download(iter(()), etag=now, unchanged=True)
        else:
            yield Download(self._pieces(url), info.get("size"), now)

    def _pieces(self, url: str) -> Iterator[bytes]:
        # One request, that ends at the limit whatever the size was said to be.
        with _told(url):
            content: bytes = self._files.cat_file(url, start=0, end=self._limit + 1)
        yield content


def _options(scheme: str, settings: ImagesSettings) -> dict[str, Any]:
    if scheme == "s3":
        wait = {"connect_timeout": settings.timeout, "read_timeout": settings.timeout, "retries": {"max_attempts": 0}}
        return {"config_kwargs": wait}
    return {"requests_timeout": settings.timeout} if scheme == "gs" else {}


def _etag(info: dict[str, Any]) -> str | None:
    return next((str(info[name]) for name in ("ETag", "etag", "md5Hash") if info.get(name)), None)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what fsspec, s3fs and gcsfs raise into an ImageError."""
    store = "/".join(url.split("/")[:3])
    try:
        yield
    except FileNotFoundError:
        raise ImageError(f"not found in {store}") from None
    except PermissionError as error:
        raise ImageError(f"{store} does not let it be read: {error}") from None
    except Exception as error:
        # botocore's errors have no base that fsspec shares.
        what = f"{store}: {error or type(error).__name__}"
        raise UnreachableError(what) if type(error).__name__ in _AWAY else AgainError(what) from error
