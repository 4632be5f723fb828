"""Fixtures for the tests of plugins, found by pytest wherever attributree is installed. Imports nothing heavy itself.

attributree_trunk       weights of a tiny trunk, a path
attributree_workspace   makes workspaces on that trunk, each in a folder of its own
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..workspace import Workspace

# Its asserts are shown with their values, as a test module's are.
pytest.register_assert_rewrite("attributree.testing.contract")

_BACKBONE: Mapping[str, Any] = {"backbone": "test_resnet", "image_size": 32}


def pytest_configure(config: pytest.Config) -> None:
    """Make the contract's marker known."""
    config.addinivalue_line(
        "markers", 'attributree_grows: trains a tiny branch, seconds; leave out by -m "not attributree_grows"'
    )


@pytest.fixture(scope="session")
def attributree_trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights for `[trunk] weights`: a backbone that has learnt nothing, the same every time."""
    import torch
    from safetensors.torch import save_file

    from ..nn.sources import RANDOM
    from ..nn.trunk import TrunkSpec, build_backbone

    path = tmp_path_factory.mktemp("attributree-trunk") / "trunk.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build_backbone(TrunkSpec(**_BACKBONE, weights=RANDOM))
    save_file({name: tensor.contiguous() for name, tensor in backbone.state().items()}, path)
    return path


@pytest.fixture(scope="session")
def _empty_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue that nothing is in, to be copied: making one runs every migration."""
    from ..database.migrate import upgrade

    path = tmp_path_factory.mktemp("attributree-catalogue") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def attributree_workspace(
    attributree_trunk: Path, _empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Workspace]]:
    """Makes workspaces: an empty catalogue on the tiny trunk, and of all plugins only those that are given.

    `make({"tone": attributree_tone}, attributes={"tone": {"depth": "head"}})`: plugins by name, then sections as they
    stand in plugins.toml. They are closed when the test ends.
    """
    from ..settings.models import Settings
    from ..workspace import Workspace

    made: list[Workspace] = []

    def make(plugins: Mapping[str, object] | None = None, **sections: Mapping[str, Any]) -> Workspace:
        folder = tmp_path_factory.mktemp("attributree-workspace")
        installed = {point.dist.name for point in metadata.entry_points(group="attributree") if point.dist}
        defaults: dict[str, dict[str, Any]] = {
            "catalog": {
                "database": f"sqlite:///{folder / 'attributree.db'}",
                "artifacts": folder / "artifacts",
                "cache": folder / "cache",
            },
            "trunk": {**_BACKBONE, "weights": str(attributree_trunk)},
            "training": {"learning_rate": 0.02, "epochs": 30, "min_labels": 10, "workers": 1, "device": "cpu"},
            "plugins": {"disabled": sorted(installed)},
        }
        merged = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in {**defaults, **sections}}
        shutil.copy(_empty_catalogue, folder / "attributree.db")
        workspace = Workspace(Settings.model_validate(merged), strict=True, extra_plugins=plugins)
        made.append(workspace)
        return workspace

    yield make
    for workspace in made:
        workspace.close()
