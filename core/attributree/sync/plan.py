"""The plan: declared x catalogued x live -> actions. Pure: no database, no network, no model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..catalog import BranchRecord, CatalogAttribute, Coverage, TrainingRun, TreeVersion
from ..config import Settings
from ..errors import UnknownNameError
from ..plugins import PluginInfo
from ..schema import Attribute

#: Actions that train something; the others are done in a moment.
TRAINING = ("train_trunk", "grow", "retrain")


@dataclass(frozen=True)
class Forecast:
    """What an action will cost: `labels` used, `minutes` and `megabytes` from earlier runs, None without any."""

    labels: int
    minutes: float | None
    megabytes: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as JSON-ready data."""
        return {"labels": self.labels, "minutes": self.minutes, "megabytes": self.megabytes}


@dataclass(frozen=True)
class Action:
    """One step: register, evolve, orphan, blocked, train_trunk, grow or retrain. `attribute` is None for the trunk."""

    action: str
    attribute: str | None
    reason: str
    labelled: int = 0
    forecast: Forecast | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the action as `sync-catalog --json` shows it."""
        out: dict[str, Any] = {
            "action": self.action,
            "attribute": self.attribute,
            "reason": self.reason,
            "labelled": self.labelled,
        }
        if self.forecast:
            out["forecast"] = self.forecast.to_json()
        return out


@dataclass(frozen=True)
class Plan:
    """What a sync would do, in order."""

    actions: tuple[Action, ...] = ()

    @property
    def training(self) -> tuple[Action, ...]:
        """The actions that need the network."""
        return tuple(action for action in self.actions if action.action in TRAINING)

    @property
    def blocked(self) -> tuple[Action, ...]:
        """The actions that cannot be done yet."""
        return tuple(action for action in self.actions if action.action == "blocked")

    @property
    def work(self) -> tuple[Action, ...]:
        """The actions that change something: all but the blocked ones."""
        return tuple(action for action in self.actions if action.action != "blocked")

    def of(self, *actions: str) -> tuple[Action, ...]:
        """Return the actions of these kinds."""
        return tuple(action for action in self.actions if action.action in actions)


@dataclass(frozen=True)
class World:
    """Everything that a plan depends on.

    `coverage` for each declared attribute; `new_labels` and `last_run` for each that has a live branch or a run.
    """

    declared: Mapping[str, Attribute]
    declared_by: Mapping[str, str]
    problems: tuple[PluginInfo, ...]
    catalogued: Mapping[str, CatalogAttribute]
    coverage: Mapping[str, Coverage]
    live: TreeVersion | None
    new_labels: Mapping[str, int] = field(default_factory=dict)
    last_run: Mapping[str, TrainingRun] = field(default_factory=dict)


def plan_sync(world: World, settings: Settings, *, only: Iterable[str] = (), retrain: Iterable[str] = ()) -> Plan:
    """Return what is to be done, with reasons; an empty plan if nothing is.

    `only` limits the plan to these attributes, `retrain` trains these even without a need.
    Raises UnknownNameError if one of them is neither declared nor catalogued.
    """
    only, retrain = tuple(only), tuple(retrain)
    for name in (*only, *retrain):
        if name not in world.declared and name not in world.catalogued:
            there = ", ".join(sorted({*world.declared, *world.catalogued})) or "none"
            raise UnknownNameError(f"no attribute {name!r}; there are: {there}. See `attributree plugins list`")
    names = sorted({*world.declared, *world.catalogued})
    if only:
        names = [name for name in names if name in only]
    schema: list[Action] = []
    training: list[Action] = []
    blocked: list[Action] = []
    for name in names:
        if name not in world.declared:
            schema += _orphan(world, name)
            continue
        schema += _schema_action(world, name)
        action = _training_action(world, settings, name, forced=name in retrain)
        if action:
            (blocked if action.action == "blocked" else training).append(action)
    if training and settings.trunk.weights == "random" and trunk_change(world, settings) is not None:
        training.insert(0, _train_trunk(training))
    return Plan((*schema, *blocked, *training))


def trunk_change(world: World, settings: Settings) -> str | None:
    """Return why the live trunk will not do (there is none, or it was made otherwise), or None if it will."""
    if world.live is None:
        return "there is no trunk yet"
    old, new = world.live.trunk.spec, settings.trunk.model_dump()
    changes = [f"{key} {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]
    return f"the trunk's settings changed: {', '.join(changes)}" if changes else None


def _train_trunk(training: list[Action]) -> Action:
    names = ", ".join(str(action.attribute) for action in training)
    return Action("train_trunk", None, f"trunk -> weights is random: learn the trunk once, end to end, from {names}")


def _orphan(world: World, name: str) -> list[Action]:
    catalogued = world.catalogued[name]
    owner = catalogued.declared_by
    for plugin in world.problems:
        if plugin.answers_to(owner):
            return [Action("blocked", name, f"its plugin {owner} is broken: {plugin.error}; what is live stays live")]
    if catalogued.state == "orphaned":
        return []
    return [Action("orphan", name, f"no plugin declares it any more ({owner} did); branch and predictions are kept")]


def _schema_action(world: World, name: str) -> list[Action]:
    attribute, labelled = world.declared[name], world.coverage[name].labelled
    catalogued = world.catalogued.get(name)
    if catalogued is None:
        reason = f"declared by {world.declared_by[name]}; {_images(labelled)} in the catalogue already say it"
        return [Action("register", name, reason, labelled)]
    if catalogued.state == "orphaned":
        return [Action("register", name, f"{world.declared_by[name]} is back; its branch answers again", labelled)]
    if catalogued.digest != attribute.digest:
        return [Action("evolve", name, describe_change(catalogued.schema, attribute), labelled)]
    return []


def describe_change(old: Attribute, new: Attribute) -> str:
    """Return in words what became of a schema."""
    replaced = {former: value.key for value in new.labels.values for former in value.formerly}
    before, after = set(old.labels.keys), set(new.labels.keys)
    changes = [f"{key} is now {replaced[key]}" for key in old.labels.keys if key in replaced and key not in after]
    gone = [key for key in old.labels.keys if key not in after and key not in replaced]
    came = [key for key in new.labels.keys if key not in before and key not in {replaced.get(k) for k in before}]
    if came:
        changes.append(f"new: {', '.join(came)}")
    if gone:
        changes.append(f"retired: {', '.join(gone)}")
    if old.labels.kind != new.labels.kind:
        changes.append(f"kind {old.labels.kind} -> {new.labels.kind}")
    if old.applies_to != new.applies_to:
        changes.append(f"applies to {', '.join(new.applies_to) or 'everything'}")
    return "; ".join(changes) or "spellings or order of its values changed"


def _training_action(world: World, settings: Settings, name: str, *, forced: bool) -> Action | None:
    attribute, coverage = world.declared[name], world.coverage[name]
    branch = world.live.branches.get(name) if world.live else None
    reason = _why_train(world, settings, name, branch, forced)
    if reason is None:
        return _kept(world, settings, name) if branch is None else None
    needs = missing(attribute, coverage, settings.for_attribute(name).min_labels)
    if needs and branch and not forced:
        return None  # the live branch goes on; a retraining would have nothing to learn from
    if needs:
        return Action("blocked", name, needs, coverage.labelled)
    forecast = _forecast(world, branch, coverage.labelled + coverage.ambiguous)
    return Action("retrain" if branch else "grow", name, reason, coverage.labelled, forecast)


def _why_train(world: World, settings: Settings, name: str, branch: BranchRecord | None, forced: bool) -> str | None:
    coverage = world.coverage[name]
    if forced:
        return "asked for by --retrain"
    if branch is None:
        if _gated_out(world, settings, name):
            return None
        return f"no branch yet; {_images(coverage.labelled)} labelled, {coverage.ambiguous} ambiguous"
    change = trunk_change(world, settings)
    if change:
        return change
    attribute = world.declared[name]
    if branch.kind != attribute.labels.kind:
        return f"its kind changed from {branch.kind} to {attribute.labels.kind}"
    known = {key for value in attribute.labels.values for key in (value.key, *value.formerly)}
    learnt = {value.key for value in attribute.labels.values if {value.key, *value.formerly} & set(branch.values)}
    unlearnt = [key for key in attribute.labels.keys if key not in learnt and coverage.train_values.get(key)]
    if unlearnt:
        return f"the live branch never learnt {', '.join(unlearnt)}"
    gone = [key for key in branch.values if key not in known]
    if gone:
        return f"values were retired: {', '.join(gone)}"
    new, due = world.new_labels.get(name, 0), retrain_due(settings, name, branch.labels)
    if new >= due:
        return f"{new} new labels since revision {branch.revision} ({due} make a retraining due)"
    return None


def retrain_due(settings: Settings, name: str, trained_on: int) -> int:
    """Return how many new labels make a retraining due."""
    own = settings.for_attribute(name)
    return max(own.retrain_labels, int(own.retrain_share * trained_on))


def _gated_out(world: World, settings: Settings, name: str) -> bool:
    """Return whether the last attempt came to nothing and nothing has changed since that could help."""
    run = world.last_run.get(name)
    if run is None or run.status not in ("kept", "failed") or run.metrics.get("retry"):
        return False
    same = run.config_digest == settings.digest_for(name) and run.schema_digest == world.declared[name].digest
    return same and world.new_labels.get(name, 0) < retrain_due(settings, name, world.coverage[name].labelled)


def _kept(world: World, settings: Settings, name: str) -> Action | None:
    """Say why an attribute has no branch although it was tried."""
    run = world.last_run.get(name)
    if run is None:
        return None
    due = retrain_due(settings, name, world.coverage[name].labelled)
    why = run.error or str(run.metrics.get("verdict", ""))
    reason = (
        f"its last training was {run.status}: {why}. Tried again after {due} new labels (now "
        f"{world.new_labels.get(name, 0)}), a change of settings, or --retrain {name}"
    )
    return Action("blocked", name, reason, world.coverage[name].labelled)


def missing(attribute: Attribute, coverage: Coverage, min_labels: int) -> str | None:
    """Return in words what an attribute lacks to be trained, or None."""
    if coverage.labelled < min_labels:
        lacking = [key for key in attribute.labels.keys if not coverage.per_value.get(key)]
        none = f"; {len(lacking)} of {attribute.labels.size} values have none" if lacking else ""
        return f"{coverage.labelled} of {min_labels} labels{none}"
    taught = [key for key in attribute.labels.keys if coverage.train_values.get(key)]
    if len(taught) < min(2, attribute.labels.size):
        return f"all labels in the train split say {taught[0] if taught else 'nothing'}; two values are needed"
    if not coverage.per_split.get("val"):
        return "no label in the val split, so nothing could be measured; label some of those products too"
    return None


def _forecast(world: World, branch: BranchRecord | None, labels: int) -> Forecast:
    """Return the cost by the seconds a label and the bytes that earlier runs took."""
    runs = [run for run in world.last_run.values() if run.seconds and run.metrics.get("labels")]
    minutes = megabytes = None
    if runs:
        pace = sum(run.seconds or 0.0 for run in runs) / sum(int(run.metrics["labels"]) for run in runs)
        minutes = round(pace * labels / 60, 2)
    sizes = [run.metrics["megabytes"] for run in runs if run.metrics.get("megabytes") is not None]
    if sizes:
        megabytes = round(sum(sizes) / len(sizes), 1)
    return Forecast(labels, minutes, megabytes)


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"
