"""Every hook is documented with its exact signature, and tested."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attributree import hookspecs
from attributree.plugins import HOOKS

ROOT = Path(__file__).parents[2]
SPECS: dict[str, Callable[..., Any]] = {
    name: value for name, value in vars(hookspecs).items() if hasattr(value, "attributree_spec")
}
PAGE = ROOT / "docs" / "hooks.md"


def test_the_specifications_are_the_hooks_that_are_called() -> None:
    assert tuple(SPECS) == HOOKS


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_says_what_it_is_for(name: str) -> None:
    first, _, rest = (inspect.getdoc(SPECS[name]) or "").partition("\n")
    assert first.startswith("Return ")
    assert rest.strip()


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_is_documented_with_its_exact_signature(name: str) -> None:
    heading = f"## `{name}{str(inspect.signature(SPECS[name])).replace(chr(39), '')}`"
    assert heading in PAGE.read_text(encoding="utf-8").splitlines()


def test_no_hook_is_documented_that_is_not_there() -> None:
    headings = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## `")]
    assert [heading.removeprefix("## `").partition("(")[0] for heading in headings] == list(SPECS)


def test_the_page_names_the_version_of_the_hooks() -> None:
    assert f"hook API version {hookspecs.API_VERSION}." in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_is_called_by_the_core(name: str) -> None:
    core = ROOT / "core" / "attributree"
    callers = [core / "plugins.py", core / "starting.py"]
    assert any(f'"{name}"' in path.read_text(encoding="utf-8") for path in callers)


def test_the_hooks_of_this_version_are_written_down_so_that_a_change_raises_it() -> None:
    arguments = {name: tuple(inspect.signature(spec).parameters) for name, spec in SPECS.items()}
    assert (hookspecs.API_VERSION, arguments) == (
        "1.1",
        {
            "attributree_api": (),
            "attributree_attributes": (),
            "attributree_branch_head": ("attribute", "in_features"),
            "attributree_loss": ("attribute",),
            "attributree_augmentation": ("attribute",),
            "attributree_normalize_label": ("attribute", "text"),
            "attributree_catalog_source": ("path",),
            "attributree_commands": (),
            "attributree_after_sync": ("report",),
        },
    )


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_is_typed(name: str) -> None:
    signature = inspect.signature(SPECS[name])
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values())


def test_the_page_says_plainly_that_a_plugin_is_code_with_its_users_rights() -> None:
    assert "**A plugin is code with your rights.**" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_is_tested(name: str) -> None:
    tests = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/test_*.py")]
    mention = [path for path in tests if name in path.read_text(encoding="utf-8")]
    assert mention
