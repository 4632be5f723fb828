"""What the doctor finds. Pure: no plugin is imported, no network built, no catalogue opened here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, Literal

from ..article_types import TypeReport
from ..labels.records import Coverage, SharedPicture, UnknownValue
from ..plugins import PluginInfo
from ..schema import Attribute, fold
from ..settings.head_names import unfit
from ..settings.models import Settings
from ..settings.recipes import Recipes
from ..sync.plan import badly_split, empty_splits, missing
from ..sync.shared import tell_shared
from .imports import SLOW, ImportTrial

Severity = Literal["error", "warning", "note"]
ERROR: Final[Severity] = "error"  # something does not work
WARNING: Final[Severity] = "warning"  # something is not what its writer meant, or will not work yet
NOTE: Final[Severity] = "note"  # worth knowing
_ORDER: Final[tuple[Severity, ...]] = (ERROR, WARNING, NOTE)

#: Texts that are named; the others are counted.
_SHOWN = 5
#: Unmapped article types that get a line each.
_SHOWN_TYPES = 20
#: What people separate values with, where a label file only knows `|`; 3/4 is a fraction.
_SEPARATORS = re.compile(r"\s*[,;]\s*|(?<=[^\W\d])\s*/\s*(?=[^\W\d])")
_NO_SIGN = re.compile(r"[\s_.,;:'’\"()/&]+")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: how badly, whose, what, where, and what to do or type.

    `check` is plugin, settings, spelling, head, images, splits, labels or import; `plugin` and `distribution` are None
    where no plugin is meant.
    """

    severity: Severity
    check: str
    where: str
    what: str
    do: str
    plugin: str | None = None
    distribution: str | None = None


