"""Faults of the catalogue and of label files, in both databases, with real processes that are stopped and killed."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import create_engine, text

from attributree import Attribute, SingleLabel
from attributree.catalog import Catalog
from attributree.database import bulk, migrate
from attributree.database.migrate import upgrade
from attributree.errors import CatalogError
from attributree.labels import readers
from attributree.registry.records import Work
from support.databases import differences, end_leases
from support.postgresql import Server
from support.processes import Ended, Started

NECKLINE = Attribute("neckline", SingleLabel(("crew", "boat")))


@pytest.fixture
def empty_url(own_database: Callable[..., str] | None, tmp_path: Path) -> str:
    """A database without tables."""
    return own_database() if own_database else f"sqlite:///{tmp_path}/catalogue.db"


@pytest.fixture
def url(new_catalogue: Callable[[], str]) -> str:
    """An empty catalogue."""
    return new_catalogue()


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A label file of 2,500 rows, which are three chunks, and one picture for all."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for number in range(2500):
        (tmp_path / f"{number}.png").hardlink_to(tmp_path / "a.png")
    file = tmp_path / "labels.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("image", "neckline"), *((f"{n}.png", "crew") for n in range(2500))])
    return file


# -- who owns a run --------------------------------------------------------------------------------

WORK = Work("neckline", "grow", "f" * 64, "s" * 64, "c" * 64, 1)
WORKER = """
import sys
from attributree.catalog import Catalog
from attributree.registry.records import Work
from attributree.errors import LeaseError
with Catalog.open(sys.argv[1]) as catalog:
    work = Work("neckline", "grow", "f" * 64, "s" * 64, "c" * 64, 1)
    run = catalog.registry.claim_run(work, "elsewhere:1:a", lease=4)
    print("claimed", flush=True)
    sys.stdin.readline()
    try:
        catalog.registry.finish_run(run, "promoted", seconds=1)
    except LeaseError as error:
        print(error)
"""


def test_15_a_worker_paused_past_its_lease_wakes_up_to_a_refusal(url: str) -> None:
    with Catalog.open(url) as catalog:
        catalog.labels.declare(NECKLINE, "p")
        paused = Started(WORKER, [url])
        assert paused.stdout.readline() == "claimed\n"
        paused.send_signal(signal.SIGSTOP)
        assert catalog.registry.claim_run(WORK, "elsewhere:2:b") is None
        heir = None
        for _ in range(300):
            if (heir := catalog.registry.claim_run(WORK, "elsewhere:2:b")) is not None:
                break
            time.sleep(0.1)
        assert heir is not None
        assert heir.token == 2
        paused.send_signal(signal.SIGCONT)
        ended = paused.end("go on\n")
        assert (ended.code, ended.err) == (0, "")
        assert "is not running (any more) under token 1" in ended.out
        assert catalog.registry.finish_run(heir, "rejected", seconds=1).status == "rejected"


@pytest.mark.parametrize("hours", [-1, 1])
def test_16_a_worker_whose_clock_jumps_an_hour_neither_takes_a_run_nor_loses_its_own(
    url: str, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Catalog.open(url) as catalog:
        catalog.labels.declare(NECKLINE, "p")
        owned = catalog.registry.claim_run(WORK, "elsewhere:1:a")
        assert owned is not None
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + hours * 3600)
        monkeypatch.setattr(time, "time_ns", lambda: int((now() + hours * 3600) * 1e9))
        assert catalog.registry.claim_run(WORK, "elsewhere:2:b") is None
        assert catalog.registry.heartbeat(owned)
        held = catalog.registry.runs()[0]
        assert held.expires_at is not None
        assert abs(held.expires_at.timestamp() - now() - 60) < 30


QUEUE = """
import sys, time
from attributree.catalog import Catalog
from attributree.registry.records import Work
from attributree.registry.runs import new_owner
owner = new_owner()
with Catalog.open(sys.argv[1]) as catalog:
    seen = frozenset(run.id for run in catalog.registry.runs() if run.status != "running")
    done = lambda: {run.attribute for run in catalog.registry.runs() if run.status == "rejected"}
    while left := catalog.labels.attributes().keys() - done():
        for name in sorted(left):
            work = Work(name, "grow", "f" * 64, "s" * 64, "c" * 64, 1)
            if (run := catalog.registry.claim_run(work, owner, seen=seen)) is not None:
                print(name, flush=True)
                time.sleep(float(sys.argv[2]))
                catalog.registry.finish_run(run, "rejected", seconds=1)
