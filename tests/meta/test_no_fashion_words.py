"""The core knows no clothes: without the plugins nothing of them is left."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = """
    apparel blouse blouses boatneck clothes clothing collar collars cotton denim dress dresses fabric fabrics fashion
    garment garments hem hems jeans lining lapel lapels neck necks neckline necklines outfit outfits shirt shirts shoe
    shoes skirt skirts sleeve sleeved sleeveless sleeves textile textiles trouser trousers turtleneck waist wardrobe
""".split()
#: An underscore, a hyphen or a digit ends a word as well: sleeve_length is a word of fashion.
FASHION = re.compile(rf"(?<![a-z])(?:{'|'.join(WORDS)})(?![a-z])", re.IGNORECASE)
DRAWN = ROOT / "plugins" / "attributree-drawn-shop" / "src" / "attributree_drawn_shop" / "garments.py"


def sources() -> list[Path]:
    """Return every file of the core and of the migrations that a person wrote."""
    found = [path for folder in ("core/attributree", "migrations") for path in (ROOT / folder).rglob("*")]
    return sorted(path for path in found if path.is_file() and path.suffix != ".pyc")


def words_of_fashion(text: str) -> list[str]:
    return [match.group().lower() for match in FASHION.finditer(text)]


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_of_the_core_has_no_word_of_fashion_in_code_comment_or_name(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [f"{number}: {words}" for number, line in enumerate(lines, 1) if (words := words_of_fashion(line))]
    assert not found, path
    assert not words_of_fashion(path.stem)


def test_the_search_finds_words_in_names_and_in_prose_and_leaves_longer_words_alone() -> None:
    assert words_of_fashion('Attribute("sleeve_length")  # V-Neck, Jeans.') == ["sleeve", "neck", "jeans"]
    assert words_of_fashion("the theme addresses a bottleneck") == []


def test_the_search_sees_the_whole_core_and_would_find_the_drawn_garments() -> None:
    assert {path.suffix for path in sources()} >= {".py", ".mako"}
    assert len(sources()) > 90
    assert words_of_fashion(DRAWN.read_text(encoding="utf-8"))


def test_the_configuration_that_init_writes_has_none_either() -> None:
    assert not words_of_fashion((ROOT / "plugins.toml").read_text(encoding="utf-8"))
