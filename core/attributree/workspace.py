"""A workspace: configuration, plugins and catalogue together; what the commands and Python users work with.

ws = Workspace.open("plugins.toml")
ws.ingest("products.csv", images="photos/")
ws.sync()
ws.predict(["photos/1.jpg"])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .article_types import ArticleTypes, TypeReport
from .catalog import Catalog
from .database.migrate import upgrade
from .errors import ConfigError, IngestError, PluginError
from .labels.auto import DECLARED_BY
from .labels.records import Forgotten, IngestSummary, ProductHistory
from .labels.relocate import Relocated
from .labels.resolve import DEFAULT_SOURCE, RESERVED_SOURCES, Sources
from .labels.store import LabelStore
from .plugins import LoadedPlugins, load_plugins
from .plugins.hookspecs import attributree_after_sync, attributree_normalize_label
from .registry.predictions import load as load_predictions
from .registry.store import RegistryStore
from .reports import Plan, Progress, Result, SyncReport
from .schema import Attribute, fold
from .settings.file import FILE_NAME, anchor_database, load_settings, render_default_toml
from .settings.models import Settings, table_of
from .settings.recipes import Recipes
from .status import describe_status
from .sync.actor import actor
from .sync.apply import make_plan, sync_catalog
from .sync.plan import broken_owner, plan_sync
from .sync.state import read_state

if TYPE_CHECKING:
    from .inference.fetch import FetchReport
    from .inference.live import LiveTree
    from .inference.predict import Prediction
    from .inference.products import ProductPrediction
    from .registry.garbage import Garbage


log = logging.getLogger(__name__)

#: Texts whose meaning is remembered before plugins are asked again.
_REMEMBERED = 50_000


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
        workspace.upgrade()
        return workspace

    def upgrade(self) -> str:
        """Create the catalogue, or bring it to the schema of this code; return its schema version."""
        version = upgrade(self.settings.catalog.database)
        self.labels.adopt_roots()
        return version

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
        taken = {column for attribute in self.plugins.attributes.values() for column in attribute.columns}
        # Attributes whose own plugin is broken just now wait for its repair.
        taken |= {n for n, known in self.labels.attributes().items() if broken_owner(known, self.plugins.problems)}
        return self.plugins.with_attributes(self.labels.auto_attributes(taken), DECLARED_BY)

    @cached_property
    def article_types(self) -> ArticleTypes:
        """The article types of settings and plugins. Raises ConfigError if [article_types] does not fit the plugins."""
        broken = frozenset(name for info in self.plugins.problems for name in (info.name, info.owner))
        types = ArticleTypes(table_of(self.settings.article_types), self.plugins.article_types, broken)
        # What a broken plugin would have declared is not missed.
        if not broken and (wrong := types.refused()):
            raise ConfigError(f"plugins.toml: article_types -> {wrong}")
        return types

    @cached_property
    def catalog(self) -> Catalog:
        """The open catalogue. Raises CatalogVersionError, with the command to type, if its schema is another."""
        settings = self.settings.catalog
        sources = Sources.configured(self.settings.trust_changes())
        return Catalog.open(
            settings.database,
            timeout=settings.timeout,
            sources=sources,
            normalizer=_Normalizer(self),
            home=self.settings.home,
            types=lambda: self.article_types,
        )

    @property
    def labels(self) -> LabelStore:
        """What was said of images, and what it means."""
        return self.catalog.labels

    @property
    def registry(self) -> RegistryStore:
        """What was trained, and what of it is live."""
        return self.catalog.registry

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
        """Store a label file; `images` is the root of its image paths (default: its own folder).

        Raises IngestError, also for a `source` that is reserved.
        """
        _check_source(file, source)
        root = Path(images) if images is not None else None
        summary = self.labels.ingest(
            Path(file),
            images=root,
            source=source,
            formats=lambda path: self.plugins.catalog_rows(path),
            remote=self.settings.images,
            progress=progress,
        )
        return replace(summary, undeclared=self.only_undeclared(summary.undeclared))

    def only_undeclared(self, columns: Mapping[str, int]) -> dict[str, int]:
        """Return the columns that no plugin declares; the catalogue knows only of those it has registered."""
        read = {column for attribute in self.declared.attributes.values() for column in attribute.columns}
        return {column: count for column, count in columns.items() if column not in read}

    def relocate(self, old: Path | str, new: Path | str) -> Relocated:
        """Let an images root lie elsewhere; its images keep what was said and predicted of them.

        Raises UnknownNameError if `old` is no images root, CatalogError if its images are not at `new`.
        """
        return self.labels.relocate(Path(old), Path(new), actor())

    def fetch(self, *, recheck: bool = False, progress: Progress | None = None) -> FetchReport:
        """Fetch and decode the images behind URLs that were not yet, those in quarantine again. Imports torch.

        With `recheck`, hosts are asked whether the others have changed.
        """
        from .inference.fetch import fetch_images

        return fetch_images(self.catalog, self.settings, self.plugins, recheck=recheck, progress=progress)

    def plan(self, *, only: Iterable[str] = (), retrain: Iterable[str] = ()) -> Plan:
        """Return what `sync` would do."""
        return make_plan(self.catalog, self.settings, self.declared, only=only, retrain=retrain)

    def check_plan(self, plan: Plan) -> None:
        """Raise TrunkError if `plan` trains something and there is no trunk for it. Imports torch in that case."""
        if plan.training:
            from .sync.new_trunk import require_trunk

            require_trunk(self.catalog, self.settings, self.declared)

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
        """Reconcile: register, evolve, grow, retrain. See `attributree.sync.sync_catalog`.

        Plugins are told if it did something; one that fails at that is a warning in the log.
        """
        report = sync_catalog(
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
        if report.did_something:
            for problem in self.plugins.each(attributree_after_sync, report=report)[1]:
                log.warning("%s", problem)
        return report

    def live(self, progress: Progress | None = None) -> LiveTree:
        """Return the live tree, loaded. Raises CatalogError if nothing is live. Imports torch."""
        catalog = self.catalog  # before torch, so that a wrong database is refused at once
        from .inference.live import LiveTree

        return LiveTree(catalog, self.settings, self.declared, progress)

    def predict(
        self, images: Sequence[Path | str], *, attributes: Iterable[str] = (), article_type: str | None = None
    ) -> list[Prediction]:
        """Return what the live tree says of images, files or URLs."""
        return self.live().predict_files(images, attributes, article_type)

    def predict_products(self, skus: Sequence[str], *, attributes: Iterable[str] = ()) -> list[ProductPrediction]:
        """Return what the live tree says of products of the catalogue, each from all its pictures together.

        Raises UnknownNameError for a sku that is not in the catalogue.
        """
        from .inference.products import predict_products

        return list(predict_products(self.live(), skus, attributes))

    def status(self) -> dict[str, Any]:
        """Return coverage, live branches and what sync would do, as `status --json` shows them."""
        state = read_state(self.catalog, self.declared)
        plan = plan_sync(state, Recipes.read(self.settings, self.declared))
        undeclared = self.only_undeclared(self.labels.undeclared())
        return describe_status(self.catalog, state, plan, undeclared, self.unmapped_types(state.products))

    def types(self) -> tuple[TypeReport, ...]:
        """Return the shop's article types, the commonest first, with what they are and what is asked of them.

        So it is from the next sync or ingest on, if the catalogue follows other ones still.
        """
        products = self.labels.product_counts()
        products.pop("", None)
        attributes = self.declared.attributes.values()
        return self.labels.next_types().reports(products, self.labels.stated_labels(), attributes)

    def unmapped_types(self, products: Mapping[str, int] | None = None) -> tuple[TypeReport, ...]:
        """Return the article types of the catalogue that no rule maps, the commonest first.

        `products` are the numbers of products by article type, if they have been counted already.
        """
        types = self.labels.next_types()
        counts = self.labels.product_counts() if products is None else products
        products = {word: n for word, n in counts.items() if word and types.resolve(word).canonical is None}
        stated = self.labels.stated_labels(list(products))
        return types.reports(products, stated, self.declared.attributes.values())

    def history(self, sku: str) -> ProductHistory:
        """Return all that is kept of a product: its images, what was said of them, what was predicted."""
        return self.labels.history(sku, load_predictions)

    def forget(self, skus: Sequence[str]) -> Forgotten:
        """Delete products with all that was said or predicted of them, in the catalogue and in the caches.

        Raises UnknownNameError, deleting nothing, for an unknown sku; CatalogError while somebody trains.
        """
        from .images.array_store import erase_everywhere
        from .images.remote import RemoteFiles

        with self.catalog.sync_lock():
            self.registry.require_idle()
            gone = self.labels.forget(skus, actor())
            remote = RemoteFiles.of(self.settings)
            for url in gone.urls:
                remote.drop(url)
            return replace(gone, records=erase_everywhere(self.settings.catalog.cache, gone.digests))

    def gc(self, *, dry_run: bool = False) -> Garbage:
        """Delete the parts in the artifact folder that no stored trunk or branch is made of. Imports torch."""
        from .registry.artifacts import ArtifactStore
        from .registry.garbage import collect_garbage

        with self.catalog.sync_lock():
            self.registry.require_idle()
            store = ArtifactStore(self.settings.catalog.artifacts)
            return collect_garbage(store, self.registry.named_parts(), dry_run=dry_run)


def _check_source(file: Path | str, source: str) -> None:
    """Raise IngestError if a label file would speak for a reserved source; warn if it would be believed as one is."""
    name = source.strip()
    for reserved, whose in RESERVED_SOURCES.items():
        if name == reserved:
            raise IngestError(f"{file}: the source {reserved!r} is reserved for {whose}; give another --source NAME")
        if fold(name) == reserved:
            log.warning("the source %r is believed as %r is, that is as %s", name, reserved, whose)


class _Normalizer:
    """Asks plugins what texts mean, each different text once; they are only loaded when a text is unknown."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._warned: set[str] = set()
        self._remembered = lru_cache(_REMEMBERED)(self._ask)  # what raises is not remembered

    def who(self, attribute: str) -> str:
        return self._workspace.plugins.who_is_asked(attributree_normalize_label, attribute)

    def __call__(self, attribute: Attribute, text: str) -> str | None:
        """Return what plugins say that `text` means; a failure is an error if the workspace is strict."""
        try:
            return self._remembered(attribute, text)
        except PluginError as error:
            if self._workspace.strict:
                raise
            if attribute.name not in self._warned:
                self._warned.add(attribute.name)
                log.warning("%s; what it fails in stays unknown, %r first", error, text)
            return None

    def _ask(self, attribute: Attribute, text: str) -> str | None:
        answer = self._workspace.plugins.first(attributree_normalize_label, attribute, text=text)
        return answer.value if answer else None
