"""The record store: a killed writer costs a tail, two writers take turns, a damaged cache is refused by name."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from attributree.errors import ArtifactError
from attributree.images.array_store import RecordStore


def key(number: int) -> str:
    return f"{number:064x}"


def keys(*numbers: int) -> list[str]:
    return [key(number) for number in numbers]


def block(*numbers: int) -> np.ndarray:
    """Records of shape (2, 3) that hold their number."""
    return np.stack([np.full((2, 3), number, dtype=np.float16) for number in numbers])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "features"


@pytest.fixture
def store(folder: Path) -> RecordStore:
    return RecordStore(folder, (2, 3), np.float16)


def again(folder: Path) -> RecordStore:
    return RecordStore(folder, (2, 3), np.float16)


def test_records_are_read_back_by_key_in_any_order_and_by_another_instance(store: RecordStore, folder: Path) -> None:
    store.append(keys(1, 2, 3), block(1, 2, 3))
    for reader in (store, again(folder)):
        assert len(reader) == 3
        assert key(2) in reader
        assert key(9) not in reader
        assert np.array_equal(reader.read(keys(3, 1, 3)), block(3, 1, 3))


def test_an_empty_store_has_no_records(store: RecordStore) -> None:
    assert len(store) == 0
    assert store.records().shape == (0, 2, 3)
    assert store.read([]).shape == (0, 2, 3)


def test_a_key_that_is_there_or_comes_twice_is_written_once(store: RecordStore) -> None:
    store.append(keys(1), block(1))
    store.append(keys(1, 2, 2), block(7, 2, 8))
    assert len(store) == 2
    assert np.array_equal(store.read(keys(1, 2)), block(1, 2))
    size = (store.folder / "records.bin").stat().st_size
    store.append(keys(2, 1), block(5, 5))
    assert (store.folder / "records.bin").stat().st_size == size


def test_a_key_that_is_not_stored_is_a_key_error(store: RecordStore) -> None:
    with pytest.raises(KeyError):
        store.read(keys(1))


def test_records_of_the_wrong_shape_are_refused_and_nothing_is_written(store: RecordStore) -> None:
    with pytest.raises(ValueError, match=r"records are \(1, 3, 2\), expected \(1, 2, 3\)"):
        store.append(keys(1), np.zeros((1, 3, 2), dtype=np.float16))
    with pytest.raises(ValueError, match="expected"):
        store.append(keys(1, 2), block(1))
    assert len(store) == 0


def test_a_map_taken_before_is_not_changed_by_what_comes_after(store: RecordStore) -> None:
    store.append(keys(1), block(1))
    before = store.records()
    store.append(keys(2), block(2))
    assert before.shape == (1, 2, 3)
    assert np.array_equal(before, block(1))
    assert store.records().shape == (2, 2, 3)


def test_the_map_is_read_only(store: RecordStore) -> None:
    store.append(keys(1), block(1))
    with pytest.raises(ValueError, match="read-only"):
        store.records()[0] = 0


# -- crashes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b"1", b"a" * 64, b"\0" * 65, b"\0" * 200], ids=["begun", "no end", "zeroes", "many"])
def test_a_torn_tail_is_overwritten_by_the_next_writer(torn: bytes, store: RecordStore, folder: Path) -> None:
    store.append(keys(1, 2), block(1, 2))
    with (folder / "keys.txt").open("ab") as file:
        file.write(torn)
    with (folder / "records.bin").open("ab") as file:
        file.write(b"\x07" * 17)
    survivor = again(folder)
    assert len(survivor) == 2
    survivor.append(keys(3, 4), block(3, 4))
    for reader in (survivor, again(folder)):
        assert len(reader) == 4
        assert np.array_equal(reader.read(keys(1, 2, 3, 4)), block(1, 2, 3, 4))
    assert (folder / "keys.txt").stat().st_size == 4 * 65
    assert (folder / "records.bin").stat().st_size == 4 * 12


def test_a_record_without_its_key_does_not_count(
    store: RecordStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is killed after the records reached the disk and before their keys did."""
    store.append(keys(1), block(1))

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            store.append(keys(2), block(2))
    survivor = again(folder)
    assert len(survivor) == 1
    survivor.append(keys(3), block(3))
    assert np.array_equal(again(folder).read(keys(1, 3)), block(1, 3))


