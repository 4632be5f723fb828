"""What plugin authors and tests build on: synthetic garments whose true labels are known. No torch in here."""

from __future__ import annotations

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
