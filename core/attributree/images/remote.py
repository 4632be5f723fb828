"""Files behind URLs: fetched with limits and retries, and kept in a bounded cache.

A file lies in the cache under the SHA-256 of its URL, with its etag beside it. It is only let in whole and with the
header of an image. Pixels and features are kept under the SHA-256 of the file's content, as those of any file.
"""

from __future__ import annotations

import hashlib
import logging
import random
import secrets
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from ..errors import ArtifactError, ConfigError, ImageError, UnreachableError
from ..settings.models import ImagesSettings, Settings
from .addresses import check_url, normal_url
from .decode import MAX_BYTES, inspect_image
from .download import AgainError, Download, Opener

#: A file, or the URL of one.
Place = Path | str

log = logging.getLogger(__name__)

#: First pause before another try, seconds; each further one is twice as long.
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
#: A host is given up for this time after so many images in a row that did not arrive: fewer if none ever did.
_GIVE_UP, _GIVE_UP_SILENT = 30, 5
#: The share of the cache that is freed beyond what is needed: looking through it takes a while.
_SLACK = 0.02
#: Where files are written until they are whole. What is older than this, seconds, was left there by a kill.
_PARTIAL, _LONGEST_FETCH = "partial", 2 * 3600.0
_EXTRAS = {"https": "http", "http": "http", "s3": "s3", "gs": "gs"}


class _Host:
    """How a host has answered so far. Threads share it."""

    def __init__(self) -> None:
        self.failures = 0  # images in a row
        self.answered = False

    def tell(self, arrived: bool) -> None:
        self.answered |= arrived
        self.failures = 0 if arrived else self.failures + 1

    @property
    def given_up(self) -> bool:
        return self.failures >= (_GIVE_UP if self.answered else _GIVE_UP_SILENT)


