"""Carrying a plan out: schemas first, then one training after the other, each promoted by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..catalog import Catalog
from ..plugins import LoadedPlugins
from ..reports import BLOCKED, BUSY, SKIPPED, Action, Plan, Progress, Result, SyncReport, TrunkReport
from ..settings.models import Settings
from ..settings.recipes import Recipes
from ..text.mine import mine
from .actor import actor, versions
from .lease import Leases
from .plan import plan_sync
from .state import read_state

#: Seconds between two looks at whether another worker is done.
_POLL_SECONDS = 0.5


def _to_declare(plan: Plan, catalog: Catalog, plugins: LoadedPlugins) -> list[str]:
    """Return what to declare: what the plan registers and evolves, and what has another title or owner now."""
    planned = {action.attribute for action in plan.of("register", "evolve")}
    blocked = {action.attribute for action in plan.blocked}
    catalogued = catalog.labels.attributes()
    names = []
    for name, attribute in plugins.attributes.items():
        known = catalogued.get(name)
        renamed = known is not None and (known.declared_by, known.title) != (plugins.declared_by[name], attribute.title)
        if name in planned or (renamed and name not in blocked):
            names.append(name)
    return names


def make_plan(
    catalog: Catalog,
    settings: Settings,
    plugins: LoadedPlugins,
    *,
    only: Iterable[str] = (),
    retrain: Iterable[str] = (),
) -> Plan:
    """Return what a sync would do now."""
    return plan_sync(read_state(catalog, plugins), Recipes.read(settings, plugins), only=only, retrain=retrain)


def sync_catalog(
    catalog: Catalog,
    settings: Settings,
    plugins: LoadedPlugins,
    *,
    only: Iterable[str] = (),
    retrain: Iterable[str] = (),
    train: bool = True,
    executor: str = "inline",
    processes: int = 0,
    announce: Callable[[Plan], None] | None = None,
    progress: Progress | None = None,
    done: Callable[[Result], None] | None = None,
) -> SyncReport:
    """Bring the catalogue and the live tree in line with what is declared and labelled.

    One process at a time reads plugins and labels and decides; what is to be trained is then shared with others that
    sync at the same time: each attribute is claimed by one of them, and taken over if that one dies. A new trunk is one
    process's work until it is live. `announce` is told the plan before anything happens, `done` each result as it
    comes. `executor` is inline or torchrun, with so many `processes`. torch is only imported when there is something to
    train. One attribute that fails is reported and leaves the others alone.
    """
    results: list[Result] = []
    busy: dict[str, Action] = {}

    def tell(action: Action, result: Result) -> None:
        if result.status == BUSY:
            busy[result.attribute] = action
            return
        results.append(result)
        if done:
            done(result)

    with Leases(catalog) as leases:
        with catalog.sync_lock():
            if settings.catalog.mine_text:  # first: what texts say may be what a training waits for
                _mine(catalog, settings, plugins, progress)
            seen = _finished_runs(catalog)
            plan = make_plan(catalog, settings, plugins, only=tuple(only), retrain=tuple(retrain))
            if announce:
                announce(plan)
            _apply_schemas(plan, catalog, plugins)
            for action in plan.blocked:
                tell(action, Result(str(action.attribute), action.action, BLOCKED, action.reason))
            if not train:
                for action in plan.training:
                    if action.attribute:
                        tell(action, Result(action.attribute, action.action, SKIPPED, "--no-train was given"))
            if not train or not plan.training:
                live = catalog.registry.live()
                return SyncReport(plan, tuple(results), version=live.id if live else None)
            from ..training.executors import make_executor  # torch: seconds that a sync without work does not spend
            from .branch import Job
            from .data import TrainingData
            from .train import begin, grow_left

            data = TrainingData(catalog, settings, plugins, progress)
            job = Job(data, make_executor(executor, processes), leases, seen)
            begun = begin(job, plan.training, tell)
        trunk = None
        if begun.trunk:
            record = begun.trunk.record
            weights, origin = settings.trunk.weights, record.spec.get("origin")
            trunk = TrunkReport(record.digest, weights, begun.trained, origin)
        grow_left(job, begun, tell)
        while busy:
            others, busy = busy, {}
            while others.keys() & catalog.registry.training().keys():  # until done, failed, or dead
                time.sleep(_POLL_SECONDS)
            with catalog.sync_lock():
                job = replace(job, seen=_finished_runs(catalog))
                left = make_plan(catalog, settings, plugins, only=sorted(others)).training
                for name in sorted(others.keys() - {action.attribute for action in left}):
                    why = "another sync trained it meanwhile"
                    tell(others[name], Result(name, others[name].action, SKIPPED, why))
                begun = begin(job, left, tell)
            grow_left(job, begun, tell)
    live = catalog.registry.live()
    return SyncReport(plan, tuple(results), trunk, live.id if live else None, tuple(data.quarantined.items()))


def _apply_schemas(plan: Plan, catalog: Catalog, plugins: LoadedPlugins) -> None:
    """Register, evolve and orphan what the plan says."""
    catalog.labels.follow_settings()
    for name in _to_declare(plan, catalog, plugins):
        owner = plugins.declared_by[name]
        catalog.labels.declare(plugins.attributes[name], owner, versions(plugins).get(owner), actor=actor())
    for action in plan.of("orphan"):
        catalog.labels.orphan(str(action.attribute), actor=actor())


def _mine(catalog: Catalog, settings: Settings, plugins: LoadedPlugins, progress: Progress | None) -> None:
    products = catalog.labels.counts().products
    tell = (lambda done: progress("reading texts", done, products)) if progress else None
    mine(catalog.labels, plugins.attributes, languages=settings.catalog.languages, progress=tell)


def _finished_runs(catalog: Catalog) -> frozenset[int]:
    """Return the runs that are over, so that a worker can tell what others finish after it decided."""
    return frozenset(run.id for run in catalog.registry.runs() if run.status != "running")
