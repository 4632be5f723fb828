"""Garbage: parts that no trunk and no branch in the catalogue names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from .artifacts import ArtifactStore


@dataclass(frozen=True)
class Garbage:
    """Parts deleted, or to be deleted, and their bytes; parts kept; what killed writers left behind."""

    deleted: int
    bytes: int
    kept: int
    leftovers: int

    def to_json(self) -> dict[str, Any]:
        """Return the counts as `gc --json` shows them."""
        return asdict(self)


def collect_garbage(store: ArtifactStore, named: Collection[str], *, dry_run: bool = False) -> Garbage:
    """Delete every stored part that is not in `named`, and leftovers of killed writers. No worker may be training."""
    stored = sorted(store.digests())
    orphans = [digest for digest in stored if digest not in named]
    size = sum(store.size(digest) for digest in orphans)
    leftovers = len(store.leftovers())
    if not dry_run:
        store.sweep()
        for digest in orphans:
            store.delete(digest)
    return Garbage(len(orphans), size, len(stored) - len(orphans), leftovers)
