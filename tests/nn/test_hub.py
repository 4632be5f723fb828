"""timm's hub as people who mirror it, or cannot reach it, have it: HF_ENDPOINT and HF_HUB_OFFLINE, with a server here.

Both are read when huggingface_hub is imported, so each trunk is built in a process of its own.
"""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

pytestmark = pytest.mark.acceptance
BUILD = """
from attributree.errors import TrunkError
from attributree.nn.trunk import TrunkSpec, build_backbone
try:
    backbone = build_backbone(TrunkSpec("test_resnet", image_size=64, weights="hub"))
except TrunkError as error:
    print(error)
else:
    print(backbone.spec.origin, float(backbone.state()["conv1.0.weight"].double().sum()))
"""


class Mirror(ThreadingHTTPServer):
    """A hub that has the weights of one backbone and counts how often they are asked for."""

    def __init__(self, file: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = file.read_bytes()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.server.asked.append(self.path)
        if not self.path.endswith("/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"):
            self.send_error(404)
            return
        content = self.server.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "model.safetensors")
    server = Mirror(tmp_path / "model.safetensors")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def build(home: Path, **variables: str) -> str:
    """Build a trunk on the hub's weights in a process of its own, and return what came of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_XET": "1", **variables}
    done = subprocess.run(
        [sys.executable, "-c", BUILD], env=environment, capture_output=True, text=True, timeout=240, check=True
    )
    return done.stdout.strip()


def test_a_mirror_is_asked_once_and_what_it_gave_works_offline(mirror: Mirror, tmp_path: Path) -> None:
    home = tmp_path / "home"
    refused = build(home, HF_HUB_OFFLINE="1", HF_ENDPOINT=mirror.url)
    assert refused.startswith("trunk -> weights: 'hub' could not be loaded (")
    assert "attributree weights list" in refused
    assert "\n" not in refused
    assert mirror.asked == []

    first = build(home, HF_ENDPOINT=mirror.url)
    assert first.startswith("hub: timm/test_resnet.r160_in1k ")
    assert mirror.asked
    mirror.asked.clear()
    assert build(home, HF_HUB_OFFLINE="1", HF_ENDPOINT=mirror.url) == first
    assert mirror.asked == []
