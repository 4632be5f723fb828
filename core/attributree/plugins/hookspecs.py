"""The hooks that a plugin implements: the whole API between attributree and its plugins.

A plugin is a module (or any object) that the entry-point group `attributree` names, or a `*.py` file in one
of `plugin_dirs`. It marks its functions with `hookimpl`, and may leave out arguments that it does not need:

    from attributree import Attribute, SingleLabel, hookimpl

    @hookimpl
    def attributree_attributes():
        return [Attribute("finish", SingleLabel(("matt", "glossy")))]

Hooks about an attribute are asked in one order: of the plugin that declares it, then, unless that answers, of the
plugins that declare none, in order of name; the first answer is taken. Hook wrappers are refused: a plugin speaks for
its own attributes and never rewrites another's answer.

To add a hook: write its specification here, below the check of its answers; raise the minor number of `API_VERSION`;
pass it to `LoadedPlugins.first` (about one attribute; it raises PluginError, which a caller that can go on warns of
once) or `LoadedPlugins.each` where its answer is needed, and implement it in tests/plugins/test_hooks.py; run
`make hooks-reference`, write an example into its section of docs/hooks.md, and run it again. tests/meta/test_hooks.py
tells what is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..article_types import check_types
from ..errors import SchemaError
from ..schema import ArticleType, Attribute, reserved_column
from .pretrained import PretrainedWeights

if TYPE_CHECKING:
    import click
    from torch import Tensor, nn

    from ..reports import SyncReport

#: Version of this module. The minor number grows when a hook or an optional argument is added, the major
#: number when a plugin that worked may stop working.
API_VERSION: Final = "1.2"

#: The project name that hook markers and the plugin manager share; also the entry-point group.
PROJECT: Final = "attributree"

#: Marks a function of a plugin as the implementation of the hook of that name.
hookimpl = pluggy.HookimplMarker(PROJECT)

#: Every hook by name, in the order of this module, with the check of its answers.
HOOKS: Final[dict[str, Callable[[Any], Any]]] = {}

Specification = TypeVar("Specification", bound=Callable[..., Any])
Check = Callable[[str, Any], Any]


class AnswerError(TypeError):
    """An answer is not what its hook promises; the message names the hook and what it should have been."""


def hookspec(check: Check, *, optional: bool = False) -> Callable[[Specification], Specification]:
    """Mark a function as the specification of a hook.

    `check(name of the hook, answer)` returns a plugin's answer, read to its end, or raises AnswerError. With
    `optional`, None is no answer and is not checked, and of several plugins' answers one is taken.
    """

    def mark(specification: Specification) -> Specification:
        checked = partial(check, specification.__name__)
        HOOKS[specification.__name__] = partial(_unless_none, checked) if optional else checked
        return pluggy.HookspecMarker(PROJECT)(specification, firstresult=optional)

    return mark


def _of_type(kind: type, wanted: str) -> Check:
    """Return a check that takes instances of `kind` only; `wanted` is what an error says instead."""

    def check(hook: str, answer: object) -> object:
        if not isinstance(answer, kind):
            raise _wrong(hook, answer, wanted)
        return answer

    return check


def _unless_none(check: Callable[[Any], Any], answer: object) -> Any:
    return None if answer is None else check(answer)


def _wrong(hook: str, answer: object, wanted: str, verb: str = "returned") -> AnswerError:
    kind = f"the class {answer.__name__}" if isinstance(answer, type) else type(answer).__name__
    return AnswerError(f"{hook} {verb} {kind}, not {wanted}")


def _several(hook: str, answer: object, wanted: str) -> Iterable[object]:
    if isinstance(answer, (str, bytes, Mapping)) or not isinstance(answer, Iterable):
        raise _wrong(hook, answer, wanted)
    return answer


def _is_module(answer: object) -> bool:
    torch = sys.modules.get("torch")  # not imported to find out: without it there is no module
    return torch is not None and isinstance(answer, torch.nn.Module)


# -- what a plugin supports and declares -----------------------------------------------------------


def _check_api(hook: str, answer: object) -> str:
    try:
        return str(SpecifierSet(answer if isinstance(answer, str) else "a range is a string"))
    except InvalidSpecifier:
        raise AnswerError(f"{hook} returned {answer!r}; return a range such as '>=1,<2'") from None


@hookspec(_check_api)
def attributree_api() -> str:
    """Return the hook API versions that the plugin supports, as a PEP 440 range such as ">=1,<2".

    Optional; a plugin without it is taken to support every version. It is asked before anything else, and a plugin
    whose range leaves out `API_VERSION` is skipped with a word on what to upgrade. Keep it free of imports.
    """
    raise NotImplementedError


def _check_attributes(hook: str, answer: object) -> tuple[Attribute, ...]:
    if isinstance(answer, Attribute):
        raise AnswerError(f"{hook} returned one Attribute; return a list: [Attribute(...)]")
    attributes = []
    for attribute in _several(hook, answer, "a list of Attribute"):
        if not isinstance(attribute, Attribute):
            raise AnswerError(f"{hook} returned a list that holds {attribute!r}, not an Attribute")
        if reserved := reserved_column(attribute.name):
            raise AnswerError(
                f"{hook}: attribute {attribute.name!r} is read as the reserved column {reserved!r} of label files; "
                f"choose another name, and with formerly=({attribute.name!r},) it keeps its labels"
            )
        attributes.append(attribute)
    return tuple(attributes)


@hookspec(_check_attributes)
def attributree_attributes() -> Iterable[Attribute]:
    """Return the attributes that the plugin declares.

    Called once when plugins are loaded, by nearly every command, so it must be quick and import no torch. An
    attribute belongs to one plugin: a name that two declare is given to neither.
    """
    raise NotImplementedError


def _check_article_types(hook: str, answer: object) -> tuple[ArticleType, ...]:
    types = []
    for one in _several(hook, answer, "a list of ArticleType"):
        if not isinstance(one, ArticleType):
            raise AnswerError(f"{hook} returned a list that holds {one!r}, not an ArticleType")
        types.append(one)
    check_types(types)
    return tuple(types)


@hookspec(_check_article_types)
def attributree_article_types() -> Iterable[ArticleType]:
    """Return the article types that the plugin knows, with the words that shops use for them.

    Attributes apply to types and to all that stands below them; products come with a shop's words. Case, plural, blanks
    and hyphens of words do not matter, and a path such as "Floors > Wall tiles" is known by its last step. A word that
    two plugins give to two types has none. The shop's own table, [article_types] in plugins.toml, comes before all
    plugins. Called once when plugins are loaded, so it must be quick and import no torch. Where other types are
    returned than before, annotations are derived anew by the next sync or ingest.
    """
    raise NotImplementedError


# -- how an attribute is learnt --------------------------------------------------------------------


def _check_head(hook: str, answer: object) -> object:
    if not _is_module(answer):
        raise _wrong(hook, answer, "a torch.nn.Module")
    return answer


@hookspec(_check_head, optional=True)
def attributree_branch_head(attribute: Attribute, in_features: int) -> nn.Module | None:
    """Return a new head for one branch, or None for the standard one (average pooling, dropout, linear).

    The head takes the branch's feature map (B, in_features, H, W) float32 and returns logits
    (B, attribute.labels.outputs) float32. Heights and widths vary with `image_size`.

    A plugin that declares attributes is asked about those only. One that declares none is asked about every
    attribute whose own plugin brings no head; the first in order of name that answers is taken. It is tried on a batch
    of zeros before any training. Import torch in here, not at the top of the plugin.
    """
    raise NotImplementedError


class Loss(Protocol):
    """What `attributree_loss` returns: a function, or a module without parameters."""

    def __call__(
        self, logits: Tensor, target: Tensor, weight: Tensor, *, value_weight: Tensor | None, smoothing: float
    ) -> Tensor:
        """Return a scalar: the weighted mean loss over the images that say something."""


def _check_loss(hook: str, answer: Any) -> object:
    if not callable(answer) or isinstance(answer, type):
        raise _wrong(hook, answer, "a function or a module that is one")
    if _is_module(answer) and next(answer.parameters(), None) is not None:
        raise AnswerError(f"{hook} returned a module with parameters, which are never trained; use buffers")
    return answer


@hookspec(_check_loss, optional=True)
def attributree_loss(attribute: Attribute) -> Loss | None:
    """Return the loss that branches of one attribute are trained with, or None for the standard one.

    It is called as `loss(logits, target, weight, value_weight=..., smoothing=...)` and returns a scalar float32, the
    weighted mean over what was observed, for B images, C values and K = `attribute.labels.outputs`:

    - `logits` (B, K) float32. Answers are read from them as ever: softmax (single), sigmoid (multi), and for an
      `Ordinal` the log-odds of going beyond value k having reached it.
    - `target` (B, C) float32. Single-label and ordinal: 1 for each candidate, so one 1 if the image is labelled,
      several if it is ambiguous; where sources disagree each value's share of their word, together 1. Multi-label: 1
      present, 0 absent, NaN unknown, a share where sources disagree.
    - `weight` (B,) float32, 0 for an image that says nothing: its row must not count. One at least is positive.
    - `value_weight` (C,) float32 or None, and `smoothing` in 0..1: `[training] class_balance` and `label_smoothing`.

    It is tried on a dry batch before any training: the scalar must be finite, its gradient must reach the logits and
    leave rows of weight 0 alone. Every training of the branch calls it (grow, trunk, finetune), in every process of
    torchrun, so it must be a function or an object of a class at the top of a module. It keeps no state between
    calls. The plugin's name and version are recorded with the branch. Import torch in here.
    """
    raise NotImplementedError


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a training image without changing what it says about an attribute.

    `flip`: mirror it, left for right. `crop`: shift it by up to 8 % of its side, so that a margin leaves the frame.
    Settings can switch either off as well, never on again. Raises SchemaError if one is neither true nor false.
    """

    flip: bool = True
    crop: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            if not isinstance(getattr(self, field.name), bool):
                raise SchemaError(
                    f"Augmentation: {field.name} must be True or False, not {getattr(self, field.name)!r}"
                )


