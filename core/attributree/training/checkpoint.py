"""Checkpoints: a training that was killed goes on where it was, to the same weights.

A run is a folder named by everything that decides its outcome, a phase of it (the head, the stage) one file. Nothing
but safetensors and JSON is ever read back.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import TrainingError
from ..nn.weights import write_safetensors


@dataclass(frozen=True)
class Fit:
    """How a loop went: `epochs` run, the `best` one (0: the weights it began with), its score (0..1) and loss.

    Of a head that was solved, `penalty` says under which, and `balanced` whether rare values were weighed up.
    """

    epochs: int
    best: int
    score: float
    loss: float
    penalty: float | None = None
    balanced: bool = False


@dataclass(frozen=True, eq=False)
class LoopState:
    """A loop between two epochs: where it stands, and its best weights so far. `done`: it has ended."""

    fit: Fit
    steps: int
    done: bool
    best: dict[str, Tensor]


class Checkpoints:
    """The phases of one run, below `folder`. What belongs to another run of the same `name` is deleted."""

    def __init__(self, folder: Path, name: str, identity: Mapping[str, Any]) -> None:
        key = hashlib.sha256(json.dumps(dict(identity), sort_keys=True, default=str).encode()).hexdigest()
        self.folder = folder / f"{name}-{key[:16]}"
        for other in folder.glob(f"{name}-{'?' * 16}"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)

    def save(self, phase: str, state: LoopState, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write one phase, all of it or nothing. Raises TrainingError if the disk refuses."""
        tensors = {f"best/{name}": tensor for name, tensor in state.best.items()}
        if not state.done:
            tensors |= {f"model/{name}": tensor for name, tensor in module.state_dict().items()}
            for index, slots in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{index}/{slot}": tensor for slot, tensor in slots.items()}
        said = {"fit": asdict(state.fit), "steps": state.steps, "done": state.done}
        path = self._path(phase)
        try:
            write_safetensors(path, tensors, {"state": json.dumps(said)})
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"{path} cannot be written ({error}); free some space, or set another catalog -> cache"
            ) from error

    def load(self, phase: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> LoopState | None:
        """Put `module` and `optimizer` where the phase was left and return the state; None if there is none."""
        try:
            with safe_open(self._path(phase), framework="pt") as file:
                said = json.loads((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError):
            return None  # there is none, or a power cut tore it: the phase begins again
        groups: dict[str, dict[str, Tensor]] = {"best": {}, "model": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition("/")
            groups[kind][rest] = tensor
        expected = _shapes(module.state_dict())
        if any(weights and _shapes(weights) != expected for weights in (groups["best"], groups["model"])):
            return None  # of a module that was built otherwise
        if not said["done"]:
            module.load_state_dict(groups["model"])
            weights = [weight.detach() for group in optimizer.param_groups for weight in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in groups["optimizer"].items():
                index, _, slot = name.partition("/")
                weight = weights[int(index)]
                # As the weight lies, perhaps channels last: AdamW's fused step goes by the order in memory.
                fits = tensor.shape == weight.shape
                state.setdefault(int(index), {})[slot] = torch.empty_like(weight).copy_(tensor) if fits else tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        return LoopState(Fit(**said["fit"]), said["steps"], said["done"], groups["best"])

    def has(self, phase: str) -> bool:
        """Return whether something was written of a phase."""
        return self._path(phase).exists()

    def forget(self) -> None:
        """Delete the run's files: its outcome is stored elsewhere now."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, phase: str) -> Path:
        return self.folder / f"{phase}.safetensors"


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}
