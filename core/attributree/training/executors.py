"""Executors: where a piece of training runs. In this process, or in several that torchrun's launcher starts."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.reduction import ForkingPickler
from typing import Any, ParamSpec, TypeVar

import torch

from ..errors import AttributreeError, TrainingError
from ..plugins.discovery import import_files, imported_files
from .guard import GuardedLoss, HeadError

P = ParamSpec("P")
R = TypeVar("R")


class Inline:
    """Runs a function of the engine in this process."""

    name = "inline"

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what `function` returns."""
        return function(*args, **kwargs)


class Torchrun:
    """Runs one in `processes` processes of this machine, which share each batch; with GPUs one each.

    Arguments are copied to our own processes, memory-mapped arrays travel by name; the result is the first
    process's. One that dies ends them all with a TrainingError, and checkpoints are taken up by the next run.
    """

    def __init__(self, processes: int = 0) -> None:
        self.processes = processes or torch.cuda.device_count() or 2
        self.name = f"torchrun of {self.processes}"

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what `function` returns in the first process, or raise what it raises there."""
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        _require_travel((*args, *kwargs.values()))
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=self.processes,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            max_restarts=0,
            monitor_interval=0.1,
            run_id=secrets.token_hex(8),
            local_addr="127.0.0.1",
        )
        # By name, not by open file: one that several arguments share cannot be handed over twice.
        torch.multiprocessing.set_sharing_strategy("file_system")  # type: ignore[no-untyped-call]
        if kwargs.get("progress"):
            kwargs["progress"] = show_progress
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            results = elastic_launch(config, _work)(_OneFilePlugins(), function, args, kwargs)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            why = failure.signal_name() if failure.exitcode < 0 else f"exit code {failure.exitcode}"
            raise TrainingError(
                f"training process {rank} of {self.processes} died ({why}); nothing was promoted. "
                "Run the command again, it goes on from the last checkpoint"
            ) from error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        errors = [outcome for outcome in results.values() if isinstance(outcome, Exception)]
        if errors:  # the others only miss the process that had a reason
            raise next((e for e in errors if isinstance(e, AttributreeError | HeadError)), errors[0])
        result: R = results[0]
        return result


#: Where a piece of training runs. What comes out may depend on its `name`, in the last digits.
Executor = Inline | Torchrun


def make_executor(name: str, processes: int = 0) -> Executor:
    """Return the executor of that name; `processes` is for torchrun: 0 is one a GPU, or two on the CPU."""
    return Torchrun(processes) if name == "torchrun" else Inline()


class _OneFilePlugins:
    """Goes ahead of what is sent: on arrival one-file plugins are imported again, for the classes that follow."""

    def __reduce__(self) -> tuple[Any, ...]:
        return import_files, (imported_files(),)


def _require_travel(sent: Iterable[object]) -> None:
    """Raise TrainingError if a plugin's loss cannot be sent to another process."""
    found = [part for value in sent for part in (value.values() if isinstance(value, Mapping) else (value,))]
    for loss in (getattr(part, "loss", None) if not isinstance(part, GuardedLoss) else part for part in found):
        if not isinstance(loss, GuardedLoss):
            continue
        try:
            ForkingPickler.dumps(loss.loss)
        except Exception as error:
            raise TrainingError(
                f"{loss.attribute}: its loss cannot be sent to other processes ({error}); its plugin must make it "
                "a function or a class at the top of a module. Or train with --executor inline"
            ) from error


def _work(_: object, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run in each process; what is raised comes back as a value, so that it keeps its type."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def show_progress(what: str, done: int, of: int) -> None:
    """Tell on stderr how far the first process is: a bar would belong to another process."""
    if os.environ.get("RANK", "0") == "0" and done:
        print(f"  {what}: {done} of {of}", file=sys.stderr, flush=True)  # noqa: T201