@hookspec(_of_type(Augmentation, "an attributree.Augmentation"), optional=True)
def attributree_augmentation(attribute: Attribute) -> Augmentation | None:
    """Return what may be done to a training image for one attribute, or None if anything may.

    A mirrored image is wrong for what tells left from right, a cropped one for lengths. Asked once when plugins are
    loaded, so it must be quick and import no torch. Where several attributes train together (trunk, finetune,
    pretrain) an image is only changed in ways that all of them allow. A branch that is grown reads stored features, of
    the image and perhaps of the mirrored one, never of a cropped one; a network of its own reads pictures, changed anew
    each time. If the hook fails, the attribute is trained without any augmentation until the plugin is mended.
    """
    raise NotImplementedError


def _check_weights(hook: str, answer: object) -> tuple[PretrainedWeights, ...]:
    offered = []
    for weights in _several(hook, answer, "a list of PretrainedWeights"):
        if not isinstance(weights, PretrainedWeights):
            raise AnswerError(f"{hook} returned a list that holds {weights!r}, not PretrainedWeights")
        offered.append(weights)
    return tuple(offered)


@hookspec(_check_weights)
def attributree_weights() -> Iterable[PretrainedWeights]:
    """Return pretrained weights that `[trunk] weights = NAME` can name: trunks that pip installs, without a hub.

    Asked when settings name weights that are neither a file nor attributree's own, and by `weights list`, so it must be
    quick and import no torch: a file is named here and read later, if it is wanted. Before that its SHA-256 is compared
    with `sha256`. What `read` returns must have, under timm's names, every tensor that the backbone needs in the shape
    that it needs; `read` must unpickle nothing but tensors (PyTorch's `weights_only=True`). Weights of
    another backbone than the settings name are refused with what to write. A name that two plugins offer is given to
    neither.
    """
    raise NotImplementedError


