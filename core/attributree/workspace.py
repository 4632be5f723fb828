"""A workspace: configuration, plugins and catalogue together; what the commands and Python users work with.

ws = Workspace.open("plugins.toml")
ws.ingest("products.csv", images="photos/")
ws.sync()
ws.predict(["photos/1.jpg"])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .catalog import Catalog, Forgotten, IngestSummary, PredictionRecord, Sources, TreeVersion, upgrade
from .catalog.auto import DECLARED_BY
from .catalog.ingest import DEFAULT_SOURCE
from .config import FILE_NAME, Settings, anchor_database, load_settings, render_default_toml
from .errors import ConfigError
from .plugins import LoadedPlugins, load_plugins
from .progress import Progress
from .sync import Plan, Result, SyncReport, World, make_plan, observe_world, plan_sync, sync_catalog
from .sync.actor import actor
from .sync.plan import broken_owner

if TYPE_CHECKING:
    from .comparison.report import Comparison
    from .inference import LiveTree, Prediction
    from .registry import Garbage
    from .sync.pretrain import PretrainReport


class Workspace:
    """One catalogue with its configuration and the plugins that are installed.

    Plugins and the catalogue are opened when they are first needed. `strict` turns a broken plugin into an error.
    """

    def __init__(
        self, settings: Settings, *, strict: bool = False, extra_plugins: Mapping[str, object] | None = None
    ) -> None:
        self.settings = settings
        self.strict = strict or settings.plugins.strict
        self._extra_plugins = extra_plugins

    @classmethod
    def open(
        cls,
        config: Path | str | None = None,
        *,
        database: str | None = None,
        strict: bool = False,
        extra_plugins: Mapping[str, object] | None = None,
    ) -> Self:
        """Open the workspace of a plugins.toml (default: $ATTRIBUTREE_CONFIG, then ./plugins.toml).

        `extra_plugins` adds modules or objects as plugins by name, without an installation. Raises ConfigError.
        """
        return cls(load_settings(config, database=database), strict=strict, extra_plugins=extra_plugins)

    @classmethod
    def create(cls, folder: Path | str = ".", *, database: str | None = None) -> Self:
        """Write a commented plugins.toml into `folder`, create the catalogue, and open both.

        A plugins.toml that is there already is used and left as it is; so is the catalogue, but for an upgrade.
        """
        folder = Path(folder)
        file = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                file.write_text(render_default_toml(database and anchor_database(database)), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
        workspace = cls.open(file, database=database)
        upgrade(workspace.settings.catalog.database)
        return workspace

    @cached_property
    def plugins(self) -> LoadedPlugins:
        """The loaded plugins. Raises PluginError if one is broken and the workspace is strict."""
        loaded = load_plugins(self.settings.plugins, extra=self._extra_plugins)
        if self.strict:
            loaded.require_healthy()
        return loaded

    @property
    def declared(self) -> LoadedPlugins:
        """The loaded plugins, and with `catalog -> auto_attributes` what the catalogue's own columns declare."""
        if not self.settings.catalog.auto_attributes:
            return self.plugins
        own = self.catalog.auto_attributes({*self.plugins.attributes, *self._unanswered()})
        attributes = dict(sorted({**own, **self.plugins.attributes}.items()))
        declared_by = {**dict.fromkeys(own, DECLARED_BY), **self.plugins.declared_by}
        return replace(self.plugins, attributes=attributes, declared_by=declared_by)

    def _unanswered(self) -> set[str]:
        """Return the attributes whose own plugin is broken just now: they wait for its repair."""
        problems = self.plugins.problems
        return {name for name, known in self.catalog.attributes().items() if broken_owner(known, problems)}

    @cached_property
    def catalog(self) -> Catalog:
        """The open catalogue. Raises CatalogVersionError, with the command to type, if its schema is another."""
        sources = Sources.configured(self.settings.trust_changes())
        return Catalog.open(self.settings.catalog.database, timeout=self.settings.catalog.timeout, sources=sources)

    def close(self) -> None:
        """Give back what is open."""
        if "catalog" in self.__dict__:
            self.catalog.close()
            del self.catalog

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what can be done --------------------------------------------------------------------------

    def ingest(
        self,
        file: Path | str,
        *,
        images: Path | str | None = None,
        source: str = DEFAULT_SOURCE,
        progress: Callable[[int], None] | None = None,
    ) -> IngestSummary:
        """Store a label file; `images` is the root of its image paths (default: its own folder)."""
        root = Path(images) if images is not None else None
        summary = self.catalog.ingest(Path(file), images=root, source=source, progress=progress)
        return replace(summary, undeclared=self._undeclared(summary.undeclared))

    def _undeclared(self, columns: Mapping[str, int]) -> dict[str, int]:
        """Return the columns that no plugin declares; the catalogue knows only of those it has registered."""
        return {column: count for column, count in columns.items() if column not in self.declared.attributes}

    def plan(self, *, only: Iterable[str] = (), retrain: Iterable[str] = ()) -> Plan:
        """Return what `sync` would do."""
        return make_plan(self.catalog, self.settings, self.declared, only=only, retrain=retrain)

    def world(self) -> World:
        """Return what a plan is made from: declared, catalogued and live."""
        return observe_world(self.catalog, self.declared)

    def sync(
        self,
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
        """Reconcile: register, evolve, grow, retrain. See `attributree.sync.sync_catalog`."""
        return sync_catalog(
            self.catalog,
            self.settings,
            self.declared,
            only=only,
            retrain=retrain,
            train=train,
            executor=executor,
            processes=processes,
            announce=announce,
            progress=progress,
            done=done,
        )

    def finetune(self, *, executor: str = "inline", processes: int = 0, progress: Progress | None = None) -> SyncReport:
        """Train the live tree's trunk and branches together, gated by attribute. Imports torch.

        See `attributree.sync.finetune.finetune_catalog`.
        """
        from .sync.finetune import finetune_catalog
        from .training import make_executor

        run = make_executor(executor, processes)
        return finetune_catalog(self.catalog, self.settings, self.declared, progress=progress, executor=run)

    def pretrain(
        self,
        out: Path | str | None = None,
        *,
        epochs: int | None = None,
        images: int | None = None,
        progress: Progress | None = None,
    ) -> PretrainReport:
        """Learn trunk weights from the catalogue's images without labels; `out` is trunk.safetensors by default.

        See `attributree.sync.pretrain.pretrain_trunk`. Imports torch.
        """
        from .sync.pretrain import pretrain_trunk

        file = self.settings.folder / "trunk.safetensors" if out is None else Path(out)
        return pretrain_trunk(
            self.catalog, self.settings, self.declared, file, epochs=epochs, images=images, progress=progress
        )

    def live(self, progress: Progress | None = None) -> LiveTree:
        """Return the live tree, loaded. Raises CatalogError if nothing is live. Imports torch."""
        from .inference import LiveTree

        return LiveTree(self.catalog, self.settings, self.declared, progress)

    def predict(
        self, images: Sequence[Path | str], *, attributes: Iterable[str] = (), article_type: str | None = None
    ) -> list[Prediction]:
        """Return what the live tree says of image files."""
        return self.live().predict_files(images, attributes, article_type)

    def predict_missing(self, *, attributes: Iterable[str] = ()) -> Iterator[Prediction]:
        """Fill the catalogue's gaps: predict, store and yield."""
        return self.live().predict_missing(attributes)

    def evaluate(self, split: str = "test", *, attributes: Iterable[str] = ()) -> dict[str, Any]:
        """Return the live tree's scores on a split, as `evaluate --json` shows them."""
        return self.live().evaluate(split, attributes)

    def compare(
        self,
        *,
        arms: Iterable[str] = (),
        seeds: Iterable[int] = (),
        attributes: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> Comparison:
        """Train individual networks, a multi-label network and the tree side by side. See `comparison.run.compare`."""
        from .comparison.run import compare

        return compare(
            self.catalog, self.settings, self.declared, arms=arms, seeds=seeds, attributes=attributes, progress=progress
        )

    def status(self) -> dict[str, Any]:
        """Return coverage, live branches and what sync would do, as `status --json` shows them."""
        world = self.world()
        plan = plan_sync(world, self.settings)
        counts = self.catalog.counts()
        names = sorted({*world.declared, *world.catalogued})
        return {
            "images": counts.images,
            "products": counts.products,
            "observations": counts.observations,
            "revision": counts.revision,
            "version": world.live.id if world.live else None,
            "attributes": {name: self._attribute_status(world, plan, name) for name in names},
            "undeclared": self._undeclared(self.catalog.undeclared()),
            "quarantined": [{"image": i.path, "reason": i.reason} for i in self.catalog.quarantined()],
            "plan": [action.to_json() for action in plan.actions],
            "notes": list(plan.notes),
        }

    def _attribute_status(self, world: World, plan: Plan, name: str) -> dict[str, Any]:
        catalogued = world.catalogued.get(name)
        schema = world.declared.get(name) or (catalogued.schema if catalogued else None)
        assert schema is not None
        coverage = world.coverage.get(name) or self.catalog.coverage(schema)
        branch = world.live.branches.get(name) if world.live else None
        scores = branch.metrics.get("test", {}) if branch else {}
        return {
            "declared_by": world.declared_by.get(name) or (catalogued.declared_by if catalogued else None),
            "labelled": coverage.labelled,
            "ambiguous": coverage.ambiguous,
            "not_applicable": coverage.not_applicable,
            "unknown": coverage.unknown,
            "branch": branch.id if branch else None,
            "state": _state(world, plan, name, branch is not None),
            "accuracy": scores.get("accuracy"),
            "macro_f1": scores.get("macro_f1"),
            "unreadable": [{"text": u.text, "count": u.count, "nearest": u.nearest} for u in coverage.unreadable],
        }

    def predictions(self, attribute: str, image_ids: Iterable[int] | None = None) -> list[PredictionRecord]:
        """Return the stored predictions for one attribute, under today's values; see `predict_missing`."""
        return self.catalog.predictions(attribute, image_ids)

    def versions(self) -> list[TreeVersion]:
        """Return all tree versions, oldest first."""
        return self.catalog.versions()

    def promote(self, version: int, *, reason: str = "promoted by hand") -> TreeVersion:
        """Make a stored tree version live, once all its parts were found whole. Imports torch."""
        from .sync.rollback import promote_version

        return promote_version(self.catalog, self.settings, version, reason)

    def rollback(self, attribute: str | None = None, *, reason: str = "rolled back by hand") -> TreeVersion:
        """Go back to what the live tree was made from: the whole of it, or one attribute's branch. Imports torch."""
        from .sync.rollback import roll_back, roll_back_branch

        if attribute is None:
            return roll_back(self.catalog, self.settings, reason)
        return roll_back_branch(self.catalog, self.settings, self.declared, attribute, reason)

    def forget(self, skus: Sequence[str]) -> Forgotten:
        """Delete products with all that was said or predicted of them, in the catalogue and in the caches.

        Raises UnknownNameError, deleting nothing, for an unknown sku; CatalogError while somebody trains.
        """
        from .stores import erase_everywhere

        with self.catalog.sync_lock():
            self.catalog.require_idle()
            gone = self.catalog.forget(skus, actor())
            return replace(gone, records=erase_everywhere(self.settings.catalog.cache, gone.digests))

    def gc(self, *, dry_run: bool = False) -> Garbage:
        """Delete the parts in the artifact folder that no stored trunk or branch is made of. Imports torch."""
        from .registry import ArtifactStore, collect_garbage

        with self.catalog.sync_lock():
            self.catalog.require_idle()
            store = ArtifactStore(self.settings.catalog.artifacts)
            return collect_garbage(store, self.catalog.named_parts(), dry_run=dry_run)


def _state(world: World, plan: Plan, name: str, has_branch: bool) -> str:
    """Return orphaned, live, due (sync would train it) or blocked."""
    if name not in world.declared:  # a broken plugin's attribute waits for its repair
        return "blocked" if any(action.attribute == name for action in plan.blocked) else "orphaned"
    if any(action.attribute == name for action in plan.training):
        return "due"
    return "live" if has_branch else "blocked"
