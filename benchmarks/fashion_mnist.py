"""Turn Fashion-MNIST, 70,000 catalogue photographs of 28 x 28 pixels, into a partially labelled catalogue.

    python benchmarks/fashion_mnist.py --out build/fashion --train 3000 --test 2000 --hidden 0.6

writes `products.csv` (an ingest file), `images/` (PNG, dark product on white, as it was photographed) and
`visible.json` (how many labels stayed visible). Same options, same bytes. Every label follows from the class
that the data set gives, or from the pixels; what neither decides is ambiguous or left unknown:

| attribute         | values, and the classes they follow from                               | in doubt             |
|-------------------|------------------------------------------------------------------------|----------------------|
| article           | the ten classes themselves                                             |                      |
| zone              | upper_body: top, pullover, coat, shirt; lower_body: trouser;           |                      |
|                   | full_body: dress; feet: sandal, sneaker, ankle boot; accessory: bag    |                      |
| sleeve_length     | short (or none): top; long: pullover, coat                             | shirt: short|long;   |
|                   |                                                                        | dress: unknown       |
| front_opening     | closed: top, pullover; open (to the hem): coat                         | shirt, dress:        |
|                   |                                                                        | closed|open          |
| shoe_height       | low: sandal, sneaker of at most 14 pixel rows; high (over the ankle):  | taller sneakers:     |
|                   | ankle boot                                                             | low|high             |
| footwear_openness | open: sandal; closed: sneaker, ankle boot                              |                      |
| tone              | dark, medium, light: the product's mean lightness, parted at TONE_CUTS |                      |

With --more, nine further columns follow from the pixels; the table in fashion_mnist_pixels.py names them, and
nothing of theirs is in doubt.

All other combinations are not applicable. The classes are the shop's and not pure: a few tops have long sleeves,
a few pullovers short ones, a few coats are pulled over the head. A score is therefore agreement with the class.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from fashion_mnist_pixels import PIXEL_ATTRIBUTES, Pixels, pixel_cells, product, tone

#: Article types in the order of the data set's class indices.
ARTICLE_TYPES = (
    *("top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)

#: The tallest sneaker, in pixel rows, that ends below the ankle; taller ones are partly high-tops.
LOW_SNEAKER_ROWS = 14
#: Percent of the training images that validate, chosen by a hash of the sku, whatever the seed.
VALIDATION_PERCENT = 15

N_A = "n/a"
UNKNOWN = ""

#: attribute -> article type -> the cell that its class decides; an article type left out is not applicable.
FROM_CLASS: Mapping[str, Mapping[str, str]] = {
    "article": {name: name.replace(" ", "_") for name in ARTICLE_TYPES},
    "zone": {
        **dict.fromkeys(("top", "pullover", "coat", "shirt"), "upper_body"),
        "trouser": "lower_body",
        "dress": "full_body",
        **dict.fromkeys(("sandal", "sneaker", "ankle boot"), "feet"),
        "bag": "accessory",
    },
    "sleeve_length": {"top": "short", "pullover": "long", "coat": "long", "shirt": "short|long", "dress": UNKNOWN},
    "front_opening": {
        **dict.fromkeys(("top", "pullover"), "closed"),
        "coat": "open",
        **dict.fromkeys(("shirt", "dress"), "closed|open"),
    },
    "shoe_height": {"sandal": "low", "sneaker": "low", "ankle boot": "high"},
    "footwear_openness": {"sandal": "open", "sneaker": "closed", "ankle boot": "closed"},
}
ATTRIBUTES = (*FROM_CLASS, "tone")
#: The seven, and the nine that only some benchmarks ask for.
ALL_ATTRIBUTES = (*ATTRIBUTES, *PIXEL_ATTRIBUTES)
#: Where several values in one cell all hold and nothing is in doubt.
MULTI_LABEL = frozenset({"shades"})

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


class DatasetError(Exception):
    """The data set cannot be had or is damaged; the message says which file and what to do."""


@dataclass(frozen=True)
class Coverage:
    """What the ingest file says of one attribute in its training-side rows (train and val), in cells.

    `told`: cells with something to say before hiding. `visible`: `labelled` + `ambiguous` + `not_applicable`,
    those of them that the file still shows.
    """

    rows: int
    told: int
    labelled: int
    ambiguous: int
    not_applicable: int

    @property
    def visible(self) -> int:
        return self.labelled + self.ambiguous + self.not_applicable

    @property
    def share(self) -> float:
        """Share of the told cells that stayed visible, 0 to 1."""
        return self.visible / self.told if self.told else 0.0


@dataclass(frozen=True)
class Dataset:
    """Where the catalogue lies and what it shows; `counts` is rows by split."""

    ingest_file: Path
    images: Path
    counts: dict[str, int]
    coverage: dict[str, Coverage]


def make_dataset(
    out: Path,
    *,
    source: Path | None = None,
    train: int = 0,
    test: int = 0,
    hidden: float = 0.6,
    seed: int = 0,
    attributes: Sequence[str] = ATTRIBUTES,
) -> Dataset:
    """Write ingest file, images and visible.json below `out`.

    `train` and `test` are class-balanced subset sizes, 0 for all images; `train` is divided into train and
    val. `hidden` is the share of every attribute's cells emptied in those rows; test rows keep all of theirs.
    `attributes` are the columns, of ALL_ATTRIBUTES; a column is the same whatever others stand beside it.
    Raises DatasetError if the source is missing or damaged, ValueError on a size, share or attribute that cannot be.
    """
    unknown = [name for name in attributes if name not in ALL_ATTRIBUTES]
    if unknown:
        raise ValueError(f"attributes are {', '.join(ALL_ATTRIBUTES)}, not {', '.join(map(repr, unknown))}")
    if not 0 <= hidden < 1:
        raise ValueError(f"hidden is a share from 0 up to (not including) 1, not {hidden}")
    folder = find_source(source, out)
    rows: list[dict[str, str]] = []
    for split, wanted in (("train", train), ("test", test)):
        images, classes = read_split(folder, split)  # (N, 28, 28), (N,)
        chosen = balanced_subset(classes, wanted, np.random.default_rng([seed, split == "test"]))
        write_images(images[chosen], chosen, out / "images" / split)
        rows += describe(images[chosen], classes[chosen], chosen, split, attributes)
    coverage = hide(rows, hidden, seed, attributes)

    ingest_file = out / "products.csv"
    write_rows(ingest_file, ("image", "sku", "article_type", "split", *attributes), rows)
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "val", "test")}
    summary = {
        "seed": seed,
        "hidden": hidden,
        "counts": counts,
        "attributes": {
            name: {"share": round(c.share, 4), "visible": c.visible, **asdict(c)} for name, c in coverage.items()
        },
    }
    (out / "visible.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return Dataset(ingest_file, out / "images", counts, coverage)


def find_source(source: Path | None, out: Path) -> Path:
    """Return the folder of the four idx files: `source`, else Debian's, else downloaded below `out`."""
    if source is not None:
        return source
    if DEBIAN_FOLDER.is_dir():
        return DEBIAN_FOLDER
    ways_out = (
        f"install Debian's package dataset-fashion-mnist (its folder {DEBIAN_FOLDER} does not exist), or give "
        "--source FOLDER with " + ", ".join(name for names in FILES.values() for name in names)
    )
    try:
        from torchvision.datasets import FashionMNIST
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise DatasetError(
            f"Fashion-MNIST is not here and torchvision cannot be imported ({error}); {ways_out}"
        ) from None
    try:
        return Path(FashionMNIST(str(out), download=True).raw_folder)
    except (OSError, RuntimeError) as error:
        raise DatasetError(f"Fashion-MNIST could not be downloaded ({error}); {ways_out}") from error


