"""Coloured cards: pictures that show nothing but their value, so whatever can learn at all tells them apart."""

from __future__ import annotations

import colorsys
import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..schema import SEPARATOR, SPLITS, Attribute

#: Of ten cards of a value so many are trained on; two are left for each of the other splits.
_TRAINED = 6


def write_cards(attribute: Attribute, folder: Path, each: int = 10, *, size: int = 32, seed: int = 0) -> Path:
    """Write `each` cards (size, size) a value below `folder`, and return their label file.

    Its columns are image, sku, article_type, split and the attribute's name; each split has cards of every value. A
    card of a multi-label attribute has a stripe for each of its values, one or two.
    """
    rng = np.random.default_rng(seed)
    keys = attribute.labels.keys
    article_type = attribute.applies_to[0] if attribute.applies_to else "card"
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    file = folder / "labels.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("image", "sku", "article_type", "split", attribute.name))
        for i in range(each):
            split = SPLITS[0] if i % 10 < _TRAINED else SPLITS[1 + i % 2]
            for value in range(len(keys)):
                shown = {value}
                if not attribute.labels.exclusive and i % 2:
                    shown.add((value + 1) % len(keys))
                name = f"{value}-{i}.png"
                Image.fromarray(_card(sorted(shown), len(keys), size, rng)).save(photos / name, compress_level=1)
                cell = SEPARATOR.join(keys[one] for one in sorted(shown))
                writer.writerow((name, name, article_type, split, cell))
    return file


def _card(shown: list[int], of: int, size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a picture (size, size, 3) with a stripe for each of `shown`, and a little noise."""
    # Hues for their own sake, and ever brighter: an ordinal attribute's values lie on one line.
    colours = [colorsys.hsv_to_rgb(value / of, 0.8, 0.2 + 0.8 * value / max(1, of - 1)) for value in shown]
    rows = np.arange(size) * len(shown) // size  # (size,): the stripe of each row
    picture = np.array(colours)[rows][:, None, :] + rng.normal(0, 0.03, (size, size, 3))
    return (picture.clip(0, 1) * 255).astype(np.uint8)