"""


def test_14_two_workers_share_ten_attributes_and_one_s_work_is_taken_over_when_it_is_killed(url: str) -> None:
    names = [f"attribute_{number}" for number in range(10)]
    with Catalog.open(url) as catalog:
        for name in names:
            catalog.labels.declare(Attribute(name, NECKLINE.labels), "p")
        doomed = Started(QUEUE, [url, "60"])
        broken = doomed.stdout.readline().strip()
        doomed.kill()
        doomed.end()
        end_leases(url)
        done = [worker.end() for worker in [Started(QUEUE, [url, "0.05"]), Started(QUEUE, [url, "0.05"])]]
        assert [(ended.code, ended.err) for ended in done] == [(0, ""), (0, "")]
        assert Counter("".join(ended.out for ended in done).split()) == dict.fromkeys(names, 1)
        runs = {run.attribute: run for run in catalog.registry.runs()}
        assert len(catalog.registry.runs()) == 10
        assert {run.status for run in runs.values()} == {"rejected"}
        assert {name: run.token for name, run in runs.items() if run.token > 1} == {broken: 2}


# -- migrations ------------------------------------------------------------------------------------

UPGRADE = "import sys; from attributree.database.migrate import upgrade; print(upgrade(sys.argv[1]))"
KILLED_UPGRADE = """
import os, signal, sys
from sqlalchemy import Engine, event
from attributree.database.migrate import upgrade
statements = 0
@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *_):
    global statements
    statements += statement.lstrip().startswith(("CREATE", "ALTER", "INSERT"))
    if statements == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
upgrade(sys.argv[1])
"""


def test_17_two_migrations_at_once_both_succeed(empty_url: str) -> None:
    both = [Started(UPGRADE, [empty_url]) for _ in range(2)]
    assert [process.end() for process in both] == [Ended(0, f"{migrate.HEAD}\n", "")] * 2
    assert differences(empty_url) == []


@pytest.mark.parametrize("statement", [5, 40])
def test_18_a_migration_killed_half_way_is_run_again(empty_url: str, statement: int) -> None:
    assert Started(KILLED_UPGRADE, [empty_url, str(statement)]).end().code == -signal.SIGKILL
    assert migrate.current(empty_url) is None
    assert upgrade(empty_url) == migrate.HEAD  # which looks at foreign keys as well
    assert differences(empty_url) == []


@pytest.mark.parametrize(("revision", "command"), [("9999", "pip install -U attributree"), ("0001", "db upgrade")])
def test_19_a_catalogue_of_another_revision_is_refused_in_one_line(
    url: str, revision: str, command: str, new_project: Callable[..., Any]
) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '{revision}'"))
    engine.dispose()
    project = new_project("tone")
    outcome = project.command("--config", project.config, "--database", url, "status")
    (line,) = outcome.err.splitlines()
    assert outcome.code == 1
    assert f"rev {revision}" in line
    assert migrate.HEAD in line
    assert command in line


# -- ingest that is broken off ---------------------------------------------------------------------

KILLED_INGEST = """
import os, signal, sys
from pathlib import Path
from attributree.catalog import Catalog
from attributree.database import bulk
import attributree.labels.observations as observe
insert, inserted = bulk.insert_rows, 0
def killed(*arguments, **same):
    global inserted
    insert(*arguments, **same)
    inserted += 1
    if inserted == 2:
        os.kill(os.getpid(), signal.SIGKILL)
observe.insert_rows = killed
with Catalog.open(sys.argv[1]) as catalog:
    catalog.labels.ingest(Path(sys.argv[2]))
