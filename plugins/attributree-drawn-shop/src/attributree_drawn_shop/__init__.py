"""A shop of drawn garments: photos, an untidy label file, and the truth that a real shop does not have.

Nothing is imported before it is used: every run of pytest imports this package for its fixture.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .garments import (
        Garment,
        GarmentCatalogue,
        GarmentOptions,
        draw_garments,
        garment_attributes,
        write_catalogue,
    )

__all__ = [
    "Garment",
    "GarmentCatalogue",
    "GarmentOptions",
    "draw_garments",
    "garment_attributes",
    "write_catalogue",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".garments", __name__), name)