# -- what is read ----------------------------------------------------------------------------------


@hookspec(_of_type(str, "a string or None"), optional=True)
def attributree_normalize_label(attribute: Attribute, text: str) -> str | None:
    """Return the spelling of a value that `text` means, or None if it means none.

    Asked of each different text that no spelling of the attribute's values matches, such as "V-Nk", when observations
    are read. The observation itself is stored as it was written. An answer that is no spelling of a value is dropped,
    and the text reported as unknown. It must be quick, and always give the same answer to the same text.
    Another version of the plugin (of a one-file plugin, another content) reads all observations again. A text in
    which it fails stays unknown, with a warning, or an error with `--strict`.
    """
    raise NotImplementedError


def _check_rows(hook: str, answer: object) -> Iterator[Mapping[str, object]]:
    return map(partial(_check_row, hook), _several(hook, answer, "rows or None"))


def _check_row(hook: str, row: object) -> Mapping[str, object]:
    if not isinstance(row, Mapping):
        raise _wrong(hook, row, "a mapping of columns to cells", "yielded")
    for column in row:
        if not isinstance(column, str):
            raise AnswerError(f"{hook} yielded a row whose column {column!r} is not a string")
    return row


@hookspec(_check_rows, optional=True)
def attributree_catalog_source(path: Path) -> Iterable[Mapping[str, object]] | None:
    """Return the rows of a label file of a format that attributree does not know, or None if it is not yours.

    Asked by `ingest` for a file that exists and whose suffix is none of its own. A row maps columns to cells: text,
    numbers, true and false, None for empty, or a list of them. Rows are checked as those of any label file: an error
    names file, row (the first one is 1) and column, and nothing is stored. Two plugins that both answer are refused
    and named. `ingest` reads a file twice, so it is asked twice. Return an iterator to stay in bounded memory, from a
    function of its own: this one must be able to return None, so it cannot be a generator itself.
    """
    raise NotImplementedError


