"""Moving an images root: its images keep what was said and predicted of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from ..database.engine import Database
from ..database.tables import Image
from ..errors import CatalogError, UnknownNameError
from .annotations import new_revision
from .roots import move_root, root_id, roots


@dataclass(frozen=True)
class Relocated:
    """A root that lies at `folder` now, where its place was `was`; `found` of its `images` are there."""

    was: str
    folder: str
    images: int
    found: int


def relocate(database: Database, old: Path, new: Path, actor: str) -> Relocated:
    """Let the images root `old` lie at `new`, for `actor`.

    Raises UnknownNameError if `old` is no root. Raises CatalogError, and changes nothing, if `new` is no folder, has
    none of the images, or is a root that has images of the same paths.
    """
    new = new.resolve()
    if not new.is_dir():
        raise CatalogError(f"{new} is not a folder; nothing was changed")
    number, was, paths = database.read(lambda connection: _images_of(connection, old))
    found = sum((new / path).is_file() for path in paths)
    if paths and not found:
        raise CatalogError(f"none of the {len(paths)} images of {was} is in {new}; nothing was changed")
    database.write(lambda connection: _move(connection, number, was, new, actor))
    return Relocated(str(was), str(new), len(paths), found)


def _images_of(connection: Connection, old: Path) -> tuple[int, Path, list[str]]:
    """Return a root's id, where it lay, and where its images are below it."""
    known = roots(connection)
    plain = Path(os.path.abspath(old))  # noqa: PTH100  # it need not be there, and links in it may not be either
    number = next((number for number, place in known.items() if place == plain), None) or root_id(connection, old)
    if number is None:
        there = ", ".join(sorted(map(str, known.values()))) or "none"
        raise UnknownNameError(f"{old} is no images root (there: {there})")
    query = select(func.coalesce(Image.file, Image.path)).where(Image.root_id == number)
    was = known[number]
    return number, was, [os.path.relpath(was / path, was) for path in connection.execute(query).scalars()]


def _move(connection: Connection, number: int, was: Path, new: Path, actor: str) -> None:
    other = root_id(connection, new)
    if other == number:
        return
    here = select(Image.path).where(Image.root_id == other)
    twins = select(func.count()).where(Image.root_id == number, Image.path.in_(here))
    if count := connection.execute(twins).scalar_one():
        raise CatalogError(
            f"{count} images of {was} are known below {new} too, with labels of their own; nothing was changed. "
            "`attributree forget` their products, relocate, and ingest the label files again"
        )
    move_root(connection, number, new)
    new_revision(connection, "relocate", f"{was} to {new}, by {actor}")
