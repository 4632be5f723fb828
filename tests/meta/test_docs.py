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
ARCHITECTURE = DOCS / "architecture.md"
DECISIONS = sorted(DOCS.glob("decisions/0*.md"))
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
#: Pages that mkdocs does not look at.
OUTSIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "plugins/README.md")]
OUTSIDE += sorted((ROOT / "benchmarks").glob("*.md"))
#: `path.py` or `path.py: name`, as the walk names files and what is in them; a name may stand on the next line.
NAMED = re.compile(r"`([a-z_/]+\.py)(?::\s+(\w+))?`")


def test_every_page_can_be_reached_from_the_first_and_from_the_menu() -> None:
    pages = {path.name for path in DOCS.glob("*.md")} - {"index.md"}
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    first = (DOCS / "index.md").read_text(encoding="utf-8")
    assert len(pages) >= 6
    assert [page for page in sorted(pages) if f": {page}\n" not in menu] == []
    assert [page for page in sorted(pages) if f"({page})" not in first] == []


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_outside_docs_links_to_files_that_are_there(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_readme_is_two_screens_and_a_half_and_the_architecture_one_page() -> None:
    assert len(lines(ROOT / "README.md")) <= 140
    assert len(lines(ARCHITECTURE)) <= 120


# -- decisions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_a_page_with_number_date_and_three_sections_that_the_menu_and_the_index_list(path: Path) -> None:
    title, _, date, *rest = lines(path)
    number = int(path.name[:4])
    assert title.startswith(f"# {number}. ")
    assert re.match(r"20\d\d-\d\d-\d\d", date)
    assert [line for line in rest if line.startswith("#")] == ["## Context", "## Decision", "## Consequences"]
    assert len(rest) < 50
    assert f"decisions/{path.name}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    assert f"| {number} | [{title.partition('. ')[2]}]({path.name}) | {date[:10]} |" in listed


def test_decisions_are_numbered_without_a_gap() -> None:
    assert len(DECISIONS) > 20
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


# -- figures -----------------------------------------------------------------------------------------


def test_every_figure_names_its_commit_and_its_machine() -> None:
    _, *sections = re.split(r"^## ", RESULTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(sections) > 10
    for section in sections:
        _, _, begin, *_ = section.splitlines()
        assert re.match(r"(Commit|Written down in) `[0-9a-f]{7}`", begin), begin
        assert "achine" in section.partition("\n\n")[2].partition("\n\n")[0], begin


def test_the_readmes_result_is_one_of_them() -> None:
    figures = RESULTS.read_text(encoding="utf-8")
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## One result\n")[2].partition("\n## ")[0]
    shown = re.findall(r"0\.\d{3}", section)
    assert len(shown) == 12
    rounded = {f"{float(figure):.3f}" for figure in re.findall(r"0\.\d{4}", figures)}
    assert set(shown) <= rounded


# -- the architecture --------------------------------------------------------------------------------


def test_the_architecture_names_every_room() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    table = ARCHITECTURE.read_text(encoding="utf-8").partition("\n## Rooms\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)/`", table))
    assert rooms - named == set()
    assert named - rooms == set()


@pytest.mark.parametrize(
    ("path", "name"), sorted(set(NAMED.findall(ARCHITECTURE.read_text(encoding="utf-8")))), ids=lambda part: part or "-"
)
def test_the_files_and_tests_that_the_architecture_names_are_there(path: str, name: str) -> None:
    (file,) = [folder / path for folder in (ROOT, PACKAGE) if (folder / path).is_file()]
    functions = re.findall(r"^def (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert not name or name in functions


def test_six_invariants_each_have_a_test() -> None:
    table = ARCHITECTURE.read_text(encoding="utf-8").partition("\n## Six invariants\n")[2].partition("\n## ")[0]
    held = [NAMED.findall(row) for row in table.strip().splitlines()[2:]]
    assert len(held) == 6
    assert all(path.startswith("tests/") and name for tests in held for path, name in tests)
    assert all(held)


# -- the walk ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(WALK.read_text(encoding="utf-8")))))
def test_what_the_walk_passes_is_there(path: str, name: str) -> None:
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert not name or name in defined


def test_the_walk_passes_most_rooms() -> None:
    named = NAMED.findall(WALK.read_text(encoding="utf-8"))
    assert {"labels", "plugins", "sync", "images", "training", "registry", "inference"} <= {
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
