"""A catalogue of drawn garments: small product photos, a label file as untidy as a shop's, and the truth.

For tests, benchmarks, demonstrations and plugin authors; Pillow and NumPy, no torch. Tops, dresses and jeans
carry six attributes (`garment_attributes`), drawn independently of each other and of pose, light and background;
`detailed` ones carry all seventeen that the first-party plugins ask.

    catalogue = write_catalogue(Path("shop"), 600, seed=0)

and then, in that folder: `attributree ingest products.csv --images photos`, and for a second opinion on a
few labels `attributree ingest supplier.csv --images photos --source supplier`.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count as count_from
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from attributree.schema import Attribute

from .details import add_details, detailed_attributes
from .labels import state_labels
from .paint import photograph
from .style import ARTICLE_TYPES, Style, draw_style, plain_attributes
from .text import write_texts

__all__ = [
    "DEFAULT_OPTIONS",
    "Garment",
    "GarmentCatalogue",
    "GarmentOptions",
    "draw_garments",
    "garment_attributes",
    "write_catalogue",
]

_DEFAULT_TYPES: Mapping[str, float] = {"top": 0.45, "dress": 0.35, "jeans": 0.20}
_LEAST_SIZE = 32
_SUFFIX = {"png": ".png", "jpeg": ".jpg"}
_ABOUT = ("image", "sku", "article_type", "title", "description")
_COUNTS = ("photos", "products", "stated", "hidden", "not_applicable", "ambiguous", "contradictory", "misspelt")


def _check_size(size: int) -> None:
    if size < _LEAST_SIZE:
        raise ValueError(f"size is {size}; below {_LEAST_SIZE} pixels a neckline cannot be seen")


def _check_types(article_types: Mapping[str, float]) -> None:
    for name, weight in article_types.items():
        if name not in ARTICLE_TYPES:
            raise ValueError(f"article type {name!r} is none of {', '.join(ARTICLE_TYPES)}")
        if not 0.0 <= weight < math.inf:
            raise ValueError(f"article type {name!r} has weight {weight}; it must be zero or more")
    if not sum(article_types.values()):
        raise ValueError("article_types gives no article type a weight above zero")


@dataclass(frozen=True)
class GarmentOptions:
    """How a catalogue is drawn and how untidy its label file is. Raises ValueError for impossible settings.

    `size` is the photos' side in pixels. `hidden` is the share of applicable labels whose cell is empty. Of the
    labels that are stated, the share `ambiguous` names a second candidate (never for colour, where two
    values are two colours), `contradictory` is contradicted by the supplier's file, and `misspelt` is spelt as no
    schema knows it. `second_photo` is the share of products with two photos. `variation` scales what
    photos differ by besides the garment (pose, figure, background, light, noise): with 0 every garment lies
    straight on a plain backdrop, and fewer labels teach the same. `article_types` maps each article type to its weight.
    `detailed` garments have collars, closures, rips and more besides: see `garment_attributes`.
    """

    size: int = 64
    hidden: float = 0.4
    ambiguous: float = 0.05
    contradictory: float = 0.02
    misspelt: float = 0.0
    second_photo: float = 0.15
    variation: float = 1.0
    article_types: Mapping[str, float] = field(default_factory=lambda: dict(_DEFAULT_TYPES), hash=False)
    detailed: bool = False

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check_types(self.article_types)
        for name in ("hidden", "ambiguous", "contradictory", "misspelt", "second_photo", "variation"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} is {share}; it is a share between 0 and 1")
        if self.ambiguous + self.contradictory + self.misspelt > 1.0:
            raise ValueError("ambiguous, contradictory and misspelt together are more than all stated labels")


DEFAULT_OPTIONS = GarmentOptions()


@dataclass(frozen=True, eq=False)
class Garment:
    """One photo of one product. `labels` holds the truth for all attributes, 'n/a' where one does not apply.

    `image` (size, size, 3) RGB uint8. Two colours are written 'blue|white', the body's first.
    """

    image: npt.NDArray[np.uint8]
    article_type: str
    labels: Mapping[str, str]
    sku: str
    title: str
    description: str


@dataclass(frozen=True)
class GarmentCatalogue:
    """What `write_catalogue` wrote.

    `truth` maps each image, as the label files name it, to its true labels. `counts` has `photos`, `products`,
    and over all cells of `products.csv` how many are `stated` (`ambiguous`, `contradictory` and `misspelt`
    ones among them), `hidden`, and `not_applicable`.
    """

    folder: Path
    photos: Path
    products: Path
    supplier: Path
    truth_file: Path
    truth: Mapping[str, Mapping[str, str]]
    counts: Mapping[str, int]


def garment_attributes(*, detailed: bool = False) -> tuple[Attribute, ...]:
    """Return the six attributes of the synthetic catalogue, or the seventeen of a detailed one, in columns' order."""
    return detailed_attributes() if detailed else plain_attributes()