def test_a_full_disk_is_one_line_and_what_was_stored_stays(
    store: RecordStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(keys(1), block(1))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ArtifactError, match=r"cannot be written \(No space left"):
            store.append(keys(2), block(2))
    store.append(keys(3), block(3))  # the lock was let go, and the disk has room again
    assert np.array_equal(again(folder).read(keys(1, 3)), block(1, 3))


def test_another_layout_is_refused_with_what_to_do(store: RecordStore, folder: Path) -> None:
    store.append(keys(1), block(1))
    for shape, dtype in (((3, 2), np.float16), ((2, 3), np.float32)):
        with pytest.raises(ArtifactError, match=r"another shape; delete the folder"):
            RecordStore(folder, shape, dtype)
    assert np.array_equal(again(folder).read(keys(1)), block(1))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_damaged_layout_is_refused_with_what_to_do(content: bytes, store: RecordStore, folder: Path) -> None:
    (folder / "layout.json").write_bytes(content)
    with pytest.raises(ArtifactError, match="delete the folder"):
        again(folder)


def test_records_that_were_cut_short_are_refused_with_what_to_do(store: RecordStore, folder: Path) -> None:
    store.append(keys(1, 2), block(1, 2))
    os.truncate(folder / "records.bin", 15)
    with pytest.raises(ArtifactError, match=r"was cut short; delete"):
        again(folder).read(keys(1))


def test_a_cache_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        again(tmp_path / "cache" / "features")


# -- two writers -----------------------------------------------------------------------------------


def test_a_folder_that_was_emptied_and_filled_anew_is_read_anew(store: RecordStore, folder: Path) -> None:
    store.append(keys(1, 2), block(1, 2))
    for name in ("keys.txt", "records.bin"):
        (folder / name).unlink()
    again(folder).append(keys(3, 4), block(3, 4))
    store.refresh()
    assert [key(number) in store for number in (1, 2, 3, 4)] == [False, False, True, True]
    assert np.array_equal(store.read(keys(4, 3)), block(4, 3))


def test_two_instances_write_the_same_and_different_records(folder: Path) -> None:
    first, second = again(folder), again(folder)
    first.append(keys(1, 2), block(1, 2))
    second.append(keys(2, 3), block(9, 3))  # it has not seen the first writer's keys yet
    first.append(keys(4), block(4))
    assert len(first) == 4
    assert key(4) not in second
    second.refresh()
    assert np.array_equal(second.read(keys(1, 2, 3, 4)), block(1, 2, 3, 4))


def test_two_processes_write_at_the_same_time(folder: Path) -> None:
    source = textwrap.dedent("""
        import sys
        from pathlib import Path
        from types import ModuleType
        import attributree
        import numpy as np

        from attributree.images.array_store import RecordStore

        store = RecordStore(Path(sys.argv[1]), (2, 3), np.float16)
        print("ready", flush=True)
        sys.stdin.readline()
        for number in [*range(0, 60, 2), *range(100, 130)]:
            store.append([f"{number:064x}"], np.full((1, 2, 3), number, dtype=np.float16))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", source, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        mine = again(folder)
        for number in [*range(1, 60, 2), *range(100, 130)]:  # odd ones, and those that both write
            mine.append(keys(number), block(number))
        other.communicate(timeout=60)
        assert other.returncode == 0
    expected = [*range(60), *range(100, 130)]
    store = again(folder)
    assert len(store) == len(expected)
    assert np.array_equal(store.read(keys(*expected)), block(*expected))
