"""Public names can be imported, and everything public says what it is."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

import attributree

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(attributree.__path__, "attributree.")
    if ".migrations" not in module.name
)


def own(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the public functions and classes that a module itself defines."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class adds to its bases; a redefined one is described there."""
    for name, value in vars(cls).items():
        inherited = any(hasattr(base, name) for base in cls.__bases__)
        if name.startswith("_") or inherited or name == "forward":
            continue
        if inspect.isfunction(value) or isinstance(value, (property, classmethod)):
            yield f"{cls.__name__}.{name}", value


def test_every_public_name_can_be_imported() -> None:
    for name in attributree.__all__:
        assert getattr(attributree, name) is not None
    assert list(attributree.__all__) == sorted(attributree.__all__)


def test_plugins_find_every_head_under_one_module() -> None:
    heads = import_module("attributree.heads")
    assert set(heads.HEADS.values()) == {getattr(heads, name) for name in heads.__all__ if name.endswith("Head")}
    assert list(heads.__all__) == sorted(
        heads.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'workspace_'"):
        _ = attributree.workspace_


def test_every_module_and_everything_public_in_it_has_a_docstring() -> None:
    bare: list[str] = []
    for name in MODULES:
        module = import_module(name)
        found: dict[str, Any] = {"": module, **dict(own(module))}
        protocols = [value for value in found.values() if getattr(value, "_is_protocol", False)]
        for cls in [value for value in found.values() if inspect.isclass(value) and value not in protocols]:
            found |= dict(methods(cls))
        bare += [f"{name}.{key}".rstrip(".") for key, value in found.items() if not (value.__doc__ or "").strip()]
    assert bare == []


def test_what_a_module_lists_is_there_once() -> None:
    for name in MODULES:
        module = import_module(name)
        listed = getattr(module, "__all__", [])
        assert [entry for entry in listed if not hasattr(module, entry)] == [], name
        assert len(set(listed)) == len(listed), name


def test_every_module_is_looked_at() -> None:
    assert len(MODULES) > 100
