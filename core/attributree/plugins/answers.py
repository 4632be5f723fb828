"""What plugins answer, checked: each function returns the answer as its hook promises it, or raises BrokenError."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from ..schema import Attribute
from .calls import BrokenError
from .hookspecs import Augmentation, Loss

if TYPE_CHECKING:
    import click
    from torch import nn


def as_attributes(answer: object) -> tuple[Attribute, ...]:
    """Return the attributes that a plugin declares."""
    if isinstance(answer, Attribute):
        raise BrokenError("attributree_attributes returned one Attribute; return a list: [Attribute(...)]")
    attributes = tuple(_several(answer, "attributree_attributes", "a list of Attribute"))
    for attribute in attributes:
        if not isinstance(attribute, Attribute):
            raise BrokenError(f"attributree_attributes returned a list that holds {attribute!r}, not an Attribute")
    return cast("tuple[Attribute, ...]", attributes)


def as_head(answer: object) -> nn.Module | None:
    """Return a head; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    if answer is None or (torch is not None and isinstance(answer, torch.nn.Module)):
        return cast("nn.Module | None", answer)
    raise BrokenError(f"attributree_branch_head returned {type(answer).__name__}, not a torch.nn.Module")


def as_loss(answer: object) -> Loss | None:
    """Return a loss: something that can be called and has nothing to be trained in it."""
    if answer is None:
        return None
    if not callable(answer) or isinstance(answer, type):
        raise BrokenError(f"attributree_loss returned {_kind(answer)}, not a function or a module that is one")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(answer, torch.nn.Module) and next(answer.parameters(), None) is not None:
        raise BrokenError("attributree_loss returned a module with parameters, which nobody trains; make them buffers")
    return cast("Loss", answer)


def as_augmentation(answer: object) -> Augmentation | None:
    """Return an augmentation."""
    if answer is None or isinstance(answer, Augmentation):
        return answer
    raise BrokenError(f"attributree_augmentation returned {_kind(answer)}, not an attributree.Augmentation")


def as_spelling(answer: object) -> str | None:
    """Return a spelling."""
    if answer is None or isinstance(answer, str):
        return answer
    raise BrokenError(f"attributree_normalize_label returned {_kind(answer)}, not a string or None")


def as_rows(answer: object) -> Iterator[object] | None:
    """Return the rows of a file, each yet to be looked at."""
    if answer is None:
        return None
    return iter(_several(answer, "attributree_catalog_source", "rows or None"))


def as_row(answer: object) -> Mapping[str, object]:
    """Return one row of a file: columns to cells."""
    if not isinstance(answer, Mapping):
        raise BrokenError(f"attributree_catalog_source yielded {_kind(answer)}, not a mapping of columns to cells")
    for column in answer:
        if not isinstance(column, str):
            raise BrokenError(f"attributree_catalog_source yielded a row whose column {column!r} is not a string")
    return answer


def as_commands(answer: object) -> tuple[click.Command, ...]:
    """Return click commands, each with a name."""
    import click

    commands = tuple(_several(answer, "attributree_commands", "a list of click commands"))
    for command in commands:
        if not isinstance(command, click.Command):
            raise BrokenError(f"attributree_commands returned a list that holds {command!r}, not a click command")
        if not command.name:
            raise BrokenError("attributree_commands returned a command without a name")
    return cast("tuple[click.Command, ...]", commands)


def as_nothing(answer: object) -> None:
    """Leave aside what nobody asked for."""


def _several(answer: object, hook: str, wanted: str) -> Iterable[object]:
    if isinstance(answer, (str, bytes, Mapping)) or not isinstance(answer, Iterable):
        raise BrokenError(f"{hook} returned {type(answer).__name__}, not {wanted}")
    return answer


def _kind(answer: object) -> str:
    return f"the class {answer.__name__}" if isinstance(answer, type) else type(answer).__name__
