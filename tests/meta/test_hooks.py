"""docs/hooks.md says of each hook what hookspecs.py says; `make hooks-reference` writes that part of it anew.

A hook's section is its signature and its docstring, and from the first example on what is written by hand.
"""

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import pytest

from attributree.plugins import hookspecs
from attributree.plugins.hookspecs import HOOKS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "hooks.md"
CORE = ROOT / "core" / "attributree"
SOURCE = CORE / "plugins" / "hookspecs.py"
FIRST_RESULT = "One answer is taken; `None` is none."


def specifications(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the hooks of a module by name, in order."""
    return {name: value for name, value in vars(module).items() if hasattr(value, "attributree_spec")}


SPECS = specifications(hookspecs)


def called() -> set[str]:
    """Return the specifications that the core's code names, beside hookspecs.py: they are what it asks with."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in CORE.rglob("*.py") if path != SOURCE]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return (names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}) & set(SPECS)


CALLED = called()


def heading(name: str, hook: Callable[..., Any]) -> str:
    """Return the heading of a hook's section: its exact signature."""
    return f"## `{name}{str(inspect.signature(hook)).replace(chr(39), '')}`"


def said_of(hook: Callable[..., Any]) -> str:
    """Return what a hook's docstring says, and how its answers are taken."""
    text = (inspect.getdoc(hook) or "").strip()
    firstresult = hook.attributree_spec["firstresult"]  # type: ignore[attr-defined]
    return f"{text}\n\n{FIRST_RESULT}" if firstresult else text


def render(page: str, module: ModuleType = hookspecs) -> str:
    """Return the page with each hook's signature and text as they are now.

    The hooks come in their order. What stands before the first one, in sections that are no hook's, and in each section
    from its first example on, is kept.
    """
    begin, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    by_hand = {found[1]: section for section in sections if (found := re.match(r"## `(\w+)\(", section))}
    parts = [re.sub(r"hook API version [\d.]*\d", f"hook API version {module.API_VERSION}", begin)]
    for name, hook in specifications(module).items():
        _, fence, kept = by_hand.get(name, "").partition("```python")
        parts.append(f"{heading(name, hook)}\n\n{said_of(hook)}\n\n{fence}{kept}")
    parts += [section for section in sections if not section.startswith("## `")]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def examples(name: str) -> list[str]:
    """Return the examples in Python of a hook's section."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"## `{name}(")
    return re.findall(r"^```python\n(.*?)^```$", section.partition("\n## ")[0], re.MULTILINE | re.DOTALL)


def test_every_specification_has_a_check_of_its_answers() -> None:
    assert list(SPECS) == list(HOOKS), "mark it with hookspecs.hookspec(check), and name it attributree_..."
    assert all(name.startswith("attributree_") for name in SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_says_what_it_is_for(name: str) -> None:
    first, _, rest = (inspect.getdoc(SPECS[name]) or "").partition("\n")
    assert first.startswith("Return "), f"{name}: its docstring begins with what a plugin returns"
    assert rest.strip(), f"{name}: its docstring says, after an empty line, when it is asked and what must hold"


def test_the_page_says_what_the_specifications_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == render(page), "docs/hooks.md is not what hookspecs.py says: run `make hooks-reference`"


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_has_an_example_that_takes_its_arguments(name: str) -> None:
    code = ast.parse("\n".join(examples(name)))
    functions = {node.name: node for node in code.body if isinstance(node, ast.FunctionDef)}
    assert name in functions, f"docs/hooks.md: write an example, def {name}(...), into its section"
    assert [ast.unparse(decorator) for decorator in functions[name].decorator_list] == ["hookimpl"]
    taken = {argument.arg for argument in functions[name].args.args}
    assert taken <= set(inspect.signature(SPECS[name]).parameters)


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_is_called_by_the_core(name: str) -> None:
    assert name in CALLED, f"{name}: hand its specification to LoadedPlugins.first or .each where it is needed"


def test_the_hooks_of_this_version_are_written_down_so_that_a_change_raises_it() -> None:
    arguments = {name: tuple(inspect.signature(spec).parameters) for name, spec in SPECS.items()}
    assert (hookspecs.API_VERSION, arguments) == (
        "1.2",
        {
            "attributree_api": (),
            "attributree_attributes": (),
            "attributree_article_types": (),
            "attributree_branch_head": ("attribute", "in_features"),
            "attributree_loss": ("attribute",),
            "attributree_augmentation": ("attribute",),
            "attributree_weights": (),
            "attributree_normalize_label": ("attribute", "text"),
            "attributree_catalog_source": ("path",),
            "attributree_commands": (),
            "attributree_after_sync": ("report",),
        },
    ), "the hooks have changed: raise API_VERSION in hookspecs.py, and write version and arguments here"


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
    assert mention, f"{name}: no test implements it; tests/plugins/test_hooks.py has those of the other hooks"


# -- the generator ---------------------------------------------------------------------------------

hookspec = pluggy.HookspecMarker(hookspecs.PROJECT)


def a_module(version: str, *hooks: Callable[..., Any]) -> ModuleType:
    module = ModuleType("specifications")
    module.API_VERSION = version  # type: ignore[attr-defined]
    for hook in hooks:
        setattr(module, hook.__name__, hook)
    return module


@hookspec
def first(path: Path) -> "list[str]":
    """Return the first thing.

    More of it.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def second() -> None:
    """Return the second."""


OLD = """\
# Hooks

This page is hook API version 1.0. By hand.

## `second(gone)`

What it said then.

```python
def second(): ...
```

By hand, too.

## `removed()`

Nobody has it any more.

## Only these plugins

By hand, at the end.
"""


def test_what_is_generated_is_replaced_and_what_is_written_by_hand_is_kept() -> None:
    module = a_module("1.10", first, second)
    path = "pathlib._local.Path" if Path.__module__ == "pathlib._local" else "pathlib.Path"
    page = render(OLD, module)
    assert page == (
        "# Hooks\n\nThis page is hook API version 1.10. By hand.\n\n"
        f"## `first(path: {path}) -> list[str]`\n\nReturn the first thing.\n\nMore of it.\n\n"
        f"## `second() -> None`\n\nReturn the second.\n\n{FIRST_RESULT}\n\n"
        "```python\ndef second(): ...\n```\n\nBy hand, too.\n\n"
        "## Only these plugins\n\nBy hand, at the end.\n"
    )
    assert render(page, module) == page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
