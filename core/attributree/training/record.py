"""What a loop writes for TensorBoard, if that is wanted."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import ConfigError


class Recorder:
    """Writes numbers by epoch into `folder`/`name`/`phase`; an empty `folder` writes nothing.

    Raises ConfigError if TensorBoard's package is not installed.
    """

    def __init__(self, folder: str, name: str, phase: str) -> None:
        self._writer: Any = None
        if folder:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ConfigError(
                    "training -> tensorboard: the package tensorboard is not installed; "
                    "run: pip install 'attributree[tensorboard]'"
                ) from error
            self._writer = SummaryWriter(str(Path(folder) / name / phase))

    def add(self, epoch: int, **numbers: float) -> None:
        """Write one number each."""
        if self._writer:
            for name, number in numbers.items():
                self._writer.add_scalar(name, number, epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()
