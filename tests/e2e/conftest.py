"""The wheel of this checkout, and environments that it is installed into."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.environments import Environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def variables() -> dict[str, str]:
    """The environment variables without anything that leads back into this checkout or to an index."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ATTRIBUTREE_", "PYTHON", "PIP_", "VIRTUAL_ENV"))}
    return {**kept, "OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    options = ["--wheel", "--sdist", "--no-isolation", "--outdir", str(folder)]
    command = [sys.executable, "-m", "build", *options, str(ROOT)]
    subprocess.run(command, env=variables, check=True, timeout=180, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> Environment:
    """An environment into which the wheel is installed, and what a module's tests install beside it."""
    made = Environment(tmp_path_factory.mktemp("environment") / "venv", variables)
    made.pip_install(next(built.glob("*.whl")))
    made.pip_install(ROOT / "plugins" / "attributree-drawn-shop")
    for name in ("pip", "pytest"):
        made.module_as_program(name)
    return made
