"""Bounded caches: what nobody uses makes room, what somebody uses stays."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from attributree.errors import ArtifactError
from attributree.images import cache as bound
from attributree.images.array_store import RecordStore
from attributree.images.cache import Bound

KEYS = [f"{i:064x}" for i in range(8)]


def fill(cache: Path, name: str, used: float) -> Path:
    """Make a store of 8 kB and close it; `used` is when that was."""
    store = RecordStore(cache / "pixels" / name, (1000,), np.uint8)
    store.append(KEYS, np.zeros((8, 1000), dtype=np.uint8))
    folder = store.folder
    del store
    os.utime(folder / "used", (used, used))
    return folder


def test_the_store_that_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    old, new, older = fill(tmp_path, "old", 2000), fill(tmp_path, "new", 3000), fill(tmp_path, "older", 1000)
    Bound(tmp_path, 22_000)(5000)
    assert (older.exists(), old.exists(), new.exists()) == (False, False, True)


def test_nothing_is_deleted_while_there_is_room(tmp_path: Path) -> None:
    store = fill(tmp_path, "a", 1000)
    Bound(tmp_path, 100_000)(50_000)
    assert store.exists()


def test_a_store_that_is_open_is_never_deleted_and_the_error_says_what_to_type(tmp_path: Path) -> None:
    fill(tmp_path, "idle", 3000)
    kept = RecordStore(fill(tmp_path, "held", 1000), (1000,), np.uint8)
    with pytest.raises(ArtifactError, match=r"cache_gigabytes allows 0\.00; raise it, or lower trunk -> image_size"):
        Bound(tmp_path, 9000)(5000)
    assert kept.folder.exists()
    assert not (tmp_path / "pixels" / "idle").exists()


def test_a_store_makes_room_before_it_grows(tmp_path: Path) -> None:
    idle = fill(tmp_path, "idle", 1000)
    store = RecordStore(tmp_path / "pixels" / "mine", (1000,), np.uint8, room=Bound(tmp_path, 12_000))
    store.reserve(8)
    assert not idle.exists()
    with pytest.raises(ArtifactError, match="cache_gigabytes"):
        store.reserve(100)


def test_a_store_deleted_by_another_process_is_made_anew(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a", 1000)
    Bound(tmp_path, 1)(0)
    assert not folder.exists()
    store = RecordStore(folder, (1000,), np.uint8)
    assert len(store) == 0
    store.append(KEYS[:1], np.ones((1, 1000), dtype=np.uint8))
    assert store.read(KEYS[:1]).sum() == 1000


HOLDER = textwrap.dedent(
    """
    import sys, time
    import numpy as np
    from pathlib import Path
    from attributree.images.array_store import RecordStore
    store = RecordStore(Path(sys.argv[1]), (1000,), np.uint8)
    print("held", flush=True)
    time.sleep(60)
    """
)


def test_another_process_holds_its_store_until_it_is_killed(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a", 1000)
    with subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match="in use"):
            Bound(tmp_path, 1)(0)
        assert folder.exists()
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    Bound(tmp_path, 1)(0)
    assert not folder.exists()


def test_a_store_made_anew_while_it_was_being_deleted_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One deleter opens the lock file, another deletes the store, a third makes it anew and uses it."""
    folder = fill(tmp_path, "a", 1000)
    anew: list[RecordStore] = []

    def overtaken(file: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and not anew:
            anew.append(RecordStore.__new__(RecordStore))
            shutil.rmtree(folder)
            anew[0] = RecordStore(folder, (1000,), np.uint8)
            anew[0].append(KEYS[:1], np.ones((1, 1000), dtype=np.uint8))
        flock(file, operation)

    flock = fcntl.flock
    monkeypatch.setattr(bound.fcntl, "flock", overtaken)
    with pytest.raises(ArtifactError, match="in use"):
        Bound(tmp_path, 1)(0)
    assert anew[0].read(KEYS[:1]).sum() == 1000


def test_records_keep_their_store_when_nobody_holds_the_store_itself(tmp_path: Path) -> None:
    store = RecordStore(fill(tmp_path, "a", 1000), (1000,), np.uint8)
    records = store.records()[2:4]
    folder = store.folder
    del store
    with pytest.raises(ArtifactError, match="in use"):
        Bound(tmp_path, 1)(0)
    assert folder.exists()
    del records
    Bound(tmp_path, 1)(0)
    assert not folder.exists()


def test_what_a_killed_deleter_left_is_swept(tmp_path: Path) -> None:
    grave = tmp_path / "deleted" / "a-0123"
    grave.mkdir(parents=True)
    (grave / "records.bin").write_bytes(bytes(1000))
    Bound(tmp_path, 100)(10)
    assert not grave.exists()


WORKER = textwrap.dedent(
    """
    import random, sys
    import numpy as np
    from pathlib import Path
    from attributree.errors import ArtifactError
    from attributree.images.cache import Bound; from attributree.images.array_store import RecordStore
    cache, seed = Path(sys.argv[1]), int(sys.argv[2])
    draw = random.Random(seed)
    for turn in range(150):
        key = f"{seed * 1000 + turn:064x}"
        store = RecordStore(cache / "pixels" / f"store-{draw.randrange(3)}", (100,), np.uint8)
        store.append([key], np.full((1, 100), seed, dtype=np.uint8))
        if draw.random() < 0.5:
            try:
                Bound(cache, 1)(0)
            except ArtifactError as error:
                assert "in use" in str(error), error
        assert (store.read([key]) == seed).all()
        assert (store.folder / "records.bin").exists()
    """
)


def test_four_processes_that_fill_and_delete_lose_no_record_in_use(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, tmp_path, str(seed)]) for seed in range(1, 5)]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0, 0]