"""


def stored(catalog: Catalog) -> tuple[int, int, int]:
    counts = catalog.labels.counts()
    return counts.products, counts.images, counts.observations


def test_42_an_import_that_dies_in_the_middle_is_not_there_and_can_be_run_again(url: str, labels: Path) -> None:
    assert Started(KILLED_INGEST, [url, labels]).end().code == -signal.SIGKILL
    with Catalog.open(url) as catalog:
        assert (stored(catalog), catalog.labels.revision()) == ((0, 0, 0), 0)
        assert catalog.labels.ingest(labels).observations_new == 2500
        assert stored(catalog) == (2500, 2500, 2500)


def test_42_a_bad_last_row_leaves_nothing_and_is_named(url: str, labels: Path) -> None:
    with labels.open("a", encoding="utf-8") as file:
        file.write("0.png,boat\n")
    with Catalog.open(url) as catalog:
        with pytest.raises(CatalogError, match=r"labels.csv, row 2502, column 'neckline': the same image has 'crew'"):
            catalog.labels.ingest(labels)
        assert (stored(catalog), catalog.labels.revision()) == ((0, 0, 0), 0)


def test_others_write_while_an_ingest_looks_at_its_images(
    url: str, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK", 1000)
    with Catalog.open(url, timeout=1) as catalog:
        wrote: list[int] = []

        def write(rows: int) -> None:
            with Catalog.open(url, timeout=1) as other:
                wrote.append(other.labels.declare(Attribute(f"attribute_{rows}", NECKLINE.labels), "p"))

        assert catalog.labels.ingest(labels, progress=write).observations_new == 2500
        assert wrote == [1, 2, 3]


# -- a server that goes away -----------------------------------------------------------------------


@pytest.fixture
def server(new_server: Callable[[], Server]) -> Iterator[Server]:
    """A PostgreSQL server that no other test uses."""
    server = new_server()
    yield server
    with suppress(subprocess.CalledProcessError):  # the test may have stopped it
        server.stop()
    server.remove()


def test_21_a_server_restarted_in_the_middle_of_an_ingest_costs_a_retry_and_no_duplicates(
    server: Server, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(server.url + "postgres")
    insert, begun = bulk.insert_numbered, []

    def restart_once(*arguments: Any, **same: Any) -> Sequence[int]:
        begun.append(1)
        if len(begun) == 4:
            server.stop()
            server.start()
        return insert(*arguments, **same)

    monkeypatch.setattr("attributree.labels.ingest.insert_numbered", restart_once)
    monkeypatch.setattr(readers, "CHUNK", 1000)
    with Catalog.open(server.url + "postgres", timeout=5) as catalog:
        catalog.labels.declare(NECKLINE, "p")
        summary = catalog.labels.ingest(labels)
        assert len(begun) == 4 + 6  # products and images of three chunks, from the start
        assert (summary.observations_new, summary.images_new) == (2500, 2500)
        assert stored(catalog) == (2500, 2500, 2500)
        assert catalog.labels.coverage(NECKLINE).labelled == 2500


def test_21_a_server_that_stays_away_is_one_line_after_a_few_tries(server: Server) -> None:
    upgrade(server.url + "postgres")
    with Catalog.open(server.url + "postgres", timeout=5) as catalog:
        assert catalog.labels.revision() == 0
        server.stop()
        began = time.monotonic()
        with pytest.raises(CatalogError, match=r"catalogue postgresql\+psycopg://postgres@127") as caught:
            catalog.labels.declare(NECKLINE, "p")
        assert "\n" not in str(caught.value)
        assert time.monotonic() - began < 60
        server.start()
        catalog.labels.declare(NECKLINE, "p")
        assert catalog.labels.revision() == 1


# -- a database that cannot be written -------------------------------------------------------------


def test_22_a_catalogue_locked_past_the_timeout_is_one_line(
    url: str, labels: Path, new_project: Callable[..., Any]
) -> None:
    project = new_project()
    project.settings(catalog={"timeout": 0.5})
    with Catalog.open(url) as other:

        def hold(_: Any) -> Any:
            return project.command("--config", project.config, "--database", url, "ingest", labels)

        outcome = other._database.write(hold)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].endswith(
        "another process has been writing for more than 0.5 s; wait until it is done and run the command again"
    )
    with Catalog.open(url) as catalog:
        assert stored(catalog) == (0, 0, 0)


def test_22_a_read_only_catalogue_is_one_line(url: str, labels: Path, new_project: Callable[..., Any]) -> None:
    read_only = url + "?options=-c%20default_transaction_read_only%3Don"
    if url.startswith("sqlite"):
        read_only = url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    project = new_project()
    outcome = project.command("--config", project.config, "--database", read_only, "ingest", labels)
    assert outcome.code == 1
    assert "is read-only; make the file and its folder writable" in outcome.err.splitlines()[-1]
    with Catalog.open(url) as catalog:
        assert stored(catalog) == (0, 0, 0)


# -- label files -----------------------------------------------------------------------------------

CELL = "späte Rose"


@pytest.mark.parametrize(
    ("encoding", "problem"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("latin-1", "row 2: character 9 is not UTF-8; convert it to UTF-8"),
        ("utf-16-le", "row 1: holds a NUL byte; save the file as UTF-8"),
    ],
)
def test_39_an_encoding_is_read_by_a_stated_rule_or_refused_with_the_row(
    url: str, tmp_path: Path, encoding: str, problem: str | None
) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(f"image,colour\na.png,{CELL}\n".encode(encoding))
    with Catalog.open(url) as catalog:
        if problem is None:
            assert catalog.labels.ingest(file).undeclared == {"colour": 1}
            return
        with pytest.raises(CatalogError) as caught:
            catalog.labels.ingest(file)
        assert problem in str(caught.value)
        assert stored(catalog) == (0, 0, 0)


BOUNDED = """
import json, resource, sys
from pathlib import Path
from attributree.catalog import Catalog
from attributree.errors import IngestError
with Catalog.open(sys.argv[1]) as catalog:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        catalog.labels.ingest(Path(sys.argv[2]))
    except IngestError as error:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([str(error), grown / 1024]))
"""


@pytest.mark.parametrize("quote", ["", '"'], ids=["a long field", "an unclosed quote"])
def test_40_fifty_megabytes_in_one_field_are_refused_with_the_row_in_bounded_memory(
    url: str, tmp_path: Path, quote: str
) -> None:
    file = tmp_path / "labels.csv"
    with file.open("w", encoding="utf-8") as opened:
        opened.write(f"image,title\na.png,one\nb.png,{quote}")
        for _ in range(500):
            opened.write("x" * 99_999 + ("\n" if quote else "x"))
    # A process that begins small, so that what it grows by is seen.
    command = [sys.executable, "-c", BOUNDED, url, file]
    message, megabytes = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert "row 3" in message
    assert megabytes < 60
    with Catalog.open(url) as catalog:
        assert stored(catalog) == (0, 0, 0)