def read_split(folder: Path, split: str) -> tuple[Pixels, Pixels]:
    """Return images (N, 28, 28) with 0 for background, and class indices (N,). Raises DatasetError."""
    image_file, class_file = (folder / name for name in FILES[split])
    images, classes = read_idx(image_file), read_idx(class_file)
    if images.shape[1:] != (28, 28):
        raise DatasetError(f"{image_file}: holds arrays of shape {images.shape}, not (N, 28, 28)")
    if classes.shape != images.shape[:1]:
        raise DatasetError(f"{class_file}: {classes.shape} classes for {len(images)} images of {image_file.name}")
    if classes.max(initial=0) >= len(ARTICLE_TYPES):
        raise DatasetError(f"{class_file}: holds class {classes.max()}, Fashion-MNIST has 0 to 9")
    return images, classes


def read_idx(path: Path) -> Pixels:
    """Return the uint8 array of a gzipped idx file. Raises DatasetError if it is missing or damaged."""
    try:
        data = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: is not a whole gzip file ({error})") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise DatasetError(f"{path}: is not an idx file of bytes")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if body.size != np.prod(shape, dtype=np.int64):
        raise DatasetError(f"{path}: announces {shape} and holds {body.size} bytes")
    return body.reshape(shape)


def balanced_subset(classes: Pixels, wanted: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return ascending indices of `wanted` images (0: all), class counts differing by one at most."""
    if not wanted:
        return np.arange(len(classes))
    if wanted < 0:
        raise ValueError(f"a number of images cannot be negative: {wanted}")
    present = rng.permutation(np.unique(classes))
    each, over = divmod(wanted, len(present))
    chosen = []
    for position, index in enumerate(present):
        of_class, quota = np.flatnonzero(classes == index), each + (position < over)
        if quota > len(of_class):
            raise ValueError(f"{quota} images of {ARTICLE_TYPES[index]!r} wanted, the source has {len(of_class)}")
        chosen.append(rng.choice(of_class, quota, replace=False))
    return np.sort(np.concatenate(chosen))


def write_images(images: Pixels, indices: npt.NDArray[np.int64], folder: Path) -> None:
    """Write each of `images` (N, 28, 28) as FOLDER/INDEX.png; the name gives nothing away."""
    folder.mkdir(parents=True, exist_ok=True)
    # The data set stores negatives; turned back, they are photographs on white like any catalogue's.
    for index, image in zip(indices, 255 - images, strict=True):
        Image.fromarray(image).save(folder / f"{index:05d}.png", compress_level=1)


def write_rows(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write `rows` as an ingest file with `columns`; a column that a row lacks is empty."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval=UNKNOWN, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def describe(
    images: Pixels,
    classes: Pixels,
    indices: npt.NDArray[np.int64],
    split: str,
    attributes: Sequence[str] = ATTRIBUTES,
) -> list[dict[str, str]]:
    """Return one row an image with everything that its class and its pixels tell, nothing hidden."""
    article_types = [ARTICLE_TYPES[i] for i in classes]
    columns = {name: cells_of(name, images, article_types) for name in attributes}
    rows = []
    for i, (index, article_type) in enumerate(zip(indices, article_types, strict=True)):
        sku = f"FM-{split}-{index:05d}"
        rows.append(
            {
                "image": f"{split}/{index:05d}.png",
                "sku": sku,
                "article_type": article_type,
                "split": "val" if split == "train" and is_validation(sku) else split,
                **{name: cells[i] for name, cells in columns.items()},
            }
        )
    return rows


def cells_of(name: str, images: Pixels, article_types: Sequence[str]) -> list[str]:
    """Return the column of the attribute `name`: one cell an image (N, 28, 28)."""
    if name == "tone":
        return tone(images)
    if name in PIXEL_ATTRIBUTES:
        return [N_A if cell is None else cell for cell in pixel_cells(images, article_types, name)]
    cells = [FROM_CLASS[name].get(article_type, N_A) for article_type in article_types]
    if name == "shoe_height":
        heights = product(images).any(axis=2).sum(axis=1)  # (N,), pixel rows that the product spans
        for i, height in enumerate(heights):
            if article_types[i] == "sneaker" and height > LOW_SNEAKER_ROWS:
                cells[i] = "low|high"
    return cells


def is_validation(sku: str) -> bool:
    """Return whether a training-side product validates: decided by its sku alone, so seeds do not move it."""
    return int.from_bytes(hashlib.sha256(sku.encode()).digest()[:4], "big") % 100 < VALIDATION_PERCENT


def hide(rows: list[dict[str, str]], hidden: float, seed: int, attributes: Iterable[str]) -> dict[str, Coverage]:
    """Empty the share `hidden` of each attribute's told cells in training-side `rows`, in place.

    Each attribute draws its own rows, so that hardly any image keeps all of its labels or loses them all.
    """
    training = [row for row in rows if row["split"] != "test"]
    coverage = {}
    for name in attributes:
        told = [row for row in training if row[name] != UNKNOWN]
        rng = np.random.default_rng([seed, 2, ALL_ATTRIBUTES.index(name)])
        for i in rng.permutation(len(told))[: round(hidden * len(told))]:
            told[i][name] = UNKNOWN
        cells = [row[name] for row in told]
        not_applicable = cells.count(N_A)
        ambiguous = 0 if name in MULTI_LABEL else sum("|" in cell for cell in cells)
        coverage[name] = Coverage(
            rows=len(training),
            told=len(told),
            labelled=len(cells) - cells.count(UNKNOWN) - not_applicable - ambiguous,
            ambiguous=ambiguous,
            not_applicable=not_applicable,
        )
    return coverage


@click.command()
@click.option("--source", type=click.Path(path_type=Path, file_okay=False), help="Folder of the four idx .gz files.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write.")
@click.option("--train", default=0, show_default=True, help="Training-side images (train and val); 0 for all.")
@click.option("--test", default=0, show_default=True, help="Test images; 0 for all.")
@click.option("--hidden", default=0.6, show_default=True, help="Share of the labels hidden outside the test split.")
@click.option("--seed", default=0, show_default=True, help="Seed of the subsets and of what is hidden.")
@click.option("--more", is_flag=True, help="Write the nine attributes that follow from pixels, too.")
def main(source: Path | None, out: Path, train: int, test: int, hidden: float, seed: int, more: bool) -> None:
    """Write Fashion-MNIST as a partially labelled catalogue."""
    attributes = ALL_ATTRIBUTES if more else ATTRIBUTES
    try:
        made = make_dataset(out, source=source, train=train, test=test, hidden=hidden, seed=seed, attributes=attributes)
    except (DatasetError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    print(f"{made.ingest_file}: " + ", ".join(f"{n} {split}" for split, n in made.counts.items()))
    for name, c in made.coverage.items():
        kinds = f"{c.labelled} labelled, {c.ambiguous} ambiguous, {c.not_applicable} n/a"
        print(f"  {name:18} {c.share:4.0%} visible: {kinds}")


if __name__ == "__main__":
    main()
