"""The plan: declared x catalogued x live -> actions. Pure: no database, no network, no model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from statistics import median

from ..answers import heirs, outlived
from ..errors import UnknownNameError
from ..labels.lineage import describe_change, refuse_kind
from ..labels.records import CatalogAttribute, Coverage
from ..labels.resolve import Sources
from ..plugins import PluginInfo
from ..registry.records import BranchRecord, TrainingRun
from ..reports import Action, Forecast, Plan
from ..schema import Attribute, fold
from ..settings.head_names import unfit
from ..settings.models import AUTO
from ..settings.recipes import Recipes, outcome_settings
from .article_types import retyped, unmapped_types
from .shared import tell_shared
from .state import CatalogState

#: What is said of a live branch whose values were all retired.
_SILENT = "the live branch knows none of today's values"


def plan_sync(state: CatalogState, recipes: Recipes, *, only: Iterable[str] = (), retrain: Iterable[str] = ()) -> Plan:
    """Return what is to be done, with reasons; an empty plan if nothing is.

    `only` limits the plan to these attributes, `retrain` trains these even without a need.
    Raises UnknownNameError if one of them is neither declared nor catalogued.
    """
    only, retrain = tuple(only), tuple(retrain)
    for name in (*only, *retrain):
        if name not in state.declared and name not in state.catalogued:
            there = ", ".join(sorted({*state.declared, *state.catalogued})) or "none"
            raise UnknownNameError(f"no attribute {name!r}; there are: {there}. See `attributree plugins list`")
    names = sorted({*state.declared, *state.catalogued})
    if only:
        names = [name for name in names if name in (*only, *retrain)]
    schema: list[Action] = []
    training: list[Action] = []
    blocked: list[Action] = []
    refused: set[str] = set()
    movers = _movers(state, recipes)
    # A new trunk is tried again as soon as one of its branches has a better chance, and then with all of them.
    again = any(name in retrain or not _given_up(state, recipes, name) for name in movers if name in state.declared)
    for name in names:
        if name not in state.declared:
            actions = _orphan(state, name)
            if name in retrain and not any(action.action == "blocked" for action in actions):
                blocked.append(Action("blocked", name, "no plugin declares it; install its plugin to train it"))
            schema += actions
            continue
        if refusal := _refused(state, name) or _other_kind(state, name):
            blocked.append(refusal)
            refused.add(name)
            continue
        schema += _schema_action(state, name)
        moves = name in movers and again
        action = _training_action(state, recipes, name, forced=name in retrain, moves=moves)
        if action:
            (blocked if action.action == "blocked" else training).append(action)
    schema += _precedence(state, recipes, {*refused, *(action.attribute for action in schema)})
    schema += retyped(state, {*refused, *(action.attribute for action in schema)})
    left = [name for name in movers if name not in {action.attribute for action in training}]
    if left and training:
        why = f"{trunk_change(state, recipes)}; all live branches move together, and {', '.join(left)} cannot now"
        blocked += [Action("blocked", action.attribute, why, action.labelled) for action in training]
        training = []
    if training and recipes.settings.trunk.weights == "random" and trunk_change(state, recipes) is not None:
        taught = ", ".join(str(action.attribute) for action in training)
        reason = f"trunk -> weights is random: learn the trunk once, end to end, from {taught}"
        training.insert(0, Action("train_trunk", None, reason, sum(action.labelled for action in training)))
    about_splits = [f"{what}; {do}" for what, do in (*empty_splits(state.splits), *tell_shared(state.shared))]
    notes = (
        *state.root_warnings,
        *about_splits,
        *_settings_of_former_names(state, recipes),
        *_stale_settings(state, recipes, names),
        *unmapped_types(state),
    )
    return Plan((*schema, *blocked, *training), notes)


def trunk_change(state: CatalogState, recipes: Recipes) -> str | None:
    """Return why the live trunk will not do (there is none, or it was made otherwise), or None if it will."""
    if state.live is None:
        return "there is no trunk yet"
    changes = trunk_differences(state.live.trunk.spec, recipes.settings.trunk_identity())
    return f"the trunk's settings changed: {', '.join(changes)}" if changes else None


def trunk_differences(spec: Mapping[str, object], settings: Mapping[str, object]) -> list[str]:
    """Return what of a stored trunk's `spec` differs from the [trunk] section, as "key old -> new"."""
    old = dict(spec)
    # Trunks that do not say where their backbone's last stage begins are of the time when branch_at was layer4 unless
    # something else was set; every network of timm that has a layer4 ends with it.
    last = old.get("last_stage", "layer4")
    if settings["branch_at"] == AUTO and old.get("branch_at") == last:
        old["branch_at"] = AUTO
    return [f"{key} {old.get(key)} -> {new}" for key, new in settings.items() if _plain(old.get(key)) != _plain(new)]


