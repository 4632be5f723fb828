"""A new plugin from templates: what `attributree plugins new` writes, without a network.

draft = Draft("gloss", Attribute("gloss", Ordinal(("matt", "satin", "mirror"))))
write_distribution(draft, Path("plugins"))          # -> plugins/attributree-gloss
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path
from string import Template
from typing import Final

from packaging.version import Version

from ..errors import PluginError
from ..schema import SEPARATOR, Attribute, Labels, MultiLabel, Value, key_of
from .hookspecs import API_VERSION, PROJECT

#: Lines of generated code are at most so long, as formatters have it by default.
WIDTH: Final = 88
_NAME: Final = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_MEANS: Final[Mapping[str, str]] = {
    "single": "Exactly one holds (`SingleLabel`).",
    "multi": "Any number hold (`MultiLabel`).",
    "ordinal": "Exactly one holds, and they are listed from least to most (`Ordinal`).",
}


@dataclass(frozen=True)
class Draft:
    """What a new plugin is made from.

    `name` names the distribution and is the attribute's unless that is another; `head` if it brings a head of its own;
    `counts` says on how many images the catalogue has each value. Raises PluginError for a name that
    no distribution can have.
    """

    name: str
    attribute: Attribute
    head: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)  # key -> images

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", plugin_name(self.name))

    @property
    def distribution(self) -> str:
        """The name that pip knows, and the folder's."""
        return f"attributree-{self.name.replace('_', '-')}"

    @property
    def package(self) -> str:
        """The name that Python imports."""
        return f"attributree_{self.name}"


def plugin_name(text: str) -> str:
    """Return `text` as a plugin's name, without the prefix `attributree-`, words joined by `_`.

    Raises PluginError if it is none: lower-case letters, digits, and `-` or `_` between words.
    """
    name = text.removeprefix("attributree-").removeprefix("attributree_")
    if not _NAME.fullmatch(name):
        raise PluginError(
            f"{text!r} is no plugin name: write lower-case letters and digits, words joined by `-` or `_`, "
            "such as surface-finish"
        )
    return name.replace("-", "_")


def read_value(text: str) -> Value:
    """Return the value that `KEY` or `KEY=SYNONYM|SYNONYM` declares. Raises SchemaError.

    `Two-tone` gets the key `two_tone` and, since it has a capital, the title as it is written.
    """
    spelling, _, synonyms = text.partition("=")
    title = "" if spelling == spelling.casefold() else spelling.strip()
    others = tuple(synonym.strip() for synonym in synonyms.split(SEPARATOR) if synonym.strip())
    return Value(key_of(spelling), title, others)


def write_distribution(draft: Draft, into: Path) -> Path:
    """Write a distribution below `into` and return its folder; all of it or nothing.

    Raises PluginError if something of that name is there, or the folder cannot be written.
    """
    return _write(into / draft.distribution, distribution_files(draft))


def write_one_file(draft: Draft, into: Path) -> Path:
    """Write a plugin of one file into `into`, a folder for `plugin_dirs`, and return its path.

    Raises PluginError if the file is there, cannot be written, or the plugin would need a second one.
    """
    if draft.head:
        raise PluginError("a head needs a file of its own: leave out --head, or --one-file")
    return _write(into / f"{draft.name}.py", {"": _fill("module.py", _words(draft))})


def _write(target: Path, files: Mapping[str, str]) -> Path:
    """Write `files` below the folder `target`, or the one named "" as `target` itself, all or nothing; return it."""
    if target.exists() or target.is_symlink():
        raise PluginError(f"{target} is there already; give another name, or another folder with --into")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as made:
            root = Path(made) / target.name
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8", newline="\n")
            if root.is_dir():
                root.rename(target)
            else:
                target.hardlink_to(root)  # a rename would replace a file that somebody put there meanwhile
    except OSError as error:
        raise PluginError(f"{target} cannot be written: {error.strerror}") from error
    return target


def distribution_files(draft: Draft) -> dict[str, str]:
    """Return the files of a distribution: path below its folder -> text."""
    words = _words(draft)
    package = f"src/{draft.package}"
    files = {
        "pyproject.toml": _fill("pyproject.toml", words),
        "README.md": _fill("README.md", words),
        f"{package}/__init__.py": _fill("module.py", words),
        f"{package}/py.typed": "",
        f"tests/test_{draft.name}.py": _fill("test.py", words),
    }
    if draft.head:
        files[f"{package}/__init__.py"] += _fill("head_hook.py", words)
        files[f"{package}/head.py"] = _fill("head.py", words)
    return files


