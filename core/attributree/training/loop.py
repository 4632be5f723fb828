"""The training loop, on Accelerate: epochs, early stopping, the best weights kept, resumed after a kill.

Each epoch is seeded by itself, so what a resumed loop draws is what an unbroken one would have drawn, and nothing of a
generator's state need be kept.
"""

from __future__ import annotations

import copy
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from ..errors import ConfigError, TrainingError
from ..settings.models import TrainingSettings
from .checkpoint import Checkpoints, Fit, LoopState
from .data import Share, pick_device

WEIGHT_DECAY = 0.05
#: Learning rates warm up over this share of the steps.
WARMUP = 0.1
#: Gradients longer than this are cut.
MAX_NORM = 5.0


class Task(Protocol):
    """What a loop trains. `name` says whose training it is, `module` what is trained and kept.

    `groups` are AdamW's parameter groups, each with its peak learning rate `lr`; an epoch has `steps` batches. A batch
    is a tuple of tensors, on any device; the loop never looks inside. `partial`: a batch may leave parameters without a
    gradient.
    """

    name: str
    module: nn.Module
    groups: Sequence[Mapping[str, Any]]
    steps: int
    partial: bool

    def batches(self, rng: np.random.Generator, share: Share) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches of one epoch: of each, the part that is this process's."""

    def loss(self, module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Return a scalar; `module` is `self.module`, perhaps wrapped."""

    def validate(self) -> tuple[float, float]:
        """Return a score to be maximised (0..1) and a loss that breaks ties, of `self.module`."""


def seed_everything(seed: int, name: str) -> np.random.Generator:
    """Seed torch for one purpose and return its NumPy generator: runs do not depend on their order."""
    mixed = [seed, zlib.crc32(name.encode())]
    torch.manual_seed(int(np.random.SeedSequence(mixed).generate_state(1)[0]))
    return np.random.default_rng(mixed)


def start(recipe: TrainingSettings, *, partial: bool = False) -> Accelerator:
    """Return the Accelerator for this process: alone, or one of several that torchrun started."""
    device = pick_device(recipe.device)
    bf16 = recipe.precision == "bfloat16" or (
        recipe.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )
    # Its state is one per process; another recipe may want another precision.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if bf16 else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=partial)],
    )


def run_loop(
    task: Task,
    recipe: TrainingSettings,
    *,
    phase: str,
    checkpoints: Checkpoints | None = None,
    patience: int | None = None,
    from_start: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Fit:
    """Train `task.module` and leave it with its best weights, in evaluation mode, on its device.

    AdamW; the learning rates warm up and then fall along a cosine over `recipe.epochs`. The best epoch has the
    highest validation score, the lower loss breaking ties; after `patience` (default: the recipe's) epochs without a
    better one it ends, those of the warm-up not counted. `from_start`: the weights it begins with count as epoch 0.
    With `checkpoints`, `phase` is written at epoch bounds and taken up again. Raises TrainingError if a loss is not a
    finite number.
    """
    accelerator = start(recipe, partial=task.partial)
    device = accelerator.device if accelerator.num_processes > 1 else pick_device(recipe.device)
    share = Share(accelerator.process_index, accelerator.num_processes)
    task.module.to(device)
    optimizer = torch.optim.AdamW([dict(group) for group in task.groups], weight_decay=WEIGHT_DECAY, fused=True)
    state = checkpoints.load(phase, task.module, optimizer) if checkpoints else None
    if state is None:
        state = _begin(task, accelerator, from_start)
    module: nn.Module = accelerator.prepare_model(task.module) if accelerator.num_processes > 1 else task.module
    begun, total = state.steps, max(1, task.steps) * recipe.epochs
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(begun + step, total))
    patience = recipe.patience if patience is None else patience
    saved = time.monotonic()
    if progress:
        progress(state.fit.epochs)
    board = recipe.tensorboard and accelerator.is_main_process
    with closing(_writer(Path(recipe.tensorboard) / task.name / phase)) if board else nullcontext() as writer:
        while not state.done:
            epoch = state.fit.epochs + 1
            rng = seed_everything(recipe.seed, f"{task.name} {phase} {epoch}")
            module.train()
            losses = []
            for batch in task.batches(rng, share):
                with accelerator.autocast():
                    loss = task.loss(module, batch)
                losses.append(float(loss.detach()))
                require_finite(task.name, losses[-1], "loss", f" in epoch {epoch}")
                optimizer.zero_grad(set_to_none=True)
                accelerator.backward(loss)
                nn.utils.clip_grad_norm_(module.parameters(), MAX_NORM)
                optimizer.step()
                scheduler.step()
            score, val_loss = _validate(task, accelerator)
            state = _advance(state, task.module, recipe.epochs, patience, len(losses), score, val_loss)
            if writer:
                mean, rate = sum(losses) / max(1, len(losses)), scheduler.get_last_lr()[0]
                told = {"train_loss": mean, "val_loss": val_loss, "val_score": score, "rate": rate}
                for name, number in told.items():
                    writer.add_scalar(name, number, epoch)
            due = time.monotonic() - saved >= recipe.checkpoint_seconds
            if checkpoints and accelerator.is_main_process and (due or state.done):
                checkpoints.save(phase, state, task.module, optimizer)
                saved = time.monotonic()
            if progress:
                progress(epoch)
    accelerator.unwrap_model(module, keep_fp32_wrapper=False)
    task.module.load_state_dict(state.best)
    task.module.eval()
    return state.fit


def seconds_of_step(task: Task, recipe: TrainingSettings) -> float:
    """Return the seconds that a step of training takes here. `task.module` is moved to its device and left as it is."""
    device = pick_device(recipe.device)
    task.module.to(device)
    tried, state = copy.deepcopy(task.module).train(), torch.get_rng_state()
    batch, seconds = next(task.batches(np.random.default_rng(recipe.seed), Share())), 0.0
    for _ in range(2):  # the first one pays for what is prepared once
        begun = time.perf_counter()
        task.loss(tried, batch).backward()  # type: ignore[no-untyped-call]
        float(next(tried.parameters()).detach().flatten()[0])  # a GPU is waited for
        seconds = time.perf_counter() - begun
    torch.set_rng_state(state)
    return seconds


def agreed(recipe: TrainingSettings, number: float) -> float:
    """Return the first process's `number`, where there are several: they must decide alike."""
    said = [number]
    if start(recipe).num_processes > 1:
        broadcast_object_list(said)
    return said[0]


def _writer(folder: Path) -> Any:
    """Return a writer for TensorBoard. Raises ConfigError if its package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "training -> tensorboard: the package tensorboard is not installed; "
            "run: pip install 'attributree[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder))


def _begin(task: Task, accelerator: Accelerator, from_start: bool) -> LoopState:
    if not from_start:
        return LoopState(Fit(0, 0, -math.inf, math.inf), 0, done=False, best={})
    score, loss = _validate(task, accelerator)
    return LoopState(Fit(0, 0, score, loss), 0, done=False, best=copy.deepcopy(task.module.state_dict()))


def _validate(task: Task, accelerator: Accelerator) -> tuple[float, float]:
    """Return score and loss, the first process's for all: they must agree on when to end."""
    said: list[Any] = [None]
    if accelerator.is_main_process:
        task.module.eval()
        try:
            said = [task.validate()]
        except TrainingError as error:
            said = [str(error)]
    if accelerator.num_processes > 1:
        broadcast_object_list(said)
    if isinstance(said[0], str):
        raise TrainingError(said[0])
    score, loss = said[0]
    require_finite(task.name, loss, "validation loss")
    return score, loss


def require_finite(name: str, loss: float, what: str, when: str = "") -> None:
    """Raise TrainingError if a loss of the attribute `name` is not a finite number."""
    if not math.isfinite(loss):
        raise TrainingError(
            f"{name}: the {what} became {loss}{when}; nothing was promoted. "
            "Lower training -> learning_rate, or look at the plugin's head"
        )


def _advance(
    state: LoopState, module: nn.Module, epochs: int, patience: int, steps: int, score: float, loss: float
) -> LoopState:
    """Return the state after one more epoch."""
    fit, best = replace(state.fit, epochs=state.fit.epochs + 1), state.best
    if (score, -loss) > (fit.score, -fit.loss):
        fit, best = Fit(fit.epochs, fit.epochs, score, loss), copy.deepcopy(module.state_dict())
    since = max(fit.best, math.ceil(WARMUP * epochs))  # what is still warming up is not expected to gain
    done = fit.epochs >= epochs or fit.epochs - since >= patience
    return LoopState(fit, state.steps + steps, done, best)


def rate_share(step: int, steps: int) -> float:
    """Return the share of the learning rate at `step`: linear while it warms up, then a cosine to 1 %."""
    warmup = max(1, int(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
