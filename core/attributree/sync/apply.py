"""Carrying a plan out: schemas first, then one training after the other, each promoted by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..catalog import Catalog
from ..config import Settings
from ..plugins import LoadedPlugins
from ..progress import Progress
from .plan import Plan, World, plan_sync
from .report import BLOCKED, SKIPPED, Result, SyncReport


def observe_world(catalog: Catalog, plugins: LoadedPlugins) -> World:
    """Return everything a plan depends on, read from the catalogue and the plugins."""
    live = catalog.live()
    catalogued = catalog.attributes()
    # A finetune that was gated out says nothing against growing.
    last_run = {run.attribute: run for run in catalog.runs() if run.action != "finetune" or run.status == "promoted"}
    here = [name for name in plugins.attributes if name in catalogued]
    branches = live.branches if live else {}
    return World(
        declared=plugins.attributes,
        declared_by=plugins.declared_by,
        problems=plugins.problems,
        catalogued=catalogued,
        coverage={name: catalog.coverage(attribute) for name, attribute in plugins.attributes.items()},
        live=live,
        new_labels={name: catalog.new_labels(name, branches[name].revision) for name in here if name in branches},
        labels_since_run={name: catalog.new_labels(name, last_run[name].revision) for name in here if name in last_run},
        last_run=last_run,
    )


def _to_declare(plan: Plan, catalog: Catalog, plugins: LoadedPlugins) -> list[str]:
    """Return what to declare: what the plan registers and evolves, and what has another title or owner now."""
    planned = {action.attribute for action in plan.of("register", "evolve")}
    blocked = {action.attribute for action in plan.blocked}
    catalogued = catalog.attributes()
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
    return plan_sync(observe_world(catalog, plugins), settings, only=only, retrain=retrain)


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

    One process syncs at a time; a second one waits, plans anew and finds the work done. `announce` is told the
    plan before anything happens, `done` each result as it comes. `executor` is inline or torchrun, with so many
    `processes`. The network is only imported when there is
    something to train. One attribute that fails is reported and leaves the others alone.
    """
    with catalog.sync_lock():
        plan = make_plan(catalog, settings, plugins, only=tuple(only), retrain=tuple(retrain))
        if announce:
            announce(plan)
        for name in _to_declare(plan, catalog, plugins):
            catalog.declare(plugins.attributes[name], plugins.declared_by[name])
        for action in plan.of("orphan"):
            assert action.attribute is not None
            catalog.orphan(action.attribute)
        results = [Result(str(a.attribute), a.action, BLOCKED, a.reason) for a in plan.blocked]
        training = plan.training
        if not train:
            results += [Result(a.attribute, a.action, SKIPPED, "--no-train was given") for a in training if a.attribute]
            training = ()
        for result in results:
            if done:
                done(result)
        if not training:
            live = catalog.live()
            return SyncReport(plan, tuple(results), version=live.id if live else None)
        from ..training import make_executor  # torch: seconds that a sync without work does not spend
        from .train import Trainer

        trainer = Trainer(catalog, settings, plugins, progress, make_executor(executor, processes))
        for result in trainer.run(training):
            results.append(result)
            if done:
                done(result)
        live = catalog.live()
        return SyncReport(
            plan, tuple(results), trainer.trunk_report(), live.id if live else None, tuple(trainer.quarantined.items())
        )
