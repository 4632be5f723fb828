"""Faults 3, 6, 7, 10, 12, 13 and 29: what is stored is whole or refused, and what is broken is never promoted."""

import errno
import hashlib
import json
import os
import pickle
import re
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

import attributree
from attributree import Attribute, Ordinal, SingleLabel, hookimpl
from attributree.errors import ArtifactError, PluginError, TrainingError, TrunkError
from attributree.heads import LinearHead
from attributree.label_set import LabelSet
from attributree.nn.heads import HeadFactory
from attributree.nn.trunk import MAPS, TrunkSpec, build_backbone
from attributree.plugins import load_plugins
from attributree.registry.artifacts import ArtifactStore
from attributree.settings.models import BranchSettings
from attributree.training.data import Samples
from attributree.training.donors import Donor
from attributree.training.grow import grow
from support.processes import Started

CORE = Path(attributree.__file__).parent
PART = {"weight": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def files(store: ArtifactStore) -> list[Path]:
    return sorted(path for path in store.folder.rglob("*") if path.is_file())


def put_raw(store: ArtifactStore, data: bytes) -> str:
    """Put bytes into the store under their own digest, as no writer of attributree would."""
    digest = hashlib.sha256(data).hexdigest()
    store.path(digest).parent.mkdir(parents=True, exist_ok=True)
    store.path(digest).write_bytes(data)
    return digest


# -- 3: SIGKILL between writing and renaming -------------------------------------------------------


def test_a_writer_killed_before_the_rename_leaves_only_what_is_swept(store: ArtifactStore) -> None:
    old = store.put(PART)
    source = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        import torch
        from attributree.registry.artifacts import ArtifactStore

        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        ArtifactStore(Path(sys.argv[1])).put({"weight": torch.ones(2, 3)})
    """)
    killed = Started(source, [store.folder]).end()
    assert killed.code == -signal.SIGKILL, killed.err
    (leftover,) = set(files(store)) - {store.path(old)}
    assert leftover.suffix != ".safetensors"
    with pytest.raises(ArtifactError, match="is missing"):
        store.get(hashlib.sha256(save({"weight": torch.ones(2, 3)})).hexdigest(), PART)
    assert torch.equal(store.get(old, PART)["weight"], PART["weight"])

    assert store.sweep() == 1
    assert files(store) == [store.path(old)]
    assert store.get(store.put({"weight": torch.ones(2, 3)}), PART)["weight"].sum() == 6


# -- 6: disk full ----------------------------------------------------------------------------------


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("target", "name"), [(os, "fsync"), (Path, "replace"), (Path, "mkdir"), (Path, "open")], ids=lambda x: str(x)
)
def test_a_full_disk_is_one_line_and_the_old_parts_are_intact(
    target: Any, name: str, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = store.put(PART)
    with monkeypatch.context() as patch:
        patch.setattr(target, name, full)
        with pytest.raises(ArtifactError) as caught:
            store.put({"weight": torch.ones(2, 3)})
    message = str(caught.value)
    assert message.endswith("could not be written (No space left on device); nothing was promoted")
    assert "\n" not in message
    assert files(store) == [store.path(old)]
    assert torch.equal(store.get(old, PART)["weight"], PART["weight"])
    assert torch.equal(store.get(store.put({"weight": torch.ones(2, 3)}), PART)["weight"], torch.ones(2, 3))


# -- 7: cut short, a flipped byte ------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 3, 12, -1])
def test_a_flipped_byte_is_refused(position: int, store: ArtifactStore) -> None:
    digest = store.put(PART)
    data = bytearray(store.path(digest).read_bytes())
    data[position] ^= 0x10
    store.path(digest).write_bytes(data)
    with pytest.raises(ArtifactError, match=r"is damaged: its content is not what its name says; restore it, or roll"):
        store.get(digest, PART)


@pytest.mark.parametrize("length", [0, 7, -1])
def test_an_artifact_cut_short_is_refused(length: int, store: ArtifactStore) -> None:
    digest = store.put(PART)
    store.path(digest).write_bytes(store.path(digest).read_bytes()[:length])
    with pytest.raises(ArtifactError, match="is damaged"):
        store.get(digest, PART)


# -- 10: the loss becomes NaN ----------------------------------------------------------------------


class Sick(nn.Module):
    """A head whose answers are no numbers, in training or only in evaluation."""

    def __init__(self, in_training: bool) -> None:
        super().__init__()
        self.linear = LinearHead(8, 2)
        self.in_training = in_training

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits * torch.nan if self.training == self.in_training else logits


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (lambda: Sick(in_training=True), "neckline: the loss became nan in epoch 1; nothing was promoted"),
        (lambda: Sick(in_training=False), "neckline: the validation loss became nan; nothing was promoted"),
    ],
)
def test_a_loss_that_is_no_number_fails_the_run(head: Callable[[], nn.Module], message: str) -> None:
    rng = np.random.default_rng(0)
    labels = LabelSet(
        Attribute("neckline", SingleLabel(("crew", "v_neck"))),
        1,
        np.arange(20),
        (np.arange(20) % 2).astype(np.int8),
        np.eye(2, dtype=np.float32)[rng.integers(2, size=20)],
        np.zeros(20, dtype=np.bool_),
        np.ones(20, dtype=np.float32),
    )
    samples = Samples((rng.normal(size=(20, 8, 2, 2)).astype(np.float16),), np.arange(20)[:, None], labels)
    donor = Donor("backbone", {"layer4_0": nn.Conv2d(8, 8, 1)})
    with pytest.raises(TrainingError, match=message):
        grow({MAPS: samples}, [donor], head, BranchSettings(epochs=2, device="cpu"))


# -- 12: pickles -----------------------------------------------------------------------------------


class Trap:
    """An object whose unpickling leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickles(trace: Path) -> dict[str, bytes]:
    torch.save({"weight": Trap(trace)}, trace.with_suffix(".pt"))
    return {"pickle": pickle.dumps(Trap(trace)), "torch": trace.with_suffix(".pt").read_bytes()}


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl", ".bin", ".ckpt", ".safetensors"])
def test_a_pickle_offered_as_trunk_weights_is_refused_unread(kind: str, suffix: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickles(trace)[kind])
    with pytest.raises(TrunkError, match=r"not a \.safetensors file; other formats can run code|not a readable safe"):
        build_backbone(TrunkSpec("test_resnet", "layer4", 32, str(path)))
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_offered_as_an_artifact_is_refused_unread(kind: str, store: ArtifactStore, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    digest = put_raw(store, pickles(trace)[kind])  # even if its name is right
    with pytest.raises(ArtifactError, match="is not a safetensors file"):
        store.get(digest, PART)
    assert not trace.exists()


def test_there_is_no_unsafe_load_path_in_the_code() -> None:
    forbidden = re.compile(r"torch\.load\(|\bc?pickle\b|weights_only\s*=\s*False|allow_pickle\s*=\s*True|joblib|dill\b")
    sources = sorted(CORE.rglob("*.py"))
    assert len(sources) > 30
    found = [
        f"{path.relative_to(CORE)}:{number}: {line.strip()}"
        for path in sources
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if forbidden.search(line)
    ]
    assert found == []


# -- 13: other keys, other shapes, very many tensors -----------------------------------------------


@pytest.fixture(scope="module")
def many() -> bytes:
    """A safetensors file of 100,000 tensors of one number."""
    entries = {f"t{i}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(100_000)}
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + bytes(400_000)


@pytest.mark.parametrize(
    "part",
    [
        {"other": torch.zeros(2, 3)},
        {"weight": torch.zeros(3, 2)},
        {"weight": torch.zeros(2, 3, dtype=torch.float64)},
        {"weight": torch.zeros(2, 3), "extra": torch.zeros(1)},
        {},
    ],
    ids=["other key", "other shape", "other type", "one more", "empty"],
)
def test_an_artifact_with_other_tensors_is_refused(part: dict[str, Tensor], store: ArtifactStore) -> None:
    digest = store.put(part)
    with pytest.raises(ArtifactError, match=r"does not hold what its branch needs|expected \(2, 3\) torch\.float32"):
        store.get(digest, PART)


def test_an_artifact_of_very_many_tensors_is_refused_with_a_short_line(store: ArtifactStore, many: bytes) -> None:
    digest = put_raw(store, many)
    with pytest.raises(ArtifactError, match="does not hold what its branch needs") as caught:
        store.get(digest, PART)
    assert len(str(caught.value)) < 500


def test_trunk_weights_of_very_many_tensors_are_refused_with_a_short_line(tmp_path: Path, many: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(many)
    with pytest.raises(TrunkError, match="is of another architecture: test_resnet needs") as caught:
        build_backbone(TrunkSpec("test_resnet", "layer4", 32, str(path)))
    assert len(str(caught.value)) < 500


# -- 29: a head that does not fit ------------------------------------------------------------------


class Head(nn.Module):
    """A head that returns whatever `answer` makes of the features."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, features: Tensor) -> Any:
        return self.answer(features)


def raising(features: Tensor) -> Tensor:
    raise RuntimeError("seam ripped")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda f: torch.zeros(len(f), 4), r"returned \(2, 4\) torch\.float32, expected \(2, 3\) floats"),
        (lambda f: torch.zeros(3), r"returned \(3,\) torch\.float32, expected \(2, 3\) floats"),
        (lambda f: torch.zeros(1, 3), r"returned \(1, 3\) torch\.float32, expected \(2, 3\) floats"),
        (lambda f: torch.zeros(len(f), 3, dtype=torch.int64), r"returned \(2, 3\) torch\.int64"),
        (lambda f: (torch.zeros(len(f), 3),), "returned tuple, expected"),
        (lambda f: None, "returned NoneType, expected"),
        (raising, r"failed on \(2, 8, 2, 2\) features: seam ripped"),
    ],
    ids=["width", "no batch", "one row", "integers", "tuple", "nothing", "raises"],
)
def test_a_head_of_the_wrong_shape_or_type_is_caught_before_any_training(
    answer: Callable[[Tensor], Any], message: str
) -> None:
    class Plugin:
        @hookimpl
        def attributree_branch_head(self, attribute: Attribute, in_features: int) -> nn.Module:
            return Head(answer)

    plugins = load_plugins(entry_points=[], extra={"shop": Plugin()})
    neckline = Attribute("neckline", SingleLabel(("crew", "v_neck", "boat")))
    with pytest.raises(PluginError, match=rf"plugin shop: the head of 'neckline' {message}"):
        HeadFactory(neckline, 8, plugins)()


def test_an_ordinal_head_as_wide_as_its_values_is_told_of_thresholds() -> None:
    class Plugin:
        @hookimpl
        def attributree_branch_head(self, attribute: Attribute, in_features: int) -> nn.Module:
            return LinearHead(in_features, attribute.labels.size)

    plugins = load_plugins(entry_points=[], extra={"shop": Plugin()})
    with pytest.raises(PluginError, match="one threshold less than values"):
        HeadFactory(Attribute("length", Ordinal(("mini", "knee", "maxi"))), 8, plugins)()
