"""An environment of its own, into which distributions are installed."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


class Environment:
    """A virtual environment that has the heavy dependencies of this one and nothing else of it."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.variables = variables
        venv.create(folder, with_pip=False)
        # All but this checkout's own distributions, whose editable installations are metadata and .pth files.
        shared = folder / "shared"
        shared.mkdir()
        for site in (Path(path) for path in sys.path if Path(path).name == "site-packages"):
            for entry in site.iterdir():
                if not entry.name.startswith("attributree") and entry.suffix != ".pth":
                    (shared / entry.name).symlink_to(entry)
        own = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        Path(own, "shared.pth").write_text(f"{shared}\n", encoding="utf-8")

    def pip_install(self, what: Path) -> None:
        """Install from disk alone, with the pip of this environment."""
        options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--quiet"]
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", *options, str(what)]
        subprocess.run(command, env=self.variables, check=True, timeout=120)

    def module_as_program(self, name: str) -> None:
        """Make `NAME` the program that `python -m NAME` is; what is shared brings modules and no programs."""
        program = self.bin / name
        program.write_text(f'#!/bin/sh\nexec "{self.bin}/python" -m {name} "$@"\n', encoding="utf-8")
        program.chmod(0o755)

    def shell(self, command: str, cwd: Path, **variables: str) -> str:
        """Run a line of shell as if the environment were activated, and return all it prints, errors too.

        pip installs from disk alone here.
        """
        path = f"{self.bin}{os.pathsep}{self.variables['PATH']}"
        pip = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0 means that there is none
        done = subprocess.run(
            command,
            shell=True,
            cwd=cwd,
            env={**self.variables, **pip, **variables, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def run(self, *command: str, cwd: Path) -> str:
        """Run a program of the environment and return what it prints."""
        program, *arguments = command
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=cwd,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
