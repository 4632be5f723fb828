"""What plugin authors and tests build on: the contract that every plugin keeps, and coloured cards to learn from.

Nothing is imported before it is used: every run of pytest imports this package for its fixtures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cards import write_cards
    from .contract import AttributeContract

__all__ = ["AttributeContract", "write_cards"]

_MODULES = {"AttributeContract": ".contract", "write_cards": ".cards"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
