"""What a plan depends on, read from the catalogue and the plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..article_types import EXACT, ArticleTypes
from ..catalog import Catalog
from ..errors import CatalogError
from ..labels.lineage import predecessor
from ..labels.records import CatalogAttribute, Coverage, SharedPicture
from ..labels.resolve import Sources
from ..plugins import LoadedPlugins, PluginInfo
from ..registry.records import TrainingRun, TreeVersion
from ..schema import Attribute
from .shared import shared_pictures


@dataclass(frozen=True)
class CatalogState:
    """Everything that a plan depends on, by the names that attributes have today.

    `coverage` for each declared attribute; `new_labels` since the live branch and `labels_since_run` since the last
    run, for each declared attribute that has one. An attribute that is about to be renamed is in `catalogued` under its
    new name and still has the old one in its record. `refused` says of declared attributes why they cannot be taken
    in, `training` who trains what right now.
    """

    declared: Mapping[str, Attribute]
    declared_by: Mapping[str, str]
    problems: tuple[PluginInfo, ...]
    catalogued: Mapping[str, CatalogAttribute]
    coverage: Mapping[str, Coverage]
    live: TreeVersion | None
    new_labels: Mapping[str, int] = field(default_factory=dict)
    labels_since_run: Mapping[str, int] = field(default_factory=dict)
    last_run: Mapping[str, TrainingRun] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[TrainingRun, ...] = ()  # all of them, oldest first
    sources: Sources = field(default_factory=Sources)  # the precedence that annotations follow
    root_warnings: tuple[str, ...] = ()  # a line for each images root that is gone
    types: ArticleTypes = EXACT  # the article types that annotations follow
    next_types: ArticleTypes = EXACT  # those that they follow from the next change on
    products: Mapping[str, int] = field(default_factory=dict)  # by article type, as spelt in the catalogue
    splits: Mapping[str, int] = field(default_factory=dict)  # products in each split
    shared: tuple[SharedPicture, ...] = ()  # pictures that are in several splits

    def today(self, name: str) -> Attribute:
        """Return a declared attribute with what the catalogue remembers of former keys and names."""
        catalogued = self.catalogued.get(name)
        return catalogued.bring_up(self.declared[name]) if catalogued else self.declared[name]


def read_state(catalog: Catalog, plugins: LoadedPlugins) -> CatalogState:
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

    return CatalogState(
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
        root_warnings=tuple(catalog.labels.root_warnings()),
        types=catalog.labels.types(),
        next_types=catalog.labels.next_types(),
        products=catalog.labels.product_counts(),
        splits=catalog.labels.products_per_split(),
        shared=shared_pictures(catalog),
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
