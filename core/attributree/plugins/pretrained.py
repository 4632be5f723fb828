"""What a plugin says of pretrained weights that it offers by name, as `[trunk] weights = NAME` takes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import SchemaError

if TYPE_CHECKING:
    from torch import Tensor

#: Names that `[trunk] weights` has for itself.
OWN: Final = ("hub", "random")
_NAME: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of timm's `backbone` in a file that is installed with a plugin; `name` is what settings call them.

    `sha256` is the digest of `file`, in hex: another content is refused. `read` returns a file's tensors under timm's
    names for `backbone` and runs no code of the file; without it the file is a safetensors file with those names.
    `licence` and `trained_on` are told to users, and `url`, where the weights come from. `mean`, `std` (of red, green
    and blue in 0..1) and `interpolation` (as Pillow calls it: "bicubic") are how images were prepared when they were
    learnt; None: as timm has them for the backbone. Raises SchemaError if a field is not what it should be.
    """

    name: str
    backbone: str
    file: Path
    sha256: str
    licence: str
    trained_on: str
    url: str = ""
    read: Callable[[Path], Mapping[str, Tensor]] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name.endswith(".safetensors"):
            raise SchemaError(
                f"PretrainedWeights: name {self.name!r} must be small letters, digits, '-', '_' and '.', and no file's"
            )
        where = f"PretrainedWeights {self.name!r}"
        if self.name in OWN:
            raise SchemaError(f"{where}: the name is attributree's own")
        for field in ("backbone", "licence", "trained_on"):
            if not isinstance(text := getattr(self, field), str) or not text.strip():
                raise SchemaError(f"{where}: {field} must be a text that says it, not {text!r}")
        if not isinstance(self.file, Path):
            raise SchemaError(f"{where}: file must be a pathlib.Path, not {type(self.file).__name__}")
        if not isinstance(self.sha256, str) or not _SHA256.fullmatch(self.sha256):
            raise SchemaError(f"{where}: sha256 must be 64 hex digits in small letters, not {self.sha256!r}")
        for field in ("mean", "std"):
            numbers = getattr(self, field)
            if numbers is not None and (len(numbers) != 3 or not all(0 <= n <= 1 for n in numbers)):
                raise SchemaError(f"{where}: {field} must be three numbers in 0..1, not {numbers!r}")