def _plain(setting: object) -> object:
    """Return a setting with `_` in place of dots if it is a text: stages.3 and stages_3 are one stage."""
    return setting.replace(".", "_") if isinstance(setting, str) else setting


def _movers(state: CatalogState, recipes: Recipes) -> list[str]:
    """Return the live attributes that a changed trunk must take along, in order; none if it did not change."""
    if state.live is None or trunk_change(state, recipes) is None:
        return []
    return [
        name
        for name in sorted(state.live.branches)
        if name in state.declared or broken_owner(state.catalogued[name], state.problems)
    ]


def broken_owner(catalogued: CatalogAttribute, problems: Iterable[PluginInfo]) -> PluginInfo | None:
    """Return the plugin that declared an attribute if it is broken; without one, the attribute is an orphan."""
    return next((plugin for plugin in problems if plugin.answers_to(catalogued.declared_by)), None)


def _orphan(state: CatalogState, name: str) -> list[Action]:
    catalogued = state.catalogued[name]
    owner = catalogued.declared_by
    if plugin := broken_owner(catalogued, state.problems):
        return [Action("blocked", name, f"its plugin {owner} is broken: {plugin.error}; what is live stays live")]
    if catalogued.state == "orphaned":
        return []
    return [Action("orphan", name, f"no plugin declares it any more ({owner} did); branch and predictions are kept")]


def _refused(state: CatalogState, name: str) -> Action | None:
    """Refuse an attribute whose names clash with another's, or that is being trained under its former name."""
    labelled = state.coverage[name].labelled
    if name in state.refused:
        return Action("blocked", name, state.refused[name], labelled)
    catalogued = state.catalogued.get(name)
    if catalogued is None or catalogued.name == name or catalogued.name not in state.training:
        return None
    reason = (
        f"{catalogued.name} becomes {name} when {state.training[catalogued.name]} has trained it; "
        "run sync-catalog again then, or see `attributree runs`"
    )
    return Action("blocked", name, reason, labelled)


def _other_kind(state: CatalogState, name: str) -> Action | None:
    """Refuse a kind that the catalogue will not give to an attribute that branches were trained for."""
    catalogued = state.catalogued.get(name)
    reason = refuse_kind(catalogued.kind, state.declared[name]) if catalogued else None
    run = state.last_run.get(name)
    if (state.live is None or name not in state.live.branches) and (run is None or run.branch_id is None):
        return None
    return Action("blocked", name, reason, state.coverage[name].labelled) if reason else None


def _schema_action(state: CatalogState, name: str) -> list[Action]:
    attribute, labelled = state.declared[name], state.coverage[name].labelled
    catalogued = state.catalogued.get(name)
    if catalogued is None:
        say = "says" if labelled == 1 else "say"
        reason = f"declared by {state.declared_by[name]}; {_images(labelled)} in the catalogue already {say} it"
        return [Action("register", name, reason, labelled)]
    same = catalogued.schema.digest == attribute.digest
    if catalogued.state == "orphaned":
        answers = "; its branch answers again" if state.live and name in state.live.branches else ""
        changed = "" if same else f"; {describe_change(catalogued.schema, attribute)}"
        return [Action("register", name, f"{state.declared_by[name]} is back{answers}{changed}", labelled)]
    if catalogued.digest == attribute.digest:
        return []
    if same:
        reason = "attributree was upgraded, or a plugin was away: what was said is read again"
    else:
        reason = describe_change(catalogued.schema, attribute)
    return [Action("evolve", name, reason, labelled)]


def _precedence(state: CatalogState, recipes: Recipes, others: Collection[str | None]) -> list[Action]:
    """Return what a changed precedence of sources evolves: every attribute but the `others`, asked for or not."""
    changes = state.sources.changes(Sources.configured(recipes.settings.trust_changes()))
    if not changes:
        return []
    names = sorted((state.declared.keys() & state.catalogued.keys()) - set(others))
    reason = f"the precedence of sources changed ({', '.join(changes)}): what was said is read again"
    return [Action("evolve", name, reason, state.coverage[name].labelled) for name in names]


