"""What a training loop reads: inputs on disk, targets in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import ConfigError, TrainingError
from ..label_set import LabelSet
from ..schema import SPLITS


def pick_device(name: str) -> torch.device:
    """Return the device that `training -> device` names; "auto" is the first GPU, or the CPU.

    Raises ConfigError if it is not there: nothing is moved to the CPU behind anybody's back.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'training -> device: {name!r} cannot be used ({reason}); write "auto" or "cpu"') from error


@dataclass(frozen=True)
class Share:
    """Which part of each batch belongs to this process: every `of`-th image from `rank` on."""

    rank: int = 0
    of: int = 1

    def take(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return this process's part of a batch; one too small to be shared goes to each process as a whole."""
        return batch[self.rank :: self.of] if len(batch) >= 2 * self.of else batch


@dataclass(frozen=True, eq=False)
class Samples:
    """Images and what is said of them: N samples with V views each (as it is; mirrored).

    `inputs` holds one array (M, ...) a view, shared between samples and usually memory-mapped; `rows` (N, V) says which
    records of them each sample is.
    """

    inputs: tuple[npt.NDArray[np.generic], ...]
    rows: npt.NDArray[np.int64]
    labels: LabelSet

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process: a mapped file by its name, anything else by its content."""
        return _arrive, (tuple(map(_travelling, self.inputs)), self.rows, self.labels)

    def part(self, split: str, *, labelled_only: bool = False) -> Samples:
        """Return the samples of one split, optionally without the ambiguous ones."""
        keep = self.labels.split == SPLITS.index(split)
        return self.take(keep & ~self.labels.ambiguous if labelled_only else keep)

    def few(self, count: int, rng: np.random.Generator) -> Samples:
        """Return at most `count` samples, drawn without replacement."""
        return self.take(np.sort(rng.permutation(len(self))[:count]))

    def take(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Samples:
        """Return the samples that `keep` names, a boolean mask or indices."""
        return Samples(self.inputs, self.rows[keep], self.labels.take(keep))

    @property
    def target(self) -> Tensor:
        """The targets (N, C) float32, as in LabelSet."""
        return torch.from_numpy(self.labels.target)

    def batches(
        self, size: int, shuffle: np.random.Generator | None = None, share: Share | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (inputs (B, ...), target (B, C), weight (B,)).

        With `shuffle` the order and the view of each sample are drawn, and a last batch of one, on which
        BatchNorm cannot be trained, is left to the next epoch; without, view 0 in order. Of each batch only the
        `share` of this process is read.
        """
        order = shuffle.permutation(len(self)) if shuffle else np.arange(len(self))
        for start in range(0, len(order), size):
            batch = np.sort(order[start : start + size])  # ascending reads of the memory map
            if shuffle and len(batch) == 1 and len(order) > 1:
                return
            view = shuffle.integers(len(self.inputs), size=len(batch)) if shuffle else np.zeros(len(batch), np.int64)
            if share:
                batch, view = share.take(batch), share.take(view)
            yield (
                torch.from_numpy(self._gather(batch, view)),
                torch.from_numpy(self.labels.target[batch]),
                torch.from_numpy(self.labels.weight[batch]),
            )

    @torch.inference_mode()
    def through(self, compute: Callable[[Tensor], Tensor], device: torch.device, batch: int) -> Samples:
        """Return the samples with what `compute` makes of their inputs, `batch` at a time, in place of these.

        All views, float16, in scratch space.
        """
        inputs = []
        for view, source in enumerate(self.inputs):
            out = None
            for start in range(0, len(self), batch):
                block = np.ascontiguousarray(source[self.rows[start : start + batch, view]])
                made = compute(torch.from_numpy(block).to(device)).half().cpu().numpy()
                if out is None:
                    out = scratch((len(self), *made.shape[1:]), np.float16)
                out[start : start + len(made)] = made
            assert out is not None
            inputs.append(out)
        rows = np.repeat(np.arange(len(self))[:, None], len(inputs), axis=1)
        return Samples(tuple(inputs), rows, self.labels)

    def _gather(self, batch: npt.NDArray[np.int64], view: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
        first = self.inputs[0]
        out = np.empty((len(batch), *first.shape[1:]), dtype=first.dtype)
        for v, source in enumerate(self.inputs):
            mine = view == v
            out[mine] = source[self.rows[batch[mine], v]]
        return out


def scratch(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a writable array on disk that is gone when it is no longer used."""
    with tempfile.TemporaryFile() as file:
        size = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        try:
            # Taken at once: a full disk would otherwise kill the process when the map is written to.
            os.posix_fallocate(file.fileno(), 0, size) if hasattr(os, "posix_fallocate") else file.truncate(size)
        except OSError as error:
            where = tempfile.gettempdir()
            raise TrainingError(
                f"{size / 1e6:.0f} MB of scratch space could not be had in {where} ({error.strerror}); "
                "free some, or set TMPDIR to a folder with more room"
            ) from error
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def _travelling(source: npt.NDArray[Any]) -> tuple[Callable[..., npt.NDArray[Any]], tuple[Any, ...]]:
    """Return what makes the array again elsewhere, and its arguments."""
    if isinstance(source, np.memmap) and isinstance(source.filename, str | os.PathLike) and not source.offset:
        return np.memmap, (os.fspath(source.filename), source.dtype, "r", 0, source.shape)
    return np.asarray, (np.asarray(source),)


def _arrive(
    sent: tuple[tuple[Callable[..., npt.NDArray[Any]], tuple[Any, ...]], ...],
    rows: npt.NDArray[np.int64],
    labels: LabelSet,
) -> Samples:
    return Samples(tuple(make(*arguments) for make, arguments in sent), rows, labels)
