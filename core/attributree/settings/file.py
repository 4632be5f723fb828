"""plugins.toml, environment and command line, merged and checked; and the commented plugins.toml that `init` writes.

An option wins over the environment (`ATTRIBUTREE_TRAINING__EPOCHS=5`), that over the file, that over the default.
Relative paths in the file are relative to the file's folder; in the environment and in options, to the current one.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import ConfigError
from .models import ArticleTypeSettings, AttributeSettings, Settings, SourceSettings, split_list, weights_place
from .urls import quote_path, unquote_path

FILE_NAME: Final = "plugins.toml"
PREFIX: Final = "ATTRIBUTREE_"
#: Environment variables that are no settings.
NOT_SETTINGS: Final = frozenset({"ATTRIBUTREE_CONFIG", "ATTRIBUTREE_TRACE_PLUGINS"})
_SQLITE_FILE: Final = re.compile(r"^(sqlite(?:\+\w+)?:///)([^?]+)(.*)$", re.DOTALL)
#: Sections that hold a section for each name.
_NAMED: Final[Mapping[str, type[BaseModel]]] = {
    "article_types": ArticleTypeSettings,
    "attributes": AttributeSettings,
    "sources": SourceSettings,
}


def load_settings(
    path: Path | str | None = None,
    *,
    database: str | None = None,
    environ: Mapping[str, str] | None = None,
    required: bool = True,
) -> Settings:
    """Return the merged settings. Raises ConfigError listing every problem as `section -> key: message`.

    `path` defaults to $ATTRIBUTREE_CONFIG, then to ./plugins.toml; with neither there, ConfigError, or the defaults
    if not `required`. `database` is the option of that name. `environ` defaults to the process's environment.
    """
    environ = os.environ if environ is None else environ
    file = _find(path, environ, required)
    folder = file.parent if file else Path.cwd()
    origins: dict[tuple[str, ...], str] = {}  # location -> the variable or option that set it

    merged = _anchored(_read(file), folder) if file else {}
    for location, variable, text in _from_environment(environ):
        origins[location] = variable
        _put(merged, location, text, Path.cwd())
    if database is not None:
        origins["catalog", "database"] = "--database"
        _put(merged, ("catalog", "database"), database, Path.cwd())

    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        lines = list(dict.fromkeys(_problem(detail, origins) for detail in error.errors(include_url=False)))
        between = "\n  " if len(lines) > 1 else " "
        raise ConfigError(between.join([f"{file or 'settings'}:", *lines])) from None
    # The defaults are relative too: they lie beside the file.
    return Settings.model_validate(_anchored(settings.model_dump(), folder)).beside(folder, configured=file is not None)


def anchor_database(url: str) -> str:
    """Return a database URL with a relative SQLite file made absolute, from the current folder."""
    anchored: str = _anchored({"catalog": {"database": url}}, Path.cwd())["catalog"]["database"]
    return anchored


# --- where settings come from ------------------------------------------------------------------------------------


def _find(path: Path | str | None, environ: Mapping[str, str], required: bool) -> Path | None:
    """Return the absolute path of the configuration file, or None if there is none and none is needed."""
    named = environ.get("ATTRIBUTREE_CONFIG") if path is None else None
    if path is None and not named:
        if (here := Path.cwd() / FILE_NAME).is_file():
            return here
        if required:
            raise ConfigError(f"no {FILE_NAME} here: run `attributree init`, or give --config PATH")
        return None
    file = (Path.cwd() / (path or named or "")).resolve()
    if file.is_dir():
        file /= FILE_NAME
    if not file.is_file():
        where = " (from $ATTRIBUTREE_CONFIG)" if named else ""
        raise ConfigError(f"no configuration at {file}{where}: run `attributree init`, or give another --config PATH")
    return file


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))  # -sig: editors on Windows write a mark
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: line {line} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield (location, variable, text) for each variable that is a setting. An empty one counts as not set."""
    for variable, text in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX) or variable.upper() in NOT_SETTINGS or not text:
            continue
        names = variable[len(PREFIX) :].split("__")
        # ATTRIBUTREE_SOMETHING may be another program's; with `__` in it, it is meant for us.
        if len(names) == 1 and names[0].lower() not in Settings.model_fields:
            continue
        # A name in mixed case is meant as it is written; SHAPE is shape.
        kept = 1 if names[0].lower() in _NAMED and not "".join(names[1:2]).isupper() else None
        yield tuple(name if i == kept else name.lower() for i, name in enumerate(names)), variable, text


