"""What plugin authors and tests build on: synthetic garments whose true labels are known, and the plugin's contract.

Nothing is imported before it is asked for: every run of pytest imports this package for its fixtures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cards import write_cards
    from .contract import AttributeContract
    from .garments import (
        Garment,
        GarmentCatalogue,
        GarmentOptions,
        draw_garments,
        garment_attributes,
        write_catalogue,
    )

__all__ = [
    "AttributeContract",
    "Garment",
    "GarmentCatalogue",
    "GarmentOptions",
    "draw_garments",
    "garment_attributes",
    "write_cards",
    "write_catalogue",
]

_ELSEWHERE = {"AttributeContract": ".contract", "write_cards": ".cards"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, ".garments"), __name__), name)