def _training_action(state: CatalogState, recipes: Recipes, name: str, *, forced: bool, moves: bool) -> Action | None:
    attribute, coverage = state.declared[name], state.coverage[name]
    branch = state.live.branches.get(name) if state.live else None
    reason = _why_train(state, recipes, name, branch, forced)
    if reason is None:
        return None
    own = recipes.of(name)
    needs = missing(attribute, coverage, own.min_labels, state.splits) or unfit(own.head, attribute)
    split = split_values(branch, state.today(name)) if branch else {}
    silent = branch is not None and outlived(branch.values, state.today(name).labels)
    if needs and branch and not split and not silent and not forced and not moves:
        return None  # the live branch goes on; a retraining would have nothing to learn from
    needs = needs or _undivided(split, coverage, max(1, own.min_labels // attribute.labels.size))
    if needs and split:
        needs = f"{_say_split(split)}: {needs}; until then such answers go to review"
    if needs and silent:
        needs = f"{_SILENT}: {needs}; until then it answers nothing"
    needs = needs or (None if forced or moves else _given_up(state, recipes, name))
    if needs:
        return Action("blocked", name, needs, coverage.labelled)
    kind = "retrain" if branch else "grow"
    depth = branch.depth if branch else own.depth
    forecast = _forecast(state.runs, kind, depth, coverage.labelled + coverage.ambiguous)
    return Action(kind, name, reason, coverage.labelled, forecast)


def _why_train(
    state: CatalogState, recipes: Recipes, name: str, branch: BranchRecord | None, forced: bool
) -> str | None:
    coverage = state.coverage[name]
    if forced:
        return "asked for by --retrain"
    if branch is None:
        return f"no branch yet; {_images(coverage.labelled)} labelled, {coverage.ambiguous} ambiguous"
    change = trunk_change(state, recipes)
    if change:
        return change
    attribute = state.today(name)
    if branch.kind != attribute.labels.kind:
        return f"the live branch was trained as {branch.kind}, the attribute is {attribute.labels.kind} now"
    if outlived(branch.values, attribute.labels):
        return f"{_SILENT}: it learnt {', '.join(branch.values)}"
    if split := split_values(branch, attribute):
        return f"{_say_split(split)} since the live branch was trained"
    stands_for = {value.key: set(map(fold, (value.key, *value.formerly))) for value in attribute.labels.values}
    outputs = set(map(fold, branch.values))
    taught = [key for key in attribute.labels.keys if coverage.train_values.get(key)]
    unlearnt = [key for key in taught if not stands_for[key] & outputs]
    if unlearnt:
        return f"the live branch never learnt {', '.join(unlearnt)}"
    known = set[str]().union(*stands_for.values())
    gone = [key for key in branch.values if fold(key) not in known]
    if gone:
        return f"values were retired: {', '.join(gone)}"
    new, due = state.new_labels.get(name, 0), retrain_due(recipes, name, branch.labels)
    if new >= due:
        return f"{new} new labels since revision {branch.revision} ({due} make a retraining due)"
    return None


def split_values(branch: BranchRecord, attribute: Attribute) -> dict[str, tuple[str, ...]]:
    """Return the keys that a branch learnt and that were split since, each with today's values."""
    columns = zip(branch.values, heirs(branch.values, attribute.labels), strict=True)
    return {key: tuple(attribute.labels.keys[c] for c in part) for key, part in columns if len(part) > 1}


def _say_split(split: Mapping[str, Iterable[str]]) -> str:
    return "; ".join(f"{key} is split into {', '.join(parts)}" for key, parts in split.items())


def _undivided(split: Mapping[str, tuple[str, ...]], coverage: Coverage, least: int) -> str | None:
    """Return in words which heirs of split values have too few labels to be told apart, or None.

    Labels of the former value say one of its heirs and not which: a branch trained on those alone would guess.
    """
    parts = dict.fromkeys(key for heirs_of_one in split.values() for key in heirs_of_one)
    lacking = [
        f"{coverage.train_values.get(key, 0)} of {least} labels of {key}"
        for key in parts
        if coverage.train_values.get(key, 0) < least
    ]
    return f"in the train split are {', '.join(lacking)}" if lacking else None


def _settings_of_former_names(state: CatalogState, recipes: Recipes) -> Iterator[str]:
    """Say of each section of plugins.toml that is not read because its attribute was renamed."""
    for name in sorted(state.declared):
        for former in state.today(name).formerly:
            if former in recipes.settings.attributes:
                yield (
                    f"plugins.toml: [attributes.{former}] is not read, since {former} is called {name} now; "
                    f"call the section [attributes.{name}]"
                )


def _stale_settings(state: CatalogState, recipes: Recipes, names: Iterable[str]) -> Iterator[str]:
    """Say of each live branch that was trained with other settings which they are. That alone retrains nothing."""
    for name in names:
        branch = state.live.branches.get(name) if state.live else None
        if branch is None or name not in state.declared:
            continue
        now = outcome_settings(recipes.of(name))
        changes = [
            f"{key} {branch.config[key]} -> {now[key]}" for key in now if branch.config.get(key, now[key]) != now[key]
        ]
        if changes:
            yield f"{name} was trained with other settings ({', '.join(changes)}); to apply them: --retrain {name}"


def retrain_due(recipes: Recipes, name: str, trained_on: int) -> int:
    """Return how many new labels make a retraining due."""
    own = recipes.of(name)
    return max(own.retrain_labels, int(own.retrain_share * trained_on))


def _given_up(state: CatalogState, recipes: Recipes, name: str) -> str | None:
    """Return why what was last trained is not live, or None if it is or something has changed that could help."""
    run = state.last_run.get(name)
    if run is None or run.status == "running":
        return None
    if run.metrics.get("retry") and run.attempts <= recipes.of(name).retries:
        return None
    live = {branch.id for branch in state.live.branches.values()} if state.live else set()
    if run.status == "promoted" and (run.branch_id is None or run.branch_id in live):
        return None
    same = run.config_digest == recipes.digest(name) and run.schema_digest == state.declared[name].digest
    new, due = state.labels_since_run.get(name, 0), retrain_due(recipes, name, state.coverage[name].labelled)
    if not same or new >= due:
        return None
    if run.status == "promoted":
        said = f"its branch {run.branch_id} was taken out of service by promoting another tree version"
    else:
        said = f"its last training was {run.status}: {run.error or run.metrics.get('verdict', '')}"
    return f"{said}. Tried again after {due} new labels (now {new}), a change of settings, or --retrain {name}"


def missing(
    attribute: Attribute, coverage: Coverage, min_labels: int, splits: Mapping[str, int] | None = None
) -> str | None:
    """Return in words what an attribute lacks to be trained, or None. `splits` are the products in each."""
    if coverage.labelled < min_labels:
        lacking = [key for key in attribute.labels.keys if not coverage.per_value.get(key)]
        none = f"; {len(lacking)} of {attribute.labels.size} values have none" if lacking else ""
        return f"{coverage.labelled} of {min_labels} labels{none}"
    lack = badly_split(attribute, coverage, splits)
    return "; ".join(lack) if lack else None


def badly_split(
    attribute: Attribute, coverage: Coverage, splits: Mapping[str, int] | None = None
) -> tuple[str, str] | None:
    """Return what labels lack that are enough, but in the wrong splits, and what to do; or None."""
    where = ", ".join(f"{count} in {split}" for split, count in coverage.per_split.items() if count)
    if not coverage.per_split.get("train"):
        return f"no label in the train split, so nothing could be learnt ({where})", _how_to_fill("train", splits)
    taught = [key for key in attribute.labels.keys if coverage.train_values.get(key)]
    # An image without the one value that is taught has none of them, which is another answer.
    several = not attribute.labels.exclusive and len(taught) == 1
    others = several and coverage.per_split.get("train", 0) > coverage.train_values[taught[0]]
    if len(taught) + others < min(2, attribute.labels.size):
        return f"all labels in the train split say {taught[0] if taught else 'nothing'}", "two values are needed"
    if not coverage.per_split.get("val"):
        return f"no label in the val split, so nothing could be measured ({where})", _how_to_fill("val", splits)
    return None


def empty_splits(splits: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield of each split that no product is in what cannot be done without it, and what to do."""
    without = {
        "train": "nothing can be learnt",
        "val": "nothing can be measured while it is learnt",
        "test": "no score of it can be trusted",
    }
    products = sum(splits.values())
    for split, lost in without.items():
        if products and not splits.get(split):
            yield f"none of the {products} products is in the {split} split, so {lost}", _how_to_fill(split, splits)


def _how_to_fill(split: str, splits: Mapping[str, int] | None) -> str:
    """Return what to do about a split without labels: label its products, or if there are none put some into it."""
    if splits is None or splits.get(split):
        return f"label some products of the {split} split too"
    share = "most" if split == "train" else "one in seven"
    return f"write {split} in the column split of the label file for {share} of the products, and ingest it again"


def _forecast(runs: Iterable[TrainingRun], action: str, depth: str, labels: int) -> Forecast:
    """Return the cost by the median of what earlier runs took: seconds a label, and megabytes.

    Those of the same action and depth say most; where there are none, those of the same action, and then all.
    """
    growths = [run for run in runs if run.action in ("grow", "retrain") and run.seconds and run.metrics.get("labels")]
    alike = [run for run in growths if run.action == action]
    closest = [run for run in alike if run.metrics.get("depth") == depth] or alike or growths
    paces = [(run.seconds or 0.0) / int(run.metrics["labels"]) for run in closest]
    sizes = [run.metrics["megabytes"] for run in closest if run.metrics.get("megabytes") is not None]
    minutes = round(median(paces) * labels / 60, 2) if paces else None
    return Forecast(labels, minutes, round(median(sizes), 1) if sizes else None)


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"
