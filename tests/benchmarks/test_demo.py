"""The demo takes the best trunk that the machine can have, and says why."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from attributree.settings.file import load_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("demo")


@pytest.fixture
def hub(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A hub that answers with `answer`, and a cache that holds `cached`."""
    told: dict[str, Any] = {"cached": None, "answer": object()}

    def ask(*_: object, **__: object) -> object:
        if isinstance(told["answer"], Exception):
            raise told["answer"]
        return told["answer"]

    monkeypatch.setattr(demo, "try_to_load_from_cache", lambda *_: told["cached"])
    monkeypatch.setattr(demo, "get_hf_file_metadata", ask)
    return told


def test_a_hub_that_answers_gives_its_resnet(demo: ModuleType, hub: dict[str, Any]) -> None:
    trunk, why = demo.choose()
    assert trunk is demo.TRUNKS[demo.RESNET]
    assert "answers" in why


@pytest.mark.parametrize("error", [OSError("no route"), ValueError("offline")])
def test_without_a_hub_the_packaged_weights_are_taken(demo: ModuleType, hub: dict[str, Any], error: Exception) -> None:
    hub["answer"] = error
    trunk, why = demo.choose()
    assert trunk is demo.TRUNKS[demo.LITE0]
    assert type(error).__name__ in why


def test_what_was_downloaded_before_needs_no_hub(demo: ModuleType, hub: dict[str, Any]) -> None:
    hub |= {"answer": OSError("no route"), "cached": "model.safetensors"}
    assert demo.choose() == (demo.TRUNKS[demo.RESNET], "downloaded before")


@pytest.mark.parametrize("name", ["resnet34", "efficientnet-lite0", "resnet34-random"])
def test_each_trunk_makes_a_valid_configuration(demo: ModuleType, name: str, tmp_path: Path) -> None:
    trunk, file = demo.TRUNKS[name], tmp_path / "plugins.toml"
    config = demo.CONFIG.format(trunk=trunk.section, epochs=trunk.epochs, seed=0, disabled="[]")
    file.write_text(config + trunk.more, encoding="utf-8")
    assert load_settings(file, environ={}).trunk.image_size == trunk.size