def _fill(template: str, words: Mapping[str, str]) -> str:
    text = resources.files(__package__).joinpath("templates", f"{template}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(words)


def _words(draft: Draft) -> dict[str, str]:
    """Return what the templates leave open."""
    attribute = draft.attribute
    pascal = "".join(word.capitalize() for word in attribute.name.split("_"))
    api, (major, minor) = int(API_VERSION.split(".")[0]), Version(metadata.version(PROJECT)).release[:2]
    return {
        "name": draft.name,
        "distribution": draft.distribution,
        "package": draft.package,
        "versions": f">={major}.{minor},<{major}.{minor + 1}",
        "api": f">={api},<{api + 1}",
        "attribute": attribute.name,
        "title": attribute.title,
        "asked_of": ", ".join(map(_plain, attribute.applies_to)) or "every article type",
        "kind": type(attribute.labels).__name__,
        "kind_means": _MEANS[attribute.labels.kind],
        "constant": attribute.name.upper(),
        "pascal": pascal,
        "head": f"{pascal}Head",
        "head_imports": "from typing import TYPE_CHECKING\n\n" if draft.head else "",
        "head_types": "if TYPE_CHECKING:\n    from torch import nn\n\n" if draft.head else "",
        "declaration": _declaration(attribute, draft.counts),
        "examples": _tuple([_tuple(map(_quoted, pair)) for pair in _examples(attribute.labels)], 4, "examples = "),
        "table": _table(attribute.labels),
    }


# -- Python source ---------------------------------------------------------------------------------


def _declaration(attribute: Attribute, counts: Mapping[str, int]) -> str:
    labels = attribute.labels
    lines = ["Attribute(", f"    name={_quoted(attribute.name)},", f"    title={_quoted(attribute.title)},"]
    if attribute.description:
        lines.append(f"    description={_quoted(attribute.description)},")
    if attribute.applies_to:
        lines.append(f"    applies_to={_texts(attribute.applies_to, 4, 'applies_to=,')},")
    lines += [f"    labels={type(labels).__name__}(", "        values=("]
    lines += [f"{' ' * 12}{_value(value, counts.get(value.key))}" for value in labels.values]
    is_open = isinstance(labels, MultiLabel) and not labels.closed_world
    lines += ["        ),", "        closed_world=False,"] if is_open else ["        )"]
    return "\n".join([*lines, "    ),", ")"])


def _value(value: Value, count: int | None) -> str:
    """Return the source of one value, at 12 blanks, with a comma and a comment on how many images have it."""
    arguments = [_quoted(value.key)]
    if value.title != Value(value.key).title:
        arguments.append(f"title={_quoted(value.title)}")
    for name, texts in (("synonyms", value.synonyms), ("formerly", value.formerly)):
        if texts:
            arguments.append(f"{name}={_texts(texts, 16, f'{name}=,')}")
    if value.translations:
        entries = [f"{_quoted(tag)}: {_texts(texts, 20, f'{tag!r}: ,')}" for tag, texts in value.translations.items()]
        arguments.append("\n".join(["translations={", *(f"{' ' * 20}{entry}," for entry in entries), f"{' ' * 16}}}"]))
    note = "" if count is None else f"  # {count} image{'' if count == 1 else 's'}"
    line = f"Value({', '.join(arguments)}),{note}"
    if "\n" not in line and len(line) <= WIDTH - 12:
        return line
    inner = "".join(f"{' ' * 16}{argument},\n" for argument in arguments)
    return f"Value({note}\n{inner}{' ' * 12}),"


def _texts(texts: Iterable[str], indent: int, beside: str) -> str:
    return _tuple(map(_quoted, texts), indent, beside)


def _tuple(items: Iterable[str], indent: int = 0, beside: str = "") -> str:
    """Return a tuple's source: one line if it fits with `indent` blanks and `beside`, else an item a line."""
    parts = list(items)
    line = f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if indent + len(beside) + len(line) <= WIDTH:
        return line
    blank = " " * indent
    return "\n".join(["(", *(f"{blank}    {part}," for part in parts), f"{blank})"])


def _quoted(text: str) -> str:
    """Return a string literal, in double quotes where that needs no more escapes."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if '"' not in literal else literal


# -- what people read ------------------------------------------------------------------------------


def _examples(labels: Labels) -> list[tuple[str, str]]:
    """Return a spelling of each value that is not its key, and what is read there."""
    return [((value.synonyms or (value.title,))[0], value.key) for value in labels.values]


def _table(labels: Labels) -> str:
    rows = [f"| `{_plain(value.key)}` | {', '.join(map(_plain, value.synonyms))} |" for value in labels.values]
    return "\n".join(["| value | also read as |", "|---|---|", *rows])


def _plain(text: str) -> str:
    """Return text that cannot break a table: on one line, without control characters, backticks and bars."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f`|]", " ", text).split())