class RemoteFiles:
    """Files behind URLs, in the folder `remote` of a cache. Threads may share it."""

    def __init__(self, cache: Path, settings: ImagesSettings) -> None:
        self.settings = settings
        self._folder = cache / "remote"
        self._limit = int(settings.cache_gigabytes * 1e9)
        self._largest = min(int(settings.max_megabytes * 1e6), MAX_BYTES)
        self._room = 0  # bytes that may be written before the cache is looked through again
        self._lock = threading.Lock()
        self._openers: dict[str, Opener] = {}
        self._hosts: defaultdict[str, _Host] = defaultdict(_Host)

    @classmethod
    def of(cls, settings: Settings) -> RemoteFiles:
        """Return those of the settings' cache."""
        return cls(settings.catalog.cache, settings.images)

    def file(self, place: Place, *, recheck: bool = False) -> Path:
        """Return the file at `place`; one behind a URL is fetched if it is not in the cache.

        With `recheck`, the other side is asked whether the one in the cache is still the same; if it cannot be reached,
        that one serves. Raises ImageError, UnreachableError if the host is away; ConfigError if an extra is missing;
        ArtifactError if the cache cannot be written.
        """
        if isinstance(place, Path):
            return place
        url = normal_url(place)
        scheme, _, rest = url.partition("://")
        check_url(url, self.settings)
        kept = self._kept(url)
        there = kept.is_file()
        if there:
            with suppress(OSError):
                kept.touch()
            if not recheck:
                return kept
        opener = self._opener(scheme)
        host = self._hosts[f"{scheme}://{rest.partition('/')[0]}"]
        try:
            self._fetch(opener, host, url, kept if there else None)
        except UnreachableError as error:
            if not there:
                raise
            log.warning("%s; the file in the cache is used", error)
        return kept

    def drop(self, url: str) -> None:
        """Delete the file of a URL from the cache."""
        kept = self._kept(normal_url(url))
        for path in (kept, _etag_of(kept)):
            path.unlink(missing_ok=True)

    def _kept(self, url: str) -> Path:
        key = hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()
        return self._folder / key[:2] / key

    def _opener(self, scheme: str) -> Opener:
        with self._lock:
            if scheme not in self._openers:
                self._openers[scheme] = _opener_of(scheme, self.settings)
            return self._openers[scheme]

    # -- fetching ----------------------------------------------------------------------------------

    def _fetch(self, opener: Opener, host: _Host, url: str, kept: Path | None) -> None:
        """Fetch the file of a URL into the cache, unless it is still what is `kept`; try again where that may help."""
        for left in range(self.settings.retries, -1, -1):
            if host.given_up:
                raise UnreachableError(f"{url.split('/')[2]} is not asked any more: it failed too often in a row")
            try:
                self._fetch_once(opener, url, kept)
            except (AgainError, UnreachableError) as error:
                if not left:
                    host.tell(False)
                    raise
                tries = self.settings.retries - left
                asked = error.wait if isinstance(error, AgainError) else None
                pause = asked or _PAUSE * 2**tries * (1 + host.failures)
                time.sleep(min(pause, _LONGEST_PAUSE) * random.uniform(0.75, 1.25))
            except ImageError:
                host.tell(True)  # it answered
                raise
            else:
                host.tell(True)
                return

    def _fetch_once(self, opener: Opener, url: str, kept: Path | None) -> None:
        deadline = time.monotonic() + self.settings.max_seconds
        with opener.open(url, _read(_etag_of(kept)) if kept else None, deadline) as download:
            if not download.unchanged:
                self._let_in(url, download, deadline)

    def _let_in(self, url: str, download: Download, deadline: float) -> None:
        target = self._kept(url)
        partial = self._folder / _PARTIAL / f"{target.name}-{secrets.token_hex(8)}"
        try:
            for folder in (partial.parent, target.parent):
                folder.mkdir(parents=True, exist_ok=True)
            self._write(partial, download, deadline)
            inspect_image(partial)
            self._make_room(partial.stat().st_size)
            _etag_of(target).unlink(missing_ok=True)  # it must not vouch for another file
            partial.replace(target)
            if download.etag:
                _etag_of(target).write_text(download.etag, encoding="utf-8")
        except OSError as error:
            raise ArtifactError(
                f"{self._folder} cannot be written ({error.strerror}); free some space, or set another catalog -> cache"
            ) from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _write(self, partial: Path, download: Download, deadline: float) -> None:
        """Write a file as it arrives. Raises ImageError at the limits of size and time, or if it is cut short."""
        self._refuse_large(download.length or 0)
        size = 0
        with partial.open("wb") as file:
            for piece in download.pieces:
                size += len(piece)
                self._refuse_large(size)
                if time.monotonic() > deadline:
                    raise AgainError(f"did not arrive in {self.settings.max_seconds:g} s")
                file.write(piece)
        if download.length is not None and size < download.length:
            raise AgainError(f"ended after {size} of {download.length} bytes")

    def _refuse_large(self, size: int) -> None:
        if size > self._largest:
            allowed = f"{self._largest / 1e6:g} MB that images -> max_megabytes allows"
            raise ImageError(f"{size / 1e6:.1f} MB, more than the {allowed}")

    def _make_room(self, size: int) -> None:
        """Delete the files that were not used for longest until `size` more bytes fit."""
        with self._lock:
            self._room -= size
            if self._room >= 0:
                return
            found = []
            for path in self._folder.glob("*/*"):
                with suppress(FileNotFoundError):  # another process deletes as well
                    state = path.stat()
                    found.append((state.st_mtime, state.st_size, path))
            total = sum(size for _, size, _ in found)
            slack = int(self._limit * _SLACK)
            for used, freed, path in sorted(found):
                if total <= self._limit - slack:
                    break
                if path.parent.name == _PARTIAL and used > time.time() - _LONGEST_FETCH:
                    continue  # it is still arriving
                with suppress(OSError):
                    path.unlink()
                    total -= freed
            self._room = max(0, self._limit - total)


def _opener_of(scheme: str, settings: ImagesSettings) -> Opener:
    """Return what opens URLs of a scheme. Raises ConfigError, with what to type, if its extra is not installed."""
    try:
        if scheme in ("http", "https"):
            from .web import WebFiles

            return WebFiles(settings)
        from .objects import ObjectFiles

        return ObjectFiles(scheme, settings)
    except ImportError as error:
        extra = f"attributree[{_EXTRAS[scheme]}]"
        raise ConfigError(f"images at {scheme}:// need an extra ({error}): pip install '{extra}'") from None


def _etag_of(kept: Path) -> Path:
    return kept.with_suffix(".etag")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
