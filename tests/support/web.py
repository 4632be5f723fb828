"""A web server on this machine that serves pictures, and behaves badly where its paths say so."""

import hashlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from attributree.settings.models import ImagesSettings

#: What the settings must say for this server to be asked.
HERE: dict[str, Any] = {"schemes": ["https", "http"], "allow_private": ["127.0.0.1"]}
#: Longest that a stalling answer is kept open, seconds.
STALL = 30.0


class WebServer:
    """Serves the files of `folder` below /. `asked` counts the requests by path, `seen` has their headers.

    Below these, a path does what it says: /stall/ sends half of the file and waits, /drip/ sends a byte now and then,
    /silent/ never answers, /slow-head/ sends its header byte by byte, /reset/ closes the line, /cut/ sends half of what
    its header says, /busy/N/ answers 503 to the first N requests, /html/ a page that says it is a picture, /huge/ says
    it is 5 GB, /endless/ never stops, /wrong-type/ the picture as text/html, /to/URL redirects there, /loop/ to itself,
    /gate/ waits until `gate_at` plain files were sent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: Counter[str] = Counter()
        self.seen: dict[str, dict[str, str]] = {}
        self.gate_at = 0
        self.gone = threading.Event()
        self._open = threading.Event()
        self._sent = 0
        self._lines: set[socket.socket] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer._lines.add(self.request)
                super().setup()

            def do_GET(self) -> None:
                outer.asked[self.path] += 1
                outer.seen[self.path] = {name.lower(): text for name, text in self.headers.items()}
                with suppress(ConnectionError):
                    outer._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http://127.0.0.1:{self.port}/{path}"

    @contextmanager
    def running(self) -> Iterator["WebServer"]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def stop(self) -> None:
        """Serve no more; lines that wait are closed."""
        if not self.gone.is_set():
            self.gone.set()
            self._server.shutdown()
            self._server.server_close()
            for line in self._lines:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def _serve(self, request: Any) -> None:
        how, _, name = request.path[1:].partition("/")
        if how == "busy":
            times, _, name = name.partition("/")
            if self.asked[request.path] <= int(times):
                self._head(request, 503, {"Content-Length": "0"})
                return
        if how == "to":
            self._head(request, 302, {"Content-Length": "0", "Location": name})
            return
        content = self._content(name if how in _BEHAVIOURS else request.path[1:])
        if content is None:
            self._head(request, 404, {"Content-Length": "0"})
            return
        behave = getattr(self, f"_{how.replace('-', '_')}", None) if how in _BEHAVIOURS else None
        (behave or self._plain)(request, content)

    def _content(self, name: str) -> bytes | None:
        path = self.folder / name.partition("?")[0]
        return path.read_bytes() if path.is_file() else None

    def _head(self, request: Any, status: int, headers: dict[str, str]) -> None:
        request.send_response(status)
        for header, text in headers.items():
            request.send_header(header, text)
        request.end_headers()
        request.wfile.flush()

    def _plain(self, request: Any, content: bytes) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == etag:
            self._head(request, 304, {"ETag": etag})
            return
        self._head(request, 200, {"Content-Length": str(len(content)), "Content-Type": "image/jpeg", "ETag": etag})
        request.wfile.write(content)
        self._sent += 1
        if self._sent >= self.gate_at:
            self._open.set()

    def _stall(self, request: Any, content: bytes) -> None:
        self._head(request, 200, {"Content-Length": str(len(content))})
        request.wfile.write(content[: len(content) // 2])
        self.gone.wait(STALL)

    def _silent(self, request: Any, content: bytes) -> None:
        self.gone.wait(STALL)

    def _drip(self, request: Any, content: bytes) -> None:
        self._head(request, 200, {"Content-Length": str(len(content))})
        for byte in content:
            request.wfile.write(bytes([byte]))
            if self.gone.wait(0.05):
                return

    def _slow_head(self, request: Any, content: bytes) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 2000:
            request.wfile.write(bytes([byte]))
            if self.gone.wait(0.05):
                return

    def _reset(self, request: Any, content: bytes) -> None:
        request.close_connection = True
        request.connection.close()

    def _cut(self, request: Any, content: bytes) -> None:
        self._head(request, 200, {"Content-Length": str(len(content))})
        request.wfile.write(content[: len(content) // 2])
        request.close_connection = True

    def _html(self, request: Any, content: bytes) -> None:
        page = b"<!DOCTYPE html><html><body>we moved</body></html>"
        self._head(request, 200, {"Content-Length": str(len(page)), "Content-Type": "image/jpeg"})
        request.wfile.write(page)

    def _huge(self, request: Any, content: bytes) -> None:
        self._head(request, 200, {"Content-Length": str(5 * 10**9)})
        request.wfile.write(content)
        request.close_connection = True

    def _endless(self, request: Any, content: bytes) -> None:
        self._head(request, 200, {"Connection": "close"})
        request.close_connection = True
        deadline = time.monotonic() + STALL
        while time.monotonic() < deadline and not self.gone.is_set():
            request.wfile.write(content)

    def _wrong_type(self, request: Any, content: bytes) -> None:
        self._head(request, 200, {"Content-Length": str(len(content)), "Content-Type": "text/html"})
        request.wfile.write(content)

    def _packed(self, request: Any, content: bytes) -> None:
        self._head(request, 200, {"Content-Length": str(len(content)), "Content-Encoding": "gzip"})
        request.wfile.write(content)

    def _gate(self, request: Any, content: bytes) -> None:
        self._open.wait(STALL)
        self._plain(request, content)

    def _loop(self, request: Any, content: bytes) -> None:
        self._head(request, 302, {"Content-Length": "0", "Location": request.path})


_BEHAVIOURS = {
    *("stall", "silent", "drip", "slow-head", "reset", "cut", "html", "huge", "endless", "wrong-type", "packed"),
    *("gate", "loop", "busy"),
}


def settings(**changes: Any) -> ImagesSettings:
    """Return settings that allow this machine's server, wait long enough on a busy machine, and try once."""
    return ImagesSettings(**{**HERE, "timeout": 20, "max_seconds": 30, "retries": 0, **changes})


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A running server of the folder `tmp_path/served`."""
    folder = tmp_path / "served"
    folder.mkdir()
    with WebServer(folder).running() as server:
        yield server