@dataclass(frozen=True)
class Symptoms:
    """Everything that a diagnosis depends on.

    `unmatched` are names in `disabled` that no plugin answers to; `without_range` labels of plugins that do not say
    their hook API; `imports` by label. Empty without a catalogue, and `catalog_error` says why: `coverage` of each
    attribute, `columns` that none reads, with their cells, `unmapped` article types, the products in each of the
    `splits`, pictures that are `shared` between them, and warnings of images roots that are gone. `type_conflicts` is
    what plugins say of article types against each other, `type_error` what [article_types] says against them.
    `head_errors` and `head_owners` by attribute, `upper_units` is how many units a branch has at most; `trunk_error`
    why no head could be tried.
    """

    settings: Settings
    plugins: tuple[PluginInfo, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    without_range: tuple[str, ...] = ()
    imports: Mapping[str, ImportTrial] = field(default_factory=dict)
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    columns: Mapping[str, int] = field(default_factory=dict)
    unmapped: tuple[TypeReport, ...] = ()
    type_conflicts: tuple[str, ...] = ()
    type_error: str | None = None
    splits: Mapping[str, int] = field(default_factory=dict)
    shared: tuple[SharedPicture, ...] = ()
    root_warnings: tuple[str, ...] = ()
    catalog_error: str | None = None
    trunk_error: str | None = None
    upper_units: int | None = None
    head_errors: Mapping[str, str] = field(default_factory=dict)
    head_owners: Mapping[str, str] = field(default_factory=dict)

    def owner(self, attribute: str) -> dict[str, str | None]:
        """Return plugin and distribution of a finding about `attribute`."""
        info = next((info for info in self.plugins if attribute in info.attributes), None)
        return _whose(info) if info else {}


def diagnose(symptoms: Symptoms) -> tuple[Finding, ...]:
    """Return what is wrong, errors first, then warnings and notes, each in order of the checks."""
    found = [finding for check in _CHECKS for finding in check(symptoms)]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def _whose(info: PluginInfo) -> dict[str, str | None]:
    return {"plugin": info.name, "distribution": info.distribution}


# -- plugins ---------------------------------------------------------------------------------------


def _broken(symptoms: Symptoms) -> Iterator[Finding]:
    """What failed or was skipped: imports, hooks, schemas, names that clash, versions of the hook API."""
    for info in symptoms.plugins:
        if info.status not in ("ok", "disabled"):
            do = f'mend it, or leave it out: disabled = ["{info.name}"] in the [plugins] section'
            if info.status == "skipped":
                ours = str(info.error).endswith("upgrade attributree")
                do = f"pip install --upgrade {'attributree' if ours else info.distribution or info.name}"
            yield Finding(ERROR, "plugin", info.label, str(info.error), do, **_whose(info))
    for name in symptoms.settings.plugins.require:
        matching = [info for info in symptoms.plugins if info.answers_to(name)]
        if not any(info.status == "ok" for info in matching):
            what = f"is {matching[0].status}" if matching else "is not there"
            do = "install it, or take it out of `require`" if not matching else "see its own line, or `disabled`"
            yield Finding(ERROR, "plugin", "plugins -> require", f"required plugin {name!r} {what}", do)


def _without_range(symptoms: Symptoms) -> Iterator[Finding]:
    for info in symptoms.plugins:
        if info.label in symptoms.without_range:
            what = "does not say which hook API it was written for, so a later attributree cannot tell it is too old"
            yield Finding(
                NOTE, "plugin", info.label, what, 'let its hook attributree_api return ">=1,<2"', **_whose(info)
            )


def _imports(symptoms: Symptoms) -> Iterator[Finding]:
    for info in symptoms.plugins:
        trial = symptoms.imports.get(info.label)
        if trial and trial.torch:
            what = f"imports torch when it is loaded, {trial.seconds:.1f} s of every command"
            do = "import torch inside attributree_branch_head, not at the top of the plugin"
            yield Finding(WARNING, "import", info.label, what, do, **_whose(info))
        elif trial and trial.seconds > SLOW:
            what = f"takes {trial.seconds:.1f} s to load, {SLOW} are plenty; every command waits for it"
            do = "import what is heavy inside the hooks that need it; python -X importtime shows what that is"
            yield Finding(WARNING, "import", info.label, what, do, **_whose(info))


# -- settings --------------------------------------------------------------------------------------


def _unused(symptoms: Symptoms) -> Iterator[Finding]:
    """Settings that mean nothing: of attributes that no plugin declares, names that no plugin answers to."""
    names = [name for info in symptoms.plugins for name in (info.name, info.distribution) if name]
    for name in symptoms.unmatched:
        near = get_close_matches(name, names, n=1)
        do = f"write {near[0]!r}" if near else "delete it; `attributree plugins list` shows the names there are"
        yield Finding(WARNING, "settings", "plugins -> disabled", f"no plugin answers to {name!r}", do)
    for name in symptoms.settings.attributes.keys() - symptoms.attributes.keys():
        near = get_close_matches(name, symptoms.attributes, n=1)
        do = f"write [attributes.{near[0]}]" if near else "install its plugin, or delete the section"
        yield Finding(WARNING, "settings", f"attributes -> {name}", "no plugin declares the attribute", do)


def _depths(symptoms: Symptoms) -> Iterator[Finding]:
    for name in symptoms.attributes.keys() & symptoms.settings.attributes.keys():
        if symptoms.settings.attributes[name].depth == "block" and symptoms.upper_units == 1:
            trunk = symptoms.settings.trunk
            what = f"{trunk.backbone} has one block from {trunk.branch_at} on, so block and stage are the same"
            yield Finding(NOTE, "settings", f"attributes -> {name} -> depth", what, 'write depth = "stage"')


# -- heads -----------------------------------------------------------------------------------------


def _heads(symptoms: Symptoms) -> Iterator[Finding]:
    if symptoms.trunk_error:
        where = symptoms.trunk_error.partition(":")[0]
        do = "mend the [trunk] section; until then no head can be tried"
        yield Finding(ERROR, "head", where, symptoms.trunk_error.partition(": ")[2] or symptoms.trunk_error, do)
    for name, attribute in symptoms.attributes.items():
        picked, whose = Recipes(symptoms.settings).of(name).head, symptoms.owner(name)
        setting = f"attributes -> {name} -> head"
        if problem := unfit(picked, attribute):
            do = f'write head = "linear" under [attributes.{name}]'
            yield Finding(ERROR, "head", setting, problem.partition(": ")[2], do, **whose)
        elif name in symptoms.head_errors:
            do = (
                f'mend attributree_branch_head, or go round it: head = "linear" under [attributes.{name}]; it takes '
                f"(B, in_features, H, W) and returns (B, {attribute.labels.outputs})"
            )
            yield Finding(ERROR, "head", f"head of {name}", symptoms.head_errors[name], do, **whose)
        elif picked and name in symptoms.head_owners:
            what = f"the head that {symptoms.head_owners[name]} brings is not used, the settings pick {picked}"
            yield Finding(NOTE, "head", setting, what, "delete the setting to have the plugin's", **whose)


# -- spellings -------------------------------------------------------------------------------------


def _spellings(symptoms: Symptoms) -> Iterator[Finding]:
    """Synonyms that can never matter, that look like several, and values that hardly differ."""
    for name, attribute in symptoms.attributes.items():
        whose, bare = symptoms.owner(name), dict[str, str]()
        for value in attribute.labels.values:
            where, seen = f"{name} -> {value.key}", {fold(value.key): value.key}
            for text in (*value.synonyms, *value.formerly):
                if fold(text) in seen:
                    what = f"{text!r} is read as {seen[fold(text)]!r} anyway: case and separators do not matter"
                    yield Finding(NOTE, "spelling", where, what, f"delete {text!r}", **whose)
                seen.setdefault(fold(text), text)
            for text in (value.key, *value.synonyms):
                if len(parts := [part for part in _SEPARATORS.split(text) if part]) > 1:
                    what = f"{text!r} is one spelling; a cell must say all of it"
                    do = f"write {', '.join(map(repr, parts))} as separate synonyms if that is meant"
                    yield Finding(WARNING, "spelling", where, what, do, **whose)
            for text in dict.fromkeys(_NO_SIGN.sub("", fold(text)) for text in value.spellings):
                other = bare.setdefault(text, value.key)
                if text and other != value.key:
                    what = f"a spelling of it differs from one of {other!r} in blanks and punctuation only ({text!r})"
                    yield Finding(WARNING, "spelling", where, what, "make them one value, or name them apart", **whose)


# -- article types ---------------------------------------------------------------------------------


def _article_types(symptoms: Symptoms) -> Iterator[Finding]:
    """What [article_types] and plugins say against each other, and words that no rule maps."""
    if symptoms.type_error:
        where, _, what = symptoms.type_error.partition(": ")
        yield Finding(ERROR, "settings", where, what, "until then no command reads labels")
    for conflict in symptoms.type_conflicts:
        what, _, do = conflict.partition("; ")
        yield Finding(WARNING, "settings", "article_types", what, do)
    open_ = [one for one in symptoms.unmapped if symptoms.attributes.keys() - set(one.attributes)]
    for one in open_[:_SHOWN_TYPES]:
        products = f"{one.products} product{'' if one.products == 1 else 's'}"
        what = f"is unmapped, so it is not known what to ask there: {products}, {one.stated_labels} labels stated"
        such = f", such as {one.setting}" if one.setting else ""
        do = f"write it under [article_types]{such}; see `attributree types`"
        yield Finding(WARNING, "labels", f"article type {one.article_type!r}", what, do)
    if more := open_[_SHOWN_TYPES:]:
        what = f"{len(more)} more article types with {sum(one.products for one in more)} products are unmapped"
        yield Finding(WARNING, "labels", "article types", what, "see `attributree types`")


# -- the catalogue ----------------------------------------------------------------------------------


def _roots(symptoms: Symptoms) -> Iterator[Finding]:
    for warning in symptoms.root_warnings:
        what, _, do = warning.partition("; ")
        yield Finding(WARNING, "images", "catalogue", what, do)


def _splits(symptoms: Symptoms) -> Iterator[Finding]:
    for what, do in (*empty_splits(symptoms.splits), *tell_shared(symptoms.shared)):
        yield Finding(WARNING, "splits", "catalogue", what, do)


# -- labels ----------------------------------------------------------------------------------------


def _labels(symptoms: Symptoms) -> Iterator[Finding]:
    if symptoms.catalog_error:
        yield Finding(
            NOTE, "labels", "catalogue", f"labels were not looked at: {symptoms.catalog_error}", "then ask again"
        )
    for name, counts in symptoms.coverage.items():
        if not counts.images:
            continue
        attribute, whose = symptoms.attributes[name], symptoms.owner(name)
        least = Recipes(symptoms.settings).of(name).min_labels
        if counts.not_applicable == counts.images:
            what = f"applies to none of the {counts.images} images"
            do = f"compare applies_to ({', '.join(attribute.applies_to)}) with the column article_type"
            yield Finding(WARNING, "labels", name, what, do, **whose)
        elif not counts.labelled and (near := _near_column(name, symptoms.columns)):
            what = f"no label, but no attribute reads the column {near!r} ({symptoms.columns[near]} cells)"
            do = f"rename the column to {name} and ingest the file again"
            yield Finding(WARNING, "labels", name, what, do, **whose)
        elif counts.labelled >= least and (lack := badly_split(attribute, counts, symptoms.splits)):
            yield Finding(WARNING, "labels", name, f"cannot be trained: {lack[0]}", lack[1], **whose)
        elif lacks := missing(attribute, counts, least, symptoms.splits):
            do = f"label more of its images, or set min_labels under [attributes.{name}] (now {least})"
            yield Finding(WARNING, "labels", name, f"cannot be trained: {lacks}", do, **whose)
        elif untaught := [key for key in attribute.labels.keys if not counts.train_values.get(key)]:
            what = (
                f"{len(untaught)} of {attribute.labels.size} values have no label to learn from: {', '.join(untaught)}"
            )
            do = "label some images of them in the train split; until then they are never predicted"
            yield Finding(WARNING, "labels", name, what, do, **whose)
        yield from _unreadable(name, counts, whose)


def _near_column(name: str, columns: Mapping[str, int]) -> str | None:
    folded = {fold(column): column for column in columns}
    near = get_close_matches(fold(name), folded, n=1, cutoff=0.8)
    return folded[near[0]] if near else None


def _unreadable(name: str, counts: Coverage, whose: Mapping[str, str | None]) -> Iterator[Finding]:
    """Cells that no value spells: together by the value that is near, and those that are near to none."""
    near: dict[str | None, list[UnknownValue]] = {}
    for text in counts.unreadable:
        near.setdefault(text.nearest, []).append(text)
    others = near.pop(None, [])
    for value, texts in near.items():
        do = f"add {'it' if len(texts) == 1 else 'them'} to the synonyms of {value}, or mend the label file"
        yield Finding(WARNING, "labels", name, f"{_said(texts)} no value of it; near {value}", do, **whose)
    if others:
        do = f"declare values for what is meant; `attributree status --json` lists them all under {name}"
        yield Finding(NOTE, "labels", name, f"{_said(others)} no value of it, and near none", do, **whose)


def _said(texts: Sequence[UnknownValue]) -> str:
    """Return the commonest of `texts` and in how many cells they all stand, with the verb."""
    some = ", ".join(repr(text.text) for text in texts[:_SHOWN]) + (", ..." if len(texts) > _SHOWN else "")
    cells = sum(text.count for text in texts)
    return f"{some} in {cells} cell{'' if cells == 1 else 's'} {'is' if len(texts) == 1 else 'are'}"


_CHECKS: Final[tuple[Callable[[Symptoms], Iterator[Finding]], ...]] = (
    *(_broken, _unused, _heads, _imports, _spellings, _article_types, _roots, _splits, _labels, _depths),
    _without_range,
)