def _put(tree: dict[str, Any], location: tuple[str, ...], text: str, folder: Path) -> None:
    """Set one value in the nested dictionary, with its relative path resolved against `folder`."""
    value: Any = text
    for key in reversed(location):
        value = {key: value}
    _merge(tree, _anchored(value, folder))


def _merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _anchored(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return `tree` with its relative paths made absolute below `folder`. What is no path is left for the checks."""

    def absolute(path: str | Path) -> str:
        return os.path.normpath(folder / os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser can raise

    def database(url: str) -> str:
        match = _SQLITE_FILE.match(url)
        if not match or match[2] == ":memory:" or match[2].startswith("file:"):
            return url
        return f"{match[1]}{quote_path(absolute(unquote_path(match[2])))}{match[3]}"

    def weights(text: str | Path) -> str:
        prefix, place = weights_place(str(text)) or (str(text), "")
        return prefix + absolute(place) if place.strip() else str(text)

    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for section, key, change in (
        ("catalog", "database", database),
        ("catalog", "artifacts", absolute),
        ("catalog", "cache", absolute),
        ("trunk", "weights", weights),
        ("training", "tensorboard", absolute),
    ):
        table = tree.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), (str, Path)) and str(table[key]).strip():
            table[key] = change(table[key])
    plugins = tree.get("plugins")
    if isinstance(plugins, dict) and isinstance(folders := split_list(plugins.get("plugin_dirs")), (list, tuple)):
        plugins["plugin_dirs"] = [absolute(f) if isinstance(f, (str, Path)) and str(f).strip() else f for f in folders]
    return tree


# --- what is wrong with them -------------------------------------------------------------------------------------


def _problem(detail: ErrorDetails, origins: Mapping[tuple[str, ...], str]) -> str:
    """Return one validation error as `section -> key: message`, with the variable or option it came from."""
    location = tuple(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if detail["type"] == "extra_forbidden":
        *outer, key = location
        known = list(_model_at(tuple(outer)).model_fields)
        near = get_close_matches(key.lower(), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
        message = f"unknown {'key' if outer else 'section'}; {hint}"
    elif detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = f"must be a section, [{'.'.join(location)}]"
    elif detail["type"] == "path_type":
        message = "must be a path"  # pydantic's words name the Python class
    origin = next((name for place, name in origins.items() if all(map(str.__eq__, place, location))), None)
    return f"{' -> '.join(location)}{f' (from {origin})' if origin else ''}: {message}"


def _model_at(location: tuple[str, ...]) -> type[BaseModel]:
    """Return the section that stands at a location of the tree."""
    if not location:
        return Settings
    if location[0] in _NAMED:
        return _NAMED[location[0]]
    model = Settings.model_fields[location[0]].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return model


# --- the commented example ---------------------------------------------------------------------------------------


def render_default_toml(database: str | None = None) -> str:
    """Return a plugins.toml with every setting, its default and what it does, as `attributree init` writes it."""
    lines = [
        "# attributree's configuration. Relative paths are relative to this file's folder.",
        "# Every setting can come from the environment too, for example ATTRIBUTREE_TRAINING__EPOCHS=5.",
    ]
    for name, section in Settings():
        if isinstance(section, BaseModel):
            lines += ["", *_comment(type(section).__doc__), f"[{name}]"]
            for key, info in type(section).model_fields.items():
                value = database if database and (name, key) == ("catalog", "database") else getattr(section, key)
                lines += [*_comment(info.description), f"{key} = {_toml(value)}"]
    lines += ["", *_comment(ArticleTypeSettings.__doc__), *_ARTICLE_TYPES]
    for name, model in (("sources.review", SourceSettings), ("attributes.shape", AttributeSettings)):
        lines += ["", *_comment(model.__doc__), f"# [{name}]"]
        for key, info in model.model_fields.items():
            (example,) = info.examples or (info.default,)
            lines.append(f"# {f'{key} = {_toml(example)}':<24} # {info.description}")
    return "\n".join(lines) + "\n"


_ARTICLE_TYPES: Final = (
    "# [article_types]",
    '# tile = ["Wall tiles", "Stone tiles"]',
    '# mosaic = { words = ["Mosaics"], below = ["tile"] } # what applies to tiles applies to mosaics',
)


def _comment(text: str | None) -> list[str]:
    return textwrap.wrap(text or "", 100, initial_indent="# ", subsequent_indent="# ")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (int, float)):
        return repr(value)
    # A JSON string is a TOML basic string, save that TOML wants DEL escaped as well.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
