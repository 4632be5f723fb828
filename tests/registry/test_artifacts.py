"""The artifact store: parts named by their content, never changed, never believed unread.

What befalls a store whose writer is killed or whose disk fills up is in tests/faults/.
"""

import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from attributree.errors import ArtifactError
from attributree.registry.artifacts import ArtifactStore

PART = {"weight": torch.arange(6.0).reshape(2, 3), "norm.num_batches_tracked": torch.tensor(7)}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def files(store: ArtifactStore) -> list[Path]:
    return sorted(path for path in store.folder.rglob("*") if path.is_file())


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) and tensor.dtype == other[name].dtype for name, tensor in one.items()
    )


def test_a_part_comes_back_bit_by_bit(store: ArtifactStore) -> None:
    assert same(store.get(store.put(PART), PART), PART)


def test_a_part_is_a_safetensors_file_named_by_its_sha256(store: ArtifactStore) -> None:
    digest = store.put(PART)
    (file,) = files(store)
    assert file == store.path(digest)
    assert file.name == f"{digest}.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    assert store.size(digest) == file.stat().st_size
    assert same(load_file(file), PART)


def test_equal_parts_are_stored_once_whatever_the_order_of_their_names(store: ArtifactStore) -> None:
    digest = store.put(PART)
    before = store.path(digest).stat().st_mtime_ns
    assert store.put(dict(reversed(PART.items()))) == digest
    assert len(files(store)) == 1
    assert store.path(digest).stat().st_mtime_ns == before


def test_another_content_is_another_part(store: ArtifactStore) -> None:
    other = {**PART, "weight": PART["weight"] + 1e-6}
    assert store.put(PART) != store.put(other)
    assert len(files(store)) == 2


def test_a_damaged_part_is_mended_by_storing_it_again(store: ArtifactStore) -> None:
    digest = store.put(PART)
    damaged = bytearray(store.path(digest).read_bytes())
    damaged[-1] ^= 1  # of the same size
    store.path(digest).write_bytes(damaged)
    assert store.put(PART) == digest
    assert same(store.get(digest, PART), PART)


def test_parts_can_be_read_by_the_others_of_a_team(store: ArtifactStore) -> None:
    before = os.umask(0o022)
    try:
        digest = store.put(PART)
    finally:
        os.umask(before)
    assert store.path(digest).stat().st_mode & 0o777 == 0o644


def test_a_missing_part_is_refused_with_what_to_do(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match=r"is missing; restore it, or roll back"):
        store.get("ab" * 32, PART)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"weight": torch.zeros(3, 2), "norm.num_batches_tracked": torch.tensor(0)}, r"weight is \(2, 3\) .*\(3, 2\)"),
        ({"weight": torch.zeros(2, 3).half(), "norm.num_batches_tracked": torch.tensor(0)}, r"float32, .*float16"),
        ({"weight": torch.zeros(2, 3)}, r"differing: norm\.num_batches_tracked"),
        ({**PART, "bias": torch.zeros(1)}, r"differing: bias"),
    ],
    ids=["shape", "type", "one more", "one less"],
)
def test_a_part_that_is_not_what_is_expected_is_refused(
    expected: dict[str, Tensor], message: str, store: ArtifactStore
) -> None:
    digest = store.put(PART)
    with pytest.raises(ArtifactError, match=message):
        store.get(digest, expected)


def test_an_empty_part_is_a_part(store: ArtifactStore) -> None:
    assert store.get(store.put({}), {}) == {}


def test_sweeping_an_empty_or_missing_store_deletes_nothing(store: ArtifactStore) -> None:
    assert store.sweep() == 0
    store.put(PART)
    assert store.sweep() == 0
    assert len(files(store)) == 1
