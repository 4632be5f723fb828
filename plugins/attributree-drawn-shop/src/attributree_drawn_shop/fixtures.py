"""The fixture `attributree_catalogue`, which pytest finds wherever this distribution is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .garments import GarmentCatalogue

_PHOTOS = 120


@pytest.fixture(scope="session")
def attributree_catalogue(tmp_path_factory: pytest.TempPathFactory) -> GarmentCatalogue:
    """120 photos of drawn garments, 32 pixels, all labels stated; read only."""
    from .garments import GarmentOptions, write_catalogue

    options = GarmentOptions(size=32, variation=0, hidden=0, second_photo=0)
    return write_catalogue(tmp_path_factory.mktemp("attributree-catalogue"), _PHOTOS, options=options)
