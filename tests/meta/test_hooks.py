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
def test_a_hook_is_tested(name: str) -> None:
    tests = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/test_*.py")]
    mention = [path for path in tests if name in path.read_text(encoding="utf-8")]
    assert mention
