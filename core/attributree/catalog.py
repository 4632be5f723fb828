"""A catalogue: one database with the labels and the registry in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from .article_types import ArticleTypes
from .database import migrate
from .database.engine import Database
from .labels.resolve import Normalizer, Sources
from .labels.store import LabelStore
from .registry.store import RegistryStore


class Catalog:
    """An open catalogue: `labels` is what was said of images and what it means, `registry` what was trained on it."""

    def __init__(
        self, url: str, database: Database, sources: Sources | None, types: Callable[[], ArticleTypes] | None
    ) -> None:
        self.url = url
        self._database = database
        self.labels = LabelStore(database, sources, types)
        self.registry = RegistryStore(database)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        timeout: float = 30.0,
        sources: Sources | None = None,
        normalizer: Normalizer | None = None,
        home: Path | None = None,
        types: Callable[[], ArticleTypes] | None = None,
    ) -> Self:
        """Open the catalogue at `url`; a writer waits up to `timeout` seconds for another one.

        `sources` is the precedence that annotations follow from the next change on, and `types` returns the article
        types; None leaves what they follow.
        `normalizer` is asked what texts mean that no value spells. `home` is the folder of the configuration: images
        roots below it are kept relative to it.
        Raises CatalogVersionError, with the command to type, if its schema is not the one of this code.
        """
        migrate.check(url, timeout=timeout)
        home = home and home.resolve()
        database = Database(url, timeout=timeout, attributree_normalizer=normalizer, attributree_home=home)
        return cls(url, database, sources, types)

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def sync_lock(self, *, timeout: float | None = None) -> Iterator[None]:
        """Be the only one who syncs; wait `timeout` seconds for the one who does (None: for ever)."""
        with self._database.lock("sync", timeout=timeout):
            yield
