"""The distribution's own sources, whether or not it is installed."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "src")
