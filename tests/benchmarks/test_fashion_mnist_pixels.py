"""What is measured on the pixels: drawn products get the value a person would give, and cut-offs are as stated."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from attributree import MultiLabel, Ordinal
from attributree.plugins import load_plugins

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ("attributree-fashion-mnist", "attributree-fashion-mnist-more")
Pixels = npt.NDArray[np.uint8]
Box = tuple[slice, slice]


@pytest.fixture
def fashion(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("fashion_mnist")


@pytest.fixture
def pixels(fashion: ModuleType) -> ModuleType:
    return importlib.import_module("fashion_mnist_pixels")


@pytest.fixture
def read(pixels: ModuleType) -> Callable[[str, Pixels], str]:
    """Reads one attribute of one picture."""

    def value(name: str, picture: Pixels) -> str:
        read: str = pixels.MEASURED[name].read(picture[None])[0]
        return read

    return value


def drawn(*boxes: Box, ink: int = 200, light: tuple[Box, ...] = ()) -> Pixels:
    """Return a picture of the boxes (rows, columns) filled with `ink`, those of `light` cut out again."""
    picture = np.zeros((28, 28), np.uint8)
    for box in boxes:
        picture[box] = ink
    for box in light:
        picture[box] = 0
    return picture


@pytest.mark.parametrize(
    ("rows", "columns", "value"),
    [
        (slice(0, 28), slice(9, 20), "narrow"),
        (slice(0, 28), slice(4, 25), "regular"),
        (slice(9, 20), slice(0, 28), "wide"),
    ],
)
def test_proportion_is_width_to_height(
    read: Callable[[str, Pixels], str], rows: slice, columns: slice, value: str
) -> None:
    assert read("proportion", drawn((rows, columns))) == value


@pytest.mark.parametrize(("hem", "value"), [(3, "tapered"), (6, "straight"), (9, "flared")])
@pytest.mark.parametrize("top", [0, 8])
def test_silhouette_compares_the_hem_with_the_middle_wherever_the_product_stands(
    read: Callable[[str, Pixels], str], hem: int, value: str, top: int
) -> None:
    edge = top + 2 * (28 - top) // 3
    picture = drawn((slice(top, edge), slice(8, 20)), (slice(edge, 28), slice(14 - hem, 14 + hem)))
    assert read("silhouette", picture) == value


@pytest.mark.parametrize(("width", "value"), [(8, "sparse"), (13, "half"), (24, "full")])
def test_frame_fill_counts_the_products_pixels(read: Callable[[str, Pixels], str], width: int, value: str) -> None:
    assert read("frame_fill", drawn((slice(0, 28), slice(2, 2 + width)))) == value


@pytest.mark.parametrize(("heel", "value"), [(0, "none"), (4, "low"), (9, "high")])
def test_the_heel_is_the_light_in_front_of_it_and_a_wedge_has_none(
    read: Callable[[str, Pixels], str], heel: int, value: str
) -> None:
    shoe = (slice(10, 14), slice(0, 28))
    toe, back = (slice(14, 14 + heel), slice(0, 6)), (slice(14, 14 + heel), slice(24, 28))
    assert read("heel_gap", drawn(shoe, toe, back)) == value
    assert read("heel_gap", drawn(shoe, (slice(14, 14 + heel), slice(0, 28)))) == "none"


def test_surface_sees_stripes_on_the_chest_but_neither_arms_nor_outline(read: Callable[[str, Pixels], str]) -> None:
    shirt = drawn((slice(0, 28), slice(4, 24)))
    striped, armed = shirt.copy(), shirt.copy()
    striped[::3] //= 4
    armed[:, 4:9:2] //= 4
    assert read("surface", striped) == "patterned"
    assert read("surface", armed) == read("surface", shirt) == "plain"
    assert read("surface", drawn((slice(0, 28), slice(12, 16)))) == "plain"  # the background beside it is no pattern


def test_symmetry_is_of_the_outline_and_does_not_ask_for_the_middle_of_the_frame(
    read: Callable[[str, Pixels], str],
) -> None:
    bag = (slice(10, 26), slice(8, 25))
    printed = drawn(bag)
    printed[12:20, 10:14] = 40
    assert read("symmetry", printed) == "symmetric"
    assert read("symmetry", drawn(bag, (slice(14, 26), slice(2, 8)))) == "asymmetric"


def test_a_handle_is_an_arch_above_the_bag(read: Callable[[str, Pixels], str]) -> None:
    body = (slice(12, 26), slice(2, 26))
    gap = ((slice(5, 12), slice(10, 18)),)
    assert read("handle", drawn(body, (slice(3, 12), slice(8, 20)), light=gap)) == "raised"
    assert read("handle", drawn(body)) == "flat"
    window = ((slice(15, 22), slice(6, 22)),)  # something light on the bag, under more than a strap
    assert read("handle", drawn((slice(6, 26), slice(2, 26)), light=window)) == "flat"


def test_the_hem_is_above_the_cuffs_where_the_sleeves_hang_lower(read: Callable[[str, Pixels], str]) -> None:
    sleeves = (slice(2, 28), slice(2, 7)), (slice(2, 28), slice(21, 26))
    assert read("hem", drawn((slice(0, 22), slice(7, 21)), *sleeves)) == "above_cuffs"
    assert read("hem", drawn((slice(0, 27), slice(7, 21)), *sleeves)) == "lowest"


def test_a_shade_is_named_if_it_covers_a_fifth(pixels: ModuleType) -> None:
    pictures = np.full((4, 28, 28), 250, np.uint8)  # dark
    pictures[1, :, :14] = 40
    pictures[2, :, :4] = 40
    pictures[3, :10], pictures[3, 10:20] = 120, 40
    assert pixels.shades(pictures) == ["dark", "dark|light", "dark", "dark|medium|light"]


def test_an_empty_photograph_has_a_value_everywhere(pixels: ModuleType) -> None:
    empty = np.zeros((1, 28, 28), np.uint8)
    assert pixels.tone(empty) == pixels.shades(empty) == ["light"]
    for name, measurement in pixels.MEASURED.items():
        assert measurement.read(empty) == [measurement.values[0]], name


def test_questions_are_put_only_to_the_article_types_they_fit(fashion: ModuleType, pixels: ModuleType) -> None:
    pictures = np.stack([drawn((slice(0, 28), slice(4, 24)))] * 3)
    assert pixels.pixel_cells(pictures, ["bag", "coat", "bag"], "handle") == ["flat", None, "flat"]
    assert fashion.cells_of("handle", pictures, ["bag", "coat", "bag"]) == ["flat", "n/a", "flat"]
    assert None not in pixels.pixel_cells(pictures, ["bag", "coat", "bag"], "shades")


def test_the_plugin_declares_what_is_measured(
    fashion: ModuleType, pixels: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / f"benchmarks/{DISTRIBUTIONS[1]}/src"))
    declared = {a.name: a for a in importlib.import_module("attributree_fashion_mnist_more").attributree_attributes()}
    assert tuple(declared) == pixels.PIXEL_ATTRIBUTES
    assert declared["shades"].labels.keys == pixels.SHADES
    multi = {name for name, attribute in declared.items() if isinstance(attribute.labels, MultiLabel)}
    assert multi == fashion.MULTI_LABEL
    for name, measurement in pixels.MEASURED.items():
        assert declared[name].labels.keys == measurement.values
        assert declared[name].applies_to == measurement.asked_of
        assert set(measurement.asked_of) <= set(fashion.ARTICLE_TYPES)
        assert len(measurement.cuts) == len(measurement.quantiles) == len(measurement.values) - 1
        assert isinstance(declared[name].labels, Ordinal) == (len(measurement.values) > 2)


@dataclass
class Selection:
    """Which plugins to load."""

    disabled: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    plugin_dirs: tuple[Path, ...] = ()


def test_both_plugins_declare_sixteen_and_without_the_second_there_are_seven(
    fashion: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for distribution in DISTRIBUTIONS:
        monkeypatch.syspath_prepend(str(ROOT / f"benchmarks/{distribution}/src"))
        module = distribution.replace("-", "_")
        about = tmp_path / f"{module}-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.1.0\n")
        (about / "entry_points.txt").write_text(f"[attributree]\n{module.removeprefix('attributree_')} = {module}\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def declared(*disabled: str) -> set[str]:
        loaded = load_plugins(Selection((*others, *disabled), DISTRIBUTIONS[:1]))
        assert loaded.problems == ()
        return set(loaded.attributes)

    others = importlib.import_module("commands").other_plugins(*DISTRIBUTIONS)
    assert declared() == set(fashion.ALL_ATTRIBUTES)
    assert declared(DISTRIBUTIONS[1]) == set(fashion.ATTRIBUTES)


installed = pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="the real data set is not installed"
)


@installed
def test_the_cuts_are_quantiles_of_the_training_images(fashion: ModuleType, pixels: ModuleType) -> None:
    images, classes = fashion.read_split(fashion.DEBIAN_FOLDER, "train")
    kinds = [fashion.ARTICLE_TYPES[i] for i in classes]
    assert pixels.tone_cuts(images) == pixels.TONE_CUTS
    assert {name: pixels.cuts(images, kinds, name) for name in pixels.MEASURED} == {
        name: measurement.cuts for name, measurement in pixels.MEASURED.items()
    }


@installed
def test_no_value_is_rare_among_the_test_images(fashion: ModuleType, pixels: ModuleType) -> None:
    images, classes = fashion.read_split(fashion.DEBIAN_FOLDER, "test")
    kinds = [fashion.ARTICLE_TYPES[i] for i in classes]
    for name, measurement in pixels.MEASURED.items():
        cells = [cell for cell in pixels.pixel_cells(images, kinds, name) if cell is not None]
        shares = {value: cells.count(value) / len(cells) for value in measurement.values}
        assert min(shares.values()) > 0.1, (name, shares)
    shades = [cell.split("|") for cell in pixels.shades(images)]
    shares = {value: np.mean([value in cell for cell in shades]) for value in pixels.SHADES}
    assert min(shares.values()) > 0.1, shares
