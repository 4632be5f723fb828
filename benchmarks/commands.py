"""Running the commands that a user types, echoed and timed, and reading what they print."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def installed(distribution: str) -> bool:
    """Return whether a distribution is installed in this environment."""
    try:
        return bool(version(distribution))
    except PackageNotFoundError:
        return False


def other_plugins(*wanted: str) -> list[str]:
    """Return the other plugins of this environment; one that declares the same attribute would clash."""
    names = (point.dist.name for point in entry_points(group="attributree") if point.dist)
    return sorted({name for name in names if name not in wanted})


CONFIG = """\
[trunk]
backbone = "{backbone}"
weights = "random"
image_size = {image_size}
branch_at = "{branch_at}"

[training]
seed = {seed}
epochs = {epochs}

[plugins]
disabled = {disabled}
"""


def settings_for(
    *distributions: str, backbone: str, image_size: int, seed: int, epochs: int, branch_at: str = "layer4"
) -> str:
    """Return a plugins.toml with random weights and no plugin but those of `distributions`."""
    disabled = json.dumps(other_plugins(*distributions))
    return CONFIG.format(
        backbone=backbone, image_size=image_size, branch_at=branch_at, seed=seed, epochs=epochs, disabled=disabled
    )


class BenchmarkError(Exception):
    """A command failed or its output lacks what the table needs; the message names the command."""


@dataclass(frozen=True)
class Timing:
    """One command as it was typed, and the seconds it took."""

    command: str
    seconds: float


class Runner:
    """Runs the commands that lie beside this interpreter, echoing and timing each."""

    def __init__(self) -> None:
        self.timings: list[Timing] = []
        # A user's own settings must not reach into the measurement.
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("ATTRIBUTREE_")}

    def run(self, *command: str, cwd: Path, capture: bool = False) -> str:
        """Run `command`, e.g. ("attributree", "init"); return its stdout if captured. Raises BenchmarkError."""
        typed = shlex.join(command)
        print(f"$ {typed}", flush=True)
        program = Path(sys.executable).parent / command[0]
        if not program.exists():
            raise BenchmarkError(
                f"{program} does not exist; install attributree into this environment: pip install -e ."
            )
        start = time.perf_counter()
        done = subprocess.run(
            [program, *command[1:]],
            cwd=cwd,
            env=self.environment,
            stdout=subprocess.PIPE if capture else None,
            text=True,
            check=False,
        )
        self.timings.append(Timing(typed, round(time.perf_counter() - start, 2)))
        if done.returncode:
            raise BenchmarkError(f"exit code {done.returncode} from: {typed}")
        return done.stdout if capture else ""


@contextmanager
def with_plugins(runner: Runner, *distributions: str) -> Iterator[None]:
    """Install plugins of this repository for the time being; those that were not there before are uninstalled again."""
    before = {name: installed(name) for name in distributions}
    paths = [f"./{_home(name)}/{name}" for name in distributions]
    runner.run("pip", "install", "--quiet", "--no-build-isolation", "--no-deps", *paths, cwd=ROOT)
    try:
        yield
    finally:
        gone = [name for name in distributions if not before[name] and installed(name)]
        if gone:
            runner.run("pip", "uninstall", "--quiet", "--yes", *gone, cwd=ROOT)


def _home(distribution: str) -> str:
    """Return the folder of this repository that holds a distribution. Raises BenchmarkError if none does."""
    for home in ("plugins", "benchmarks"):
        if (ROOT / home / distribution / "pyproject.toml").is_file():
            return home
    raise BenchmarkError(f"{distribution} is neither in plugins/ nor in benchmarks/")


def new_catalogue(folder: Path, runner: Runner, settings: str, *files: tuple[Path, Path, str]) -> None:
    """Make a catalogue in `folder` with `settings` as its plugins.toml; ingest (label file, images, source) each."""
    folder.mkdir(parents=True, exist_ok=True)
    runner.run("attributree", "init", cwd=folder)
    # init comes first and the settings after, as a user would edit them; the catalogue's are the defaults.
    (folder / "plugins.toml").write_text(settings, encoding="utf-8")
    for file, images, source in files:
        named = ("--source", source) if source != "import" else ()
        runner.run("attributree", "ingest", str(file), "--images", str(images), *named, cwd=folder)


def read_report(text: str, command: str) -> dict[str, Any]:
    """Return the one JSON document that `command` printed. Raises BenchmarkError if it is something else."""
    try:
        report = json.loads(text)
    except ValueError as error:
        raise BenchmarkError(f"{command} printed no JSON document: {error}; it begins {text[:80]!r}") from None
    if not isinstance(report, dict):
        raise BenchmarkError(f"{command} printed {type(report).__name__}, not an object")
    return report
