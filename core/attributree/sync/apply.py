"""Carrying a plan out: schemas first, then one training after the other, each promoted by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from ..catalog import Catalog
from ..errors import CatalogError
from ..labels.lineage import predecessor
from ..labels.records import CatalogAttribute
from ..plugins import LoadedPlugins
from ..reports import BLOCKED, BUSY, SKIPPED, Action, Plan, Progress, Result, SyncReport
from ..settings.models import Settings
from ..settings.recipes import tuned
from ..text.mine import mine
from .actor import actor, versions
from .plan import World, plan_sync

if TYPE_CHECKING:
    from .train import Trainer

#: How often it is asked whether another worker is done.
_POLL_SECONDS = 0.5


def observe_world(catalog: Catalog, plugins: LoadedPlugins) -> World:
    """Return everything a plan depends on, read from the catalogue and the plugins."""
    live = catalog.registry.live()
    catalogued = catalog.labels.attributes()
    # A finetune that was gated out says nothing against growing, nor does what was cancelled.
    runs = [run for run in catalog.registry.runs() if run.status != "cancelled"]
    last_run = {run.attribute: run for run in runs if run.action != "finetune" or run.status == "promoted"}
    names, refused = _names(plugins, catalogued)
    todays = {former: name for name, former in names.items()}
    catalogued = {todays.get(name, name): known for name, known in catalogued.items()}
    last_run = {todays.get(name, name): run for name, run in last_run.items()}
    if live:
        renamed = {todays.get(name, name): branch for name, branch in live.branches.items()}
        live = replace(live, branches={name: replace(branch, attribute=name) for name, branch in renamed.items()})
    branches = live.branches if live else {}

    def new_labels(name: str, since: int) -> int:
        return catalog.labels.new_labels(names[name], since)

    return World(
        declared=plugins.attributes,
        declared_by=plugins.declared_by,
        problems=plugins.problems,
        catalogued=catalogued,
        coverage={name: catalog.labels.coverage(attribute) for name, attribute in plugins.attributes.items()},
        live=live,
        new_labels={name: new_labels(name, branches[name].revision) for name in names if name in branches},
        labels_since_run={name: new_labels(name, last_run[name].revision) for name in names if name in last_run},
        last_run=last_run,
        refused=refused,
        training=catalog.registry.training(),
        runs=tuple(runs),
        sources=catalog.labels.sources(),
    )


def _names(plugins: LoadedPlugins, catalogued: Mapping[str, CatalogAttribute]) -> tuple[dict[str, str], dict[str, str]]:
    """Return under which name the catalogue knows each declared attribute, and why it cannot take others in."""
    known = {name: attribute.former_names for name, attribute in catalogued.items()}
    names: dict[str, str] = {}
    refused: dict[str, str] = {}
    for name, attribute in plugins.attributes.items():
        try:
            former = predecessor(attribute, known)
        except CatalogError as error:
            refused[name] = str(error)
            continue
        rival = former if former in plugins.attributes else next((n for n, f in names.items() if f == former), name)
        if former is not None and rival != name:
            refused[name] = (
                f"attribute {name!r} names in formerly what the catalogue knows as {former!r}, and {rival!r} is that "
                "attribute already; leave it out of formerly"
            )
        elif former is not None:
            names[name] = former
    return names, refused


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
    return plan_sync(observe_world(catalog, plugins), tuned(settings, plugins), only=only, retrain=retrain)


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
    process's work until it is live. `announce` is told the
    plan before anything happens, `done` each result as it comes. `executor` is inline or torchrun, with so many
    `processes`. The network is only imported when there is
    something to train. One attribute that fails is reported and leaves the others alone.
    """
    results: list[Result] = []

    def tell(result: Result) -> None:
        results.append(result)
        if done:
            done(result)

    with ExitStack() as lock:
        lock.enter_context(catalog.sync_lock())
        if settings.catalog.mine_text:  # first: what texts say may be what a training waits for
            _mine(catalog, settings, plugins, progress)
        seen = finished_runs(catalog)
        plan = make_plan(catalog, settings, plugins, only=tuple(only), retrain=tuple(retrain))
        if announce:
            announce(plan)
        catalog.labels.follow_sources()
        for name in _to_declare(plan, catalog, plugins):
            owner = plugins.declared_by[name]
            catalog.labels.declare(plugins.attributes[name], owner, versions(plugins).get(owner), actor=actor())
        for action in plan.of("orphan"):
            assert action.attribute is not None
            catalog.labels.orphan(action.attribute, actor=actor())
        for action in plan.blocked:
            tell(Result(str(action.attribute), action.action, BLOCKED, action.reason))
        training = plan.training
        if not train:
            for action in training:
                if action.attribute:
                    tell(Result(action.attribute, action.action, SKIPPED, "--no-train was given"))
            training = ()
        if not training:
            live = catalog.registry.live()
            return SyncReport(plan, tuple(results), version=live.id if live else None)
        from ..training import make_executor  # torch: seconds that a sync without work does not spend
        from .lease import Leases
        from .train import Trainer

        run = make_executor(executor, processes)
        with Leases(catalog) as leases:
            trainer = Trainer(catalog, settings, plugins, progress, run, leases=leases, seen=seen, standing=lock.close)
            busy = _share(trainer, training, tell)
            quarantined, trunk = dict(trainer.quarantined), trainer.trunk_report()
            while busy:
                lock.close()
                _wait(catalog, busy)
                lock.enter_context(catalog.sync_lock())
                seen = finished_runs(catalog)
                left = make_plan(catalog, settings, plugins, only=sorted(busy)).training
                for name in sorted(busy.keys() - {action.attribute for action in left}):
                    tell(Result(name, busy[name].action, SKIPPED, "another sync trained it meanwhile"))
                trainer = Trainer(
                    catalog, settings, plugins, progress, run, leases=leases, seen=seen, standing=lock.close
                )
                busy = _share(trainer, left, tell) if left else {}
                quarantined |= trainer.quarantined
    live = catalog.registry.live()
    return SyncReport(plan, tuple(results), trunk, live.id if live else None, tuple(quarantined.items()))


def _mine(catalog: Catalog, settings: Settings, plugins: LoadedPlugins, progress: Progress | None) -> None:
    products = catalog.labels.counts().products

    def tell(done: int) -> None:
        if progress:
            progress("reading texts", done, products)

    mine(catalog.labels, plugins.attributes, languages=settings.catalog.languages, progress=tell)


def finished_runs(catalog: Catalog) -> frozenset[int]:
    """Return the runs that are over, so that a worker can tell what others finish after it decided."""
    return frozenset(run.id for run in catalog.registry.runs() if run.status != "running")


def _share(trainer: Trainer, training: Iterable[Action], tell: Callable[[Result], None]) -> dict[str, Action]:
    """Train what no other worker trains, tell each result, and return what others are at."""
    actions = {str(action.attribute): action for action in training if action.attribute}
    busy = {}
    for result in trainer.run(tuple(training)):
        if result.status == BUSY:
            busy[result.attribute] = actions[result.attribute]
        else:
            tell(result)
    return busy


def _wait(catalog: Catalog, names: Iterable[str]) -> None:
    """Wait until nobody trains one of `names` any more: done, failed, or dead."""
    wanted = set(names)
    while wanted & catalog.registry.training().keys():
        time.sleep(_POLL_SECONDS)
