"""The pages hang together, and what they say of the code is so."""

import ast
import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "core" / "attributree"
WALK = DOCS / "walk.md"
#: `path.py` or `path.py: name`, as the walk names files and what is in them; a name may stand on the next line.
NAMED = re.compile(r"`([a-z_/]+\.py)(?::\s+(\w+))?`")


def test_every_page_can_be_reached_from_the_first_and_from_the_menu() -> None:
    pages = {path.name for path in DOCS.glob("*.md")} - {"index.md"}
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    first = (DOCS / "index.md").read_text(encoding="utf-8")
    assert len(pages) >= 6
    assert [page for page in sorted(pages) if f": {page}\n" not in menu] == []
    assert [page for page in sorted(pages) if f"({page})" not in first] == []


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(WALK.read_text(encoding="utf-8")))))
def test_what_the_walk_passes_is_there(path: str, name: str) -> None:
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert not name or name in defined


def test_the_walk_passes_most_rooms() -> None:
    named = NAMED.findall(WALK.read_text(encoding="utf-8"))
    assert {"labels", "sync", "training", "registry", "inference", "images"} <= {
        path.partition("/")[0] for path, _ in named
    }
    assert sum(bool(name) for _, name in named) > 20


def test_what_the_walk_shows_is_what_is_computed() -> None:
    # A fence would be taken for output.
    text = re.sub(r"^```.*$", "", WALK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, WALK.name, str(WALK), 0)
    assert len(test.examples) > 12
    outcome = doctest.DocTestRunner().run(test)
    assert outcome.failed == 0
