"""Files of web servers, by urllib3, with connections only to addresses that were looked at.

urllib3 reads and pools; what it connects to is decided by `addresses.connect`, also for redirects and for names that
resolve to something else the second time. Proxies of the environment are not used: behind one, no address can be
looked at.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.metadata import version
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, SSLError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.response import HTTPResponse

from ..errors import ImageError, UnreachableError
from ..settings.models import ImagesSettings
from .addresses import NOT_ALLOWED, check_url, connect
from .download import AgainError, Download

_REDIRECTS = 5
_PIECE = 1 << 16
#: Answers that may be others in a while.
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
#: When the request of this thread must have been answered, by `time.monotonic`.
_deadline: ContextVar[float] = ContextVar("deadline")


class _Checked(HTTPConnection):
    """A connection to an address that was looked at, broken off at the deadline."""

    settings: ImagesSettings
    _line: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        opened = connect(self.host, self.port or self.default_port, self.settings)
        self._line = opened.dup()  # TLS takes the socket itself away
        return opened

    def connect(self) -> None:
        with self._until_deadline():
            super().connect()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        with self._until_deadline():
            return super().getresponse()

    def close(self) -> None:
        super().close()
        if self._line is not None:
            self._line.close()
            self._line = None

    @contextmanager
    def _until_deadline(self) -> Iterator[None]:
        """Break the line at the deadline: a byte now and then keeps each single wait short of its timeout."""
        timer = threading.Timer(max(0.0, _deadline.get() - time.monotonic()), self._break_line)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _break_line(self) -> None:
        if (line := self._line) is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


class WebFiles:
    """Opens http:// and https:// URLs; see `download.Opener`. Threads may share it."""

    def __init__(self, settings: ImagesSettings) -> None:
        self._settings = settings
        headers = {"User-Agent": f"attributree/{version('attributree')}", "Accept": "image/*,*/*;q=0.1"}
        timeout = Timeout(connect=settings.timeout, read=settings.timeout)
        self._pools = PoolManager(
            num_pools=64, maxsize=settings.connections, headers=headers, timeout=timeout, retries=False
        )
        self._pools.pool_classes_by_scheme = _pool_classes(settings)

    @contextmanager
    def open(self, url: str, etag: str | None, deadline: float) -> Iterator[Download]:
        """See `download.Opener`."""
        token = _deadline.set(deadline)
        try:
            with self._told(url):
                response = self._answer(url, etag)
            try:
                yield self._download(url, response, etag)
            finally:
                response.close()
        finally:
            _deadline.reset(token)

    def _answer(self, url: str, etag: str | None) -> BaseHTTPResponse:
        """Return what `url` answers at the end of its redirects. Raises ImageError if one leads where none may."""
        headers = {**self._pools.headers, **({"If-None-Match": etag} if etag else {})}
        at = url
        for _ in range(_REDIRECTS + 1):
            try:
                check_url(at, self._settings)
                if urlsplit(at).scheme not in ("http", "https"):
                    raise ImageError(f"{NOT_ALLOWED}a web server may lead to web servers only")
                response = self._pools.request("GET", at, headers=headers, preload_content=False, redirect=False)
                if time.monotonic() >= _deadline.get():
                    response.close()  # its header may be cut where the line was broken
                    raise AgainError(f"did not arrive in {self._settings.max_seconds:g} s")
            except (AgainError, UnreachableError):
                raise
            except ImageError as error:
                raise error if at == url else ImageError(f"{error}; it was redirected to {at}") from None
            target = response.get_redirect_location()
            if not target:
                return response
            response.close()
            at = urljoin(at, target)
        raise ImageError(f"more than {_REDIRECTS} redirects")

    @contextmanager
    def _told(self, url: str) -> Iterator[None]:
        """Turn what urllib3 raises into an ImageError."""
        host = urlsplit(url).netloc
        try:
            yield
        except HTTPTimeoutError:
            raise AgainError(f"{host} sent nothing for {self._settings.timeout:g} s") from None
        except SSLError as error:
            raise UnreachableError(f"{host} cannot be reached safely: {error}") from None
        except HTTPError as error:
            if time.monotonic() >= _deadline.get():
                raise AgainError(f"did not arrive in {self._settings.max_seconds:g} s") from None
            raise AgainError(f"{host} broke off: {error.args[0] if error.args else error}") from None

    def _download(self, url: str, response: BaseHTTPResponse, etag: str | None) -> Download:
        host, status = urlsplit(url).netloc, response.status
        if status == 304 and etag:
            return Download(iter(()), etag=etag, unchanged=True)
        answers = f"{host} answers {status} {response.reason or ''}".strip()
        if status in _AGAIN:
            raise AgainError(answers, _number(response, "Retry-After"))
        if status != 200:
            raise ImageError(answers)
        if (packed := response.headers.get("Content-Encoding", "identity")) != "identity":
            raise ImageError(f"{host} sends it packed ({packed}), which was not asked for")
        return Download(self._pieces(url, response), _number(response, "Content-Length"), response.headers.get("ETag"))

    def _pieces(self, url: str, response: BaseHTTPResponse) -> Iterator[bytes]:
        while True:
            with self._told(url):
                piece = response.read1(_PIECE, decode_content=False)  # a slow server would never fill a buffer
            if not piece:
                return
            yield piece


def _number(response: BaseHTTPResponse, header: str) -> int | None:
    """Return the number that a header holds, None if it holds none."""
    text = response.headers.get(header, "")
    return int(text) if text.isascii() and text.isdecimal() else None


def _pool_classes(settings: ImagesSettings) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's pools with connections that look at addresses, by scheme."""

    class Plain(_Checked):
        pass

    class Tls(_Checked, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    Plain.settings = Tls.settings = settings
    return {"http": PlainPool, "https": TlsPool}
