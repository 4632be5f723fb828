"""The plugin contract finds what is wrong with a plugin, each fault by its own test."""

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from attributree import Attribute
from attributree.errors import PluginError
from attributree.plugins import LoadedPlugins, load_plugins
from attributree.testing import AttributeContract

Write = Callable[..., "Subject"]

DECLARING = """
from attributree import Attribute, Ordinal, SingleLabel, Value, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute("hem", SingleLabel({values}))]
"""
HEAD = """
@hookimpl
def attributree_branch_head(attribute, in_features):
    from torch import nn
    import torch

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(in_features, attribute.labels.outputs)
            self.spare = nn.Parameter(torch.zeros(attribute.labels.outputs))
            self.calls = 0

        def forward(self, features):
            self.calls += 1
            {answer}

    return Head()
"""


class Subject(AttributeContract):
    """The contract for one module; its tests are called by hand."""

    def __init__(self, plugin: str, examples: tuple[tuple[str, str | None], ...] = ()) -> None:
        self.plugin, self.examples = plugin, examples

    @property
    def there(self) -> LoadedPlugins:
        return load_plugins(entry_points=[EntryPoint("plugin", self.plugin, "attributree")])

    @property
    def hem(self) -> Attribute:
        return self.there.attributes["hem"]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the plugin's module: its declaration and more."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"contract_{tmp_path.name}"

    def make(more: str = "", values: str = '("mini", "knee", "midi", "maxi")', **options: Any) -> Subject:
        (tmp_path / f"{name}.py").write_text(DECLARING.format(values=values) + more, encoding="utf-8")
        return Subject(name, **options)

    return make


def test_a_plugin_that_does_not_load_is_told_why(write: Write) -> None:
    subject = write(values='("mini",)')
    with pytest.raises(AssertionError, match="at least 2 are needed"):
        subject.test_it_loads_without_complaint(subject.there)


def test_a_slip_in_the_name_of_an_argument_with_a_default_is_found(write: Write) -> None:
    subject = write("@hookimpl\ndef attributree_branch_head(attribute, in_feature=512):\n    return None\n")
    assert subject.there.problems == ()  # nobody else sees it
    with pytest.raises(AssertionError, match="attributree_branch_head"):
        subject.test_its_hooks_take_arguments_by_the_names_that_are_given(subject.there)


def test_values_in_an_order_that_changes_are_found(write: Write) -> None:
    subject = write(values='{"mini", "knee", "midi", "maxi", "floor", "calf"}')
    with pytest.raises(AssertionError):
        subject.test_the_declaration_is_the_same_in_every_process(subject.hem)


def test_an_import_of_torch_is_found(write: Write) -> None:
    subject = write("import torch\n")
    with pytest.raises(AssertionError, match="torch"):
        subject.test_declaring_imports_nothing_heavy(subject.hem)


@pytest.mark.parametrize("example", [("calf length", "midi"), ("mini", None), ("mini", "maxi")])
def test_a_cell_that_is_read_otherwise_is_found(write: Write, example: tuple[str, str | None]) -> None:
    subject = write(examples=(example,))
    with pytest.raises(AssertionError):
        subject.test_cells_are_read_as_the_examples_say(subject.hem)


def test_a_head_that_wants_a_larger_map_is_found(write: Write) -> None:
    subject = write(HEAD.format(answer="return self.linear(features[:, :, 1, 1]) + self.spare"))
    subject.test_its_head_answers_maps_of_every_size(subject.there, subject.hem, 7, 7)
    with pytest.raises(IndexError):
        subject.test_its_head_answers_maps_of_every_size(subject.there, subject.hem, 1, 1)


def test_a_head_of_another_shape_is_found(write: Write) -> None:
    subject = write(HEAD.format(answer="return self.linear(features.mean(dim=(2, 3)))[:, 1:]"))
    with pytest.raises(PluginError, match=r"the head of 'hem' returned \(2, 3\)"):
        subject.test_its_head_learns(subject.there, subject.hem)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("return self.linear(features.mean(dim=(2, 3)))", "spare has no part in the answer"),
        ("return self.linear((features.amax(dim=(2, 3)) * 0).sqrt()) + self.spare", "features"),
        ("return self.spare.expand(len(features), -1) + 0 * self.linear.weight.sum()", None),
    ],
)
def test_a_head_that_cannot_learn_is_found(write: Write, answer: str, reason: str | None) -> None:
    subject = write(HEAD.format(answer=answer))
    with pytest.raises(AssertionError, match=reason):
        subject.test_its_head_learns(subject.there, subject.hem)


def test_a_head_that_remembers_more_than_its_weights_is_found(write: Write) -> None:
    subject = write(HEAD.format(answer="return self.linear(features.mean(dim=(2, 3))) + self.spare + self.calls"))
    with pytest.raises(AssertionError):
        subject.test_its_head_answers_the_same_once_it_is_stored(subject.there, subject.hem)


def test_a_branch_that_learns_nothing_is_found(
    write: Write, attributree_workspace: Callable[..., Any], tmp_path: Path
) -> None:
    subject = write(HEAD.format(answer="return self.spare + 0 * self.linear(features.mean(dim=(2, 3)))"))
    with pytest.raises(AssertionError, match="rejected"):
        subject.test_a_branch_grows_and_answers(subject.there, subject.hem, attributree_workspace, tmp_path)


class TestTheAttributeIsNamed(AttributeContract):
    """A plugin of several attributes has a contract for each; `attribute` says which one it is."""

    plugin = "several"
    attribute = "second"

    @pytest.fixture(autouse=True)
    def several(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = DECLARING.format(values='("a", "b")') + (
            '\n@hookimpl(specname="attributree_api")\ndef api():\n    return ">=1"\n'
        )
        source = source.replace('[Attribute("hem"', '[Attribute("second", Ordinal(("x", "y", "z"))), Attribute("hem"')
        (tmp_path / "several.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
