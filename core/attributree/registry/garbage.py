"""Garbage: parts that no trunk and no branch in the catalogue names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .artifacts import ArtifactStore


@dataclass(frozen=True)
class Garbage:
    """Parts deleted, or to be deleted, and their bytes; parts kept; what killed writers left behind."""

    deleted: int
    bytes: int
    kept: int
    leftovers: int


def collect_garbage(store: ArtifactStore, named: Collection[str], *, dry_run: bool = False) -> Garbage:
    """Delete every stored part that is not in `named`, and leftovers of killed writers. No worker may be training."""
    stored = sorted(store.digests())
    orphans = [digest for digest in stored if digest not in named]
    size = sum(store.size(digest) for digest in orphans)
    leftovers = len(store.leftovers())
    if not dry_run:
        store.sweep()
        for digest in orphans:
            store.path(digest).unlink(missing_ok=True)
    return Garbage(len(orphans), size, len(stored) - len(orphans), leftovers)
