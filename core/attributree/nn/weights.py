"""Weights files: safetensors with timm's own names, as its hub has them, and what of them a backbone needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import TrunkError

#: Fits a weight of another image size: name, tensor and shape to a tensor of that shape, or None.
Fit = Callable[[str, Tensor, tuple[int, ...]], Tensor | None]


def standard_names(backbone: str, names: Iterable[str]) -> dict[str, str]:
    """Return timm's name in the whole model `backbone` for each of `names`, which may have `_` in place of dots.

    timm's feature networks flatten some families: `stages.3` becomes `stages_3`. Raises TrunkError for a name that the
    whole model has not.
    """
    whole = _names_of(backbone)
    flat = {name.replace(".", "_"): name for name in whole}
    if len(flat) != len(whole):
        raise TrunkError(f"trunk -> weights: two weights of {backbone} differ by a dot only; its files cannot be read")
    try:
        return {name: flat[name.replace(".", "_")] for name in names}
    except KeyError as error:
        raise TrunkError(f"trunk -> weights: {backbone} without its classifier has {error}, which it has not") from None


def _names_of(backbone: str) -> list[str]:
    """Return timm's names of all weights of a whole model, which is built without any if it can be."""
    try:
        with torch.device("meta"):
            return list(timm.create_model(backbone, pretrained=False).state_dict())
    except NotImplementedError:
        # A RegNet counts its widths with what torch 2.11 has not for tensors without values.
        with torch.random.fork_rng(devices=[]):  # weights that are thrown away draw no random numbers
            return list(timm.create_model(backbone, pretrained=False).state_dict())


def pick_weights(
    where: str,
    backbone: str,
    expected: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    tensor: Callable[[str], Tensor],
    fit: Fit | None = None,
) -> dict[str, Tensor]:
    """Return the tensors of `expected`, under its names, out of what is there under timm's: `shapes` and `tensor`.

    What else is there (classifier, last norm) is not looked at; a counter of batches may be missing. `fit` is asked for
    a weight of another shape. Raises TrunkError, which begins with `where`, at the first name whose shape is another or
    that holds a NaN or an infinity.
    """
    out = {}
    for own, name in standard_names(backbone, expected).items():
        want, has = tuple(expected[own].shape), shapes.get(name)
        if has is None and name.endswith("num_batches_tracked"):
            out[own] = expected[own]
        elif has == want:
            out[own] = tensor(name)
        elif has is None or fit is None or (fitted := fit(name, tensor(name), want)) is None:
            there = f"has {has}" if has is not None else "has none"
            raise TrunkError(f"{where} is of another architecture: {backbone} needs {name} {want}, the file {there}")
        else:
            out[own] = fitted
        if not bool(torch.isfinite(out[own]).all()):
            raise TrunkError(f"{where} holds numbers that are none, in {name} first")
    return out


def read_weights(
    path: Path, backbone: str, expected: Mapping[str, Tensor], fit: Fit | None = None
) -> dict[str, Tensor]:
    """Return the tensors of `expected`, under its names, from a file with timm's names; see `pick_weights`.

    Raises TrunkError if the file cannot be read or is of another architecture.
    """
    where = f"trunk -> weights: {path}"
    if path.suffix != ".safetensors":
        raise TrunkError(f"{where} is not a .safetensors file; other formats can run code when they are loaded")
    if not path.is_file():
        raise TrunkError(f"{where} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return pick_weights(where, backbone, expected, shapes, file.get_tensor, fit)
    except (SafetensorError, OSError) as error:
        raise TrunkError(f"{where} is not a readable safetensors file: {error}") from error


def metadata_of(path: Path) -> dict[str, str]:
    """Return what a weights file says of itself; nothing if it cannot be read, which `read_weights` says later."""
    with suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})
    return {}


def write_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file that `trunk -> weights` can name. Raises TrunkError if the disk refuses."""
    try:
        write_safetensors(path, weights, metadata)
    except (OSError, SafetensorError) as error:
        raise TrunkError(f"{path} cannot be written ({error}); free some space, or give another --out") from error


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file: to a temporary name, synced, renamed. Raises OSError or SafetensorError if the disk refuses."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(plain, partial, metadata=dict(metadata))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
