"""plugins new, as it is typed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.projects import Project


def test_a_distribution_is_written_where_it_is_wanted(
    new_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = new_project()
    outcome = project.command("plugins", "new", "hem", "--value", "mini", "--value", "maxi", "--into", "mine")
    assert (outcome.code, outcome.out) == (0, "")
    folder = Path("mine/attributree-hem")
    assert outcome.err.splitlines() == [
        f"wrote {folder}",
        f"next: pip install -e {folder}, pytest {folder}, attributree sync-catalog",
    ]
    source = (folder / "src/attributree_hem/__init__.py").read_text()
    assert 'Value("mini"),\n            Value("maxi"),' in source
    again = project.command("plugins", "new", "hem", "--into", "mine")
    assert again.code == 1
    assert again.err == f"error: {folder} is there already; give another name, or another folder with --into\n"


def test_values_that_are_not_named_are_placeholders_and_said_to_be(project: Project, tmp_path: Path) -> None:
    outcome = project.run("plugins", "new", "hem", "--into", tmp_path)
    module = tmp_path / "attributree-hem" / "src" / "attributree_hem" / "__init__.py"
    assert f"its values this and that stand in for yours: edit {module}" in outcome.err
    assert 'Value("this")' in module.read_text()


def test_one_file_is_found_at_once(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    options = ("--one-file", "--kind", "ordinal", "--value", "mini", "--value", "midi", "--applies-to", "dress")
    assert project.run("plugins", "new", "hem", *options, "--into", project.folder / "plugins").code == 0
    with project.open() as workspace:
        workspace.plugins.require_healthy()
        hem = workspace.plugins.attributes["hem"]
    assert (hem.labels.kind, hem.labels.keys, hem.applies_to) == ("ordinal", ("mini", "midi"), ("dress",))


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("Hem",), 1, "is no plugin name"),
        (("title",), 1, "name is a reserved column of label files"),
        (("hem", "--value", "mini"), 1, "values has 1 entries, at least 2 are needed"),
        (("hem", "--value", "mini", "--value", "Mini"), 1, "value 'mini' is declared twice"),
        (("hem", "--kind", "triple"), 2, "Invalid value for '--kind'"),
        (("hem", "--value", "mini", "--from-catalog", "hem"), 2, "cannot be given together"),
        ((), 2, "Missing argument 'NAME'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    project: Project, tmp_path: Path, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    outcome = project.run("plugins", "new", "--into", tmp_path, *arguments)
    assert outcome.code == code
    assert reason in outcome.err
    assert list(tmp_path.iterdir()) == []


# -- from the catalogue ----------------------------------------------------------------------------


@pytest.fixture
def untidy(new_project: Callable[..., Project]) -> Project:
    """A catalogue whose column fit is spelt in many ways, of dresses and tops alone, and that no plugin declares."""
    project = new_project("garment")
    spellings = (*("loose", "Loose") * 4, *("slim", "slim ", "slims") * 2, *["regular"] * 5, "reglar")
    rows = [
        {**row, "fit": spellings[i % 20] if row["article_type"] != "jeans" else "n/a", "note": f"note {i}"}
        for i, row in enumerate(project.garments.rows)
    ]
    assert project.run("ingest", project.labels(rows), "--images", project.photos).code == 0
    return project


def test_a_column_becomes_a_plugin_that_reads_all_its_cells(untidy: Project) -> None:
    plugins = untidy.folder / "plugins"
    outcome = untidy.run("plugins", "new", "fit", "--one-file", "--into", plugins, "--from-catalog")
    assert outcome.code == 0, outcome.err
    assert "images" in (plugins / "fit.py").read_text()
    with untidy.open() as workspace:
        workspace.plugins.require_healthy()
        fit = workspace.plugins.attributes["fit"]
        assert set(fit.labels.keys) == {"loose", "slim", "regular"}
        assert fit.labels.kind == "single"
        assert set(fit.applies_to) == {"top", "dress"}
        assert [value.key for text in ("slims", "reglar") if (value := fit.labels.find(text))] == ["slim", "regular"]
    assert untidy.run("sync-catalog", "--no-train").code == 0
    found = untidy.run("status", "--json").json["attributes"]["fit"]
    stated = sum(row["article_type"] != "jeans" for row in untidy.garments.rows)
    assert (found["labelled"], found["unreadable"]) == (stated, [])


def test_the_distribution_may_have_another_name_than_the_column(untidy: Project, tmp_path: Path) -> None:
    options = ("--kind", "ordinal", "--applies-to", "dress", "--into", tmp_path)
    outcome = untidy.run("plugins", "new", "cut", *options, "--from-catalog", "fit")
    assert "its values are in order of frequency; put them from least to most" in outcome.err
    source = (tmp_path / "attributree-cut/src/attributree_cut/__init__.py").read_text()
    assert source.startswith('"""Fit, for attributree."""')
    assert 'applies_to=("dress",),\n    labels=Ordinal(' in source


def test_several_values_in_a_cell_make_a_multi_label_attribute(
    new_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = new_project("garment")
    rows = [{**row, "trim": ("lace", "lace|bows", "bows")[i % 3]} for i, row in enumerate(project.garments.rows)]
    project.run("ingest", project.labels(rows), "--images", project.photos)
    assert project.run("plugins", "new", "trim", "--into", tmp_path, "--from-catalog").code == 0
    assert "labels=MultiLabel(" in (tmp_path / "attributree-trim/src/attributree_trim/__init__.py").read_text()


def test_an_attribute_whose_plugin_is_gone_is_written_as_it_was(grown: Project) -> None:
    with grown.open() as workspace:
        before = workspace.plugins.attributes["sleeves"]
    grown.remove_plugin("sleeves")
    grown.run("plugins", "new", "sleeves", "--one-file", "--into", grown.folder / "plugins", "--from-catalog")
    with grown.open() as workspace:
        assert workspace.plugins.attributes["sleeves"] == before


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("hem", "the catalogue has no undeclared column 'hem'; it has "),
        ("garment", "column 'garment' is declared already, by "),
        ("note", "column 'note' has more than 60 values: it is free text, and no attribute"),
    ],
)
def test_a_column_that_makes_no_plugin_is_told(untidy: Project, tmp_path: Path, column: str, reason: str) -> None:
    outcome = untidy.run("plugins", "new", "trial", "--into", tmp_path, "--from-catalog", column)
    assert outcome.code == 1
    assert reason in outcome.err
    assert list(tmp_path.iterdir()) == []
