"""New plugins from templates: what is written is Python that declares what was asked for."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value
from attributree.errors import PluginError, SchemaError
from attributree.plugins import load_plugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.plugins.scaffold import (
    Draft,
    distribution_files,
    plugin_name,
    read_value,
    write_distribution,
    write_one_file,
)
from attributree.schema import NONE_OF_THEM, NOT_APPLICABLE, RESERVED_COLUMNS, RESERVED_NAMES, fold

HEM = Attribute("hem", Ordinal(("mini", Value("midi", synonyms=("calf length",)), "maxi")), applies_to=("dress",))
LONG = Attribute(
    "sleeve_length",
    MultiLabel(
        (
            Value(
                "three_quarter",
                title="Three-quarter",
                synonyms=("3/4 sleeve", "3/4 sleeves", "three quarter sleeve", "three quarter sleeves", 'the "usual"'),
                formerly=("elbow",),
                translations={"de": ("dreiviertellang", "Dreiviertelarm"), "pt-BR": ("três quartos",)},
            ),
            Value("long"),
        ),
        closed_world=False,
    ),
    description="How far it reaches.",
    applies_to=("top", "dress", "a long name of an article type", "another long name of an article type"),
)
DRAFTS = (Draft("hem", HEM), Draft("sleeves", LONG, head=True, counts={"three_quarter": 1, "long": 1234}))


def declared_by(source: str) -> Attribute:
    """Return what a module's source declares."""
    module: dict[str, Any] = {}
    exec(source, module)
    (attribute,) = module["attributree_attributes"]()
    assert isinstance(attribute, Attribute)
    return attribute


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: draft.name)
def test_the_module_declares_the_attribute(draft: Draft) -> None:
    source = distribution_files(draft)[f"src/{draft.package}/__init__.py"]
    declared = declared_by(source)
    assert declared == draft.attribute
    assert declared.digest == draft.attribute.digest
    assert declared.description == draft.attribute.description


def test_the_counts_stand_beside_the_values() -> None:
    source = distribution_files(DRAFTS[1])["src/attributree_sleeves/__init__.py"]
    assert "Value(  # 1 image\n" in source
    assert '            Value("long"),  # 1234 images\n' in source


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: draft.name)
def test_a_formatter_and_a_linter_have_nothing_to_add(draft: Draft, tmp_path: Path) -> None:
    folder = write_distribution(draft, tmp_path)
    for command in (["format", "--check", "--diff"], ["check", "--select", "E,F,W,I,B,UP,RUF,N"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", str(folder)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# Line ends and the like are stored verbatim; surrogates cannot be in a database.
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="|"), min_size=1, max_size=30).filter(
    lambda text: fold(text) not in ("", fold(NOT_APPLICABLE), NONE_OF_THEM)
)


@given(spellings=st.lists(texts, min_size=4, max_size=8, unique_by=fold), article_types=st.lists(texts, max_size=3))
def test_whatever_people_wrote_in_cells_becomes_source_that_means_it(
    spellings: list[str], article_types: list[str]
) -> None:
    first, second, *rest = spellings
    try:
        values = (Value(first.strip(), synonyms=tuple(rest)), Value(second.strip(), title=second))
        attribute = Attribute("hem", SingleLabel(values), applies_to=tuple(article_types))
    except SchemaError:  # a title that capitalizes to another value's spelling
        return
    files = distribution_files(Draft("hem", attribute, counts={first.strip(): 3}))
    assert declared_by(files["src/attributree_hem/__init__.py"]) == attribute
    compile(files["tests/test_hem.py"], "test_hem.py", "exec")
    assert len(files["README.md"].split("\n")) == 15


def test_a_distribution_is_written_whole_and_never_over_anything(tmp_path: Path) -> None:
    folder = write_distribution(Draft("hem", HEM), tmp_path / "new" / "folder")
    assert folder == tmp_path / "new" / "folder" / "attributree-hem"
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == distribution_files(Draft("hem", HEM)).keys()
    assert [path.name for path in folder.parent.iterdir()] == ["attributree-hem"]
    (folder / "README.md").write_text("mine")
    with pytest.raises(PluginError, match="attributree-hem is there already; give another name"):
        write_distribution(Draft("hem", HEM), folder.parent)
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize("there", ["folder", "file", "dangling link"])
def test_an_empty_folder_a_file_or_a_link_of_that_name_is_left_alone(tmp_path: Path, there: str) -> None:
    target = tmp_path / "attributree-hem"
    if there == "folder":
        target.mkdir()
    elif there == "file":
        target.write_text("")
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(PluginError, match="is there already"):
        write_distribution(Draft("hem", HEM), tmp_path)
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PluginError, match="attributree-hem cannot be written: File exists"):
        write_distribution(Draft("hem", HEM), tmp_path / "file")


def test_one_file_is_a_plugin_and_is_never_overwritten(tmp_path: Path) -> None:
    file = write_one_file(Draft("hem", HEM), tmp_path / "plugins")
    assert file == tmp_path / "plugins" / "hem.py"
    assert declared_by(file.read_text(encoding="utf-8")) == HEM
    file.write_text("mine")
    with pytest.raises(PluginError, match=r"hem\.py is there already"):
        write_one_file(Draft("hem", HEM), tmp_path / "plugins")
    assert file.read_text() == "mine"
    with pytest.raises(PluginError, match="leave out --head, or --one-file"):
        write_one_file(Draft("sleeves", LONG, head=True), tmp_path / "plugins")


def test_a_head_comes_with_it_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    folder = write_distribution(Draft("sleeves_too", HEM, head=True), tmp_path)
    monkeypatch.syspath_prepend(folder / "src")
    loaded = load_plugins(entry_points=[EntryPoint("sleeves_too", "attributree_sleeves_too", "attributree")])
    loaded.require_healthy()
    answer = loaded.first(attributree_branch_head, loaded.attributes["hem"], in_features=4)
    assert answer is not None
    assert type(answer.value).__name__ == "HemHead"
    assert answer.value(torch.randn(2, 4, 3, 5)).shape == (2, 2)


@pytest.mark.parametrize(
    ("text", "name"),
    [("hem", "hem"), ("sleeve-length", "sleeve_length"), ("attributree-hem", "hem"), ("top2_fit", "top2_fit")],
)
def test_a_name_is_words_of_lower_case_letters(text: str, name: str) -> None:
    assert plugin_name(text) == name
    assert Draft(text, HEM).package == f"attributree_{name}"


@pytest.mark.parametrize(
    "text", ["", "Hem", "hem length", "../hem", "hem/", "-hem", "hem-", "2tone", "he--m", "säume", "hem\n", "a.b"]
)
def test_a_name_that_no_distribution_can_have_is_refused(text: str) -> None:
    with pytest.raises(PluginError, match="is no plugin name: write lower-case letters and digits"):
        plugin_name(text)


def test_reserved_names_are_refused_by_the_schema() -> None:
    for name in RESERVED_COLUMNS | RESERVED_NAMES:
        with pytest.raises(SchemaError, match="choose another"):
            Attribute(name, HEM.labels)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mini", Value("mini")),
        ("V-neck", Value("v_neck", title="V-neck")),
        ("calf length", Value("calf_length")),
        ("midi=calf length| below the knee |", Value("midi", synonyms=("calf length", "below the knee"))),
    ],
)
def test_a_value_is_a_key_and_its_synonyms(text: str, value: Value) -> None:
    assert read_value(text) == value


@pytest.mark.parametrize("text", ["", " ", "=calf", "a|b", "n/a"])
def test_a_value_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(SchemaError):
        read_value(text)