# -- the command line, and what happened -----------------------------------------------------------


def _check_commands(hook: str, answer: object) -> tuple[click.Command, ...]:
    import click

    commands = []
    for command in _several(hook, answer, "a list of click commands"):
        if not isinstance(command, click.Command):
            raise AnswerError(f"{hook} returned a list that holds {command!r}, not a click command")
        if not command.name:
            raise AnswerError(f"{hook} returned a command without a name")
        commands.append(command)
    return tuple(commands)


@hookspec(_check_commands)
def attributree_commands() -> Iterable[click.Command]:
    """Return click commands and groups that are added to the command line.

    Called when a name is typed that is no command of attributree's own, and for `--help`. A command never takes the
    place of one of attributree's, and of two plugins' commands of one name neither is used; both are named. A command
    that is decorated with `click.pass_obj` gets the options before it; `options.workspace()` opens the workspace.
    """
    raise NotImplementedError


def _drop(hook: str, answer: object) -> None:
    """Drop whatever was returned: the hook asks for nothing."""


@hookspec(_drop)
def attributree_after_sync(report: SyncReport) -> None:
    """Return nothing; be told of a sync that did something, such as to notify people.

    Called once after a sync that registered, changed or orphaned an attribute, or that trained one, whether it was
    promoted, rejected or failed. `report` is frozen and the plugin's own copy: `report.plan.actions` (action,
    attribute, reason), `report.results` (attribute, action, status, reason, branch, seconds, metrics),
    `report.version`, the live tree version, and `report.to_json()`, what `sync-catalog --json` prints. What it raises
    is a warning: the sync is done.
    """
    raise NotImplementedError