def draw_garments(
    count: int,
    *,
    seed: int = 0,
    size: int = 64,
    variation: float = 1.0,
    article_types: Mapping[str, float] = _DEFAULT_TYPES,
    detailed: bool = False,
) -> Iterator[Garment]:
    """Yield `count` products, one photo each; the first ones do not depend on `count`.

    The same arguments give the same bytes. Raises ValueError for a size under 32 or an unknown article type.
    """
    options = GarmentOptions(size=size, variation=variation, article_types=article_types, detailed=detailed)
    products = _products(seed, options)
    return (product.photo(0, size, variation) for product in islice(products, count))


def write_catalogue(
    folder: Path,
    count: int = 600,
    *,
    seed: int = 0,
    options: GarmentOptions = DEFAULT_OPTIONS,
    image_format: Literal["png", "jpeg"] = "jpeg",
) -> GarmentCatalogue:
    """Write `count` photos with their label files below `folder` and return where everything lies.

    `photos/` holds the pictures; `products.csv` the labels as the shop has them, one row a photo, images named
    relative to `photos/`; `supplier.csv` in the same format the rows that a second source contradicts; `truth.jsonl`
    all true labels. A smaller catalogue with the same seed and options is a prefix of a larger one. Files of
    an earlier catalogue in `folder` are overwritten where names agree.
    """
    if image_format not in _SUFFIX:
        raise ValueError(f"image_format is {image_format!r}; write 'png' or 'jpeg'")
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    attributes = garment_attributes(detailed=options.detailed)
    counts = dict.fromkeys(_COUNTS, 0)
    shop: list[dict[str, str]] = []
    supplier: list[dict[str, str]] = []
    truth: dict[str, Mapping[str, str]] = {}
    truth_lines: list[str] = []
    for product, index in islice(_photos(seed, options), count):
        garment = product.photo(index, options.size, options.variation)
        image = f"{garment.sku.lower()}-{index + 1}{_SUFFIX[image_format]}"
        _save(garment.image, photos / image)
        about = {
            "image": image,
            "sku": garment.sku,
            "article_type": garment.article_type,
            "title": garment.title,
            "description": garment.description,
        }
        stated, contradicted = state_labels(garment.labels, attributes, options, product.clerk(index), counts)
        shop.append(about | stated)
        if contradicted:
            supplier.append(about | contradicted)
        truth[image] = garment.labels
        line = {"image": image, "sku": garment.sku, "article_type": garment.article_type, "labels": garment.labels}
        truth_lines.append(json.dumps(line) + "\n")
        counts["photos"] += 1
        counts["products"] += index == 0

    columns = [*_ABOUT, *(attribute.name for attribute in attributes)]
    _write_csv(folder / "products.csv", columns, shop)
    _write_csv(folder / "supplier.csv", columns, supplier)
    (folder / "truth.jsonl").write_text("".join(truth_lines), encoding="utf-8", newline="\n")
    return GarmentCatalogue(
        folder=folder,
        photos=photos,
        products=folder / "products.csv",
        supplier=folder / "supplier.csv",
        truth_file=folder / "truth.jsonl",
        truth=truth,
        counts=counts,
    )


@dataclass(frozen=True)
class _Product:
    """One product, and the seeds from which its photos and their rows are drawn."""

    style: Style
    sku: str
    title: str
    description: str
    luck: float  # under the share of second photos, the product has one
    cameras: Sequence[np.random.SeedSequence]
    clerks: Sequence[np.random.SeedSequence]

    def photo(self, index: int, size: int, variation: float) -> Garment:
        image = photograph(self.style, np.random.default_rng(self.cameras[index]), size, variation)
        return Garment(image, self.style.article_type, self.style.labels, self.sku, self.title, self.description)

    def clerk(self, index: int) -> np.random.Generator:
        """Return the generator that decides what the row of photo `index` states."""
        return np.random.default_rng(self.clerks[index])


def _products(seed: int, options: GarmentOptions) -> Iterator[_Product]:
    """Yield products without end; the n-th depends on the n-th child of `seed` alone."""
    root = np.random.SeedSequence(seed)
    bounds = np.cumsum([options.article_types.get(name, 0.0) for name in ARTICLE_TYPES])
    for number in count_from():
        (child,) = root.spawn(1)
        design, office, *rest, workshop = child.spawn(7)
        rng = np.random.default_rng(design)
        article_type = ARTICLE_TYPES[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]
        style = draw_style(rng, article_type)
        if options.detailed:
            style = add_details(style, np.random.default_rng(workshop))
        rng = np.random.default_rng(office)
        luck = float(rng.random())
        texts = write_texts(style, rng)
        sku = f"{article_type.upper()}-{number:05d}-{int(child.generate_state(1)[0]):08x}"
        yield _Product(style, sku, texts.title, texts.description, luck, rest[:2], rest[2:])


def _photos(seed: int, options: GarmentOptions) -> Iterator[tuple[_Product, int]]:
    """Yield products with the index of each of their photos, without end."""
    for product in _products(seed, options):
        yield product, 0
        if product.luck < options.second_photo:
            yield product, 1


def _save(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    picture = Image.fromarray(pixels)
    if path.suffix == ".png":
        picture.save(path, compress_level=1)
    else:
        picture.save(path, quality=92)


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
