"""PostgreSQL servers of our own."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def _server_programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


class Server:
    """A PostgreSQL server of our own on loopback; `url` ends where the database's name goes."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # It refuses to run as root.
        self._run_as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._folder = Path(tempfile.mkdtemp(prefix="attributree-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
        if self._run_as:
            shutil.chown(self._folder, "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/"
        # Many a team's server sorts as a language does, and not as SQLite and Python; older ones have no such option.
        said = subprocess.run([programs / "initdb", "--version"], check=True, capture_output=True, text=True).stdout
        language = ["--locale-provider=icu", "--icu-locale=en-US"] if int(re.findall(r"\d+", said)[0]) >= 15 else []
        self._call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", *language, "--no-sync")
        self.start()

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._run_as, f"{self._programs}/{program}", "-D", f"{self._folder}/data", *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=120)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder} -c fsync=off -c full_page_writes=off"
        options += " -c timezone=Asia/Kolkata"  # a team's server may stand anywhere
        options += " -c autovacuum=off -c jit=off -c synchronous_commit=off -c wal_level=minimal -c max_wal_senders=0"
        self._call("pg_ctl", "-o", options, "-l", f"{self._folder}/log", "-w", "start")

    def stop(self) -> None:
        """Stop it as a crash would."""
        self._call("pg_ctl", "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        """Delete what it left."""
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_server() -> Callable[[], Server]:
    """Makes PostgreSQL servers; who makes one stops and removes it."""
    programs = _server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here: initdb is neither on PATH nor in /usr/lib/postgresql/*/bin")
    return lambda: Server(programs)


@pytest.fixture(scope="session")
def postgres(new_server: Callable[[], Server]) -> Iterator[str]:
    """The server that most tests share, as a URL that ends where the database's name goes."""
    server = new_server()
    try:
        yield server.url
    finally:
        server.stop()
        server.remove()
