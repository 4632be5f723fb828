"""Images roots: the folders below which label files name their images.

One that lies below the folder of the configuration (the `home` of a catalogue) is kept relative to it, so a project can
be moved with its images; any other is kept as it is. What leaves this module is always where a root lies now.

Images behind URLs lie below no folder. They have one root of their own, which is none of `roots`: it is not moved, and
never gone.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ..database.tables import Image, ImagesRoot

#: How the root of all images behind URLs is kept, wherever the label file lies that names them; no path ends like that.
REMOTE = "url://"


def home(connection: Connection) -> Path | None:
    """Return the folder that roots are kept relative to, None if the catalogue was opened without one."""
    found: Path | None = connection.get_execution_options().get("attributree_home")
    return found


def roots(connection: Connection) -> dict[int, Path]:
    """Return where each images root lies, by its id. Without a home, relative ones lie below the current folder."""
    base = home(connection) or Path.cwd()
    return {row.id: Path(os.path.normpath(base / row.folder)) for row in _rows(connection)}


def _rows(connection: Connection) -> list[Row[int, str]]:
    query = select(ImagesRoot.id, ImagesRoot.folder).where(ImagesRoot.folder != REMOTE)
    return list(connection.execute(query.order_by(ImagesRoot.id)))


def root_id(connection: Connection, folder: Path) -> int | None:
    """Return the id of an images root, None if no image has been there. All symbolic links are followed."""
    folder = folder.resolve()
    return next((number for number, place in roots(connection).items() if place.resolve() == folder), None)


def add_root(connection: Connection, folder: Path) -> int:
    """Store an images root that is not known yet, and return its id."""
    return _add(connection, stored(connection, folder))


def remote_id(connection: Connection) -> int | None:
    """Return the id of the root of images behind URLs, None if there has been none."""
    return connection.execute(select(ImagesRoot.id).where(ImagesRoot.folder == REMOTE)).scalar()


def add_remote(connection: Connection) -> int:
    """Store the root of images behind URLs, which is not there yet, and return its id."""
    return _add(connection, REMOTE)


def _add(connection: Connection, kept: str) -> int:
    new = insert(ImagesRoot).values(folder=kept).returning(ImagesRoot.id)
    row_id: int = connection.execute(new).scalar_one()
    return row_id


def stored(connection: Connection, folder: Path) -> str:
    """Return how a root is kept: relative to the home if it lies there or below."""
    base = home(connection)
    if base is not None and folder.is_relative_to(base):
        return folder.relative_to(base).as_posix()
    return folder.as_posix()


def adopt_roots(connection: Connection) -> None:
    """Keep roots and files relative that attributree kept absolute before it knew of relative ones."""
    rows = {row.id: row.folder for row in _rows(connection)}
    for number, folder in rows.items():
        relative = stored(connection, Path(folder))
        if relative != folder and relative not in rows.values():
            _keep_files_relative(connection, number, folder)
            connection.execute(update(ImagesRoot).where(ImagesRoot.id == number).values(folder=relative))


def _keep_files_relative(connection: Connection, number: int, folder: str) -> None:
    """Make the places that differ from an image's path relative to its root, which was kept as `folder`."""
    if not Path(folder).is_absolute():
        return
    before = folder.rstrip("/") + "/"
    below = (Image.root_id == number) & (func.substr(Image.file, 1, len(before)) == before)
    connection.execute(update(Image).where(below).values(file=func.substr(Image.file, len(before) + 1)))


def move_root(connection: Connection, number: int, folder: Path) -> None:
    """Let a root lie at `folder` from now on; if that is a root already, its images become that one's."""
    (was,) = [row.folder for row in _rows(connection) if row.id == number]
    _keep_files_relative(connection, number, was)
    here = ImagesRoot.id == number
    other = root_id(connection, folder)
    if other is None:
        connection.execute(update(ImagesRoot).where(here).values(folder=stored(connection, folder)))
    elif other != number:
        connection.execute(update(Image).where(Image.root_id == number).values(root_id=other))
        connection.execute(delete(ImagesRoot).where(here))


def gone_roots(connection: Connection) -> dict[int, Path]:
    """Return the roots of images whose folder is not there, by id."""
    gone = {number: place for number, place in roots(connection).items() if not place.is_dir()}
    if not gone:
        return {}
    used = select(Image.id).where(Image.root_id == ImagesRoot.id).exists()
    query = select(ImagesRoot.id).where(ImagesRoot.id.in_(gone), used).order_by(ImagesRoot.id)
    return {number: gone[number] for number in connection.execute(query).scalars()}


def how_to_relocate(connection: Connection, gone: Path, new: Path | None = None) -> str:
    """Return what to type if a root has been moved: to `new`, or if that is None to a likely place below the home."""
    base = home(connection)
    ends = [Path(*gone.parts[i:]) for i in range(1, len(gone.parts))]
    found = new or (next((base / end for end in ends if (base / end).is_dir()), None) if base else None)
    return f"attributree relocate {shlex.quote(str(gone))} {shlex.quote(str(found)) if found else 'NEW'}"


def warnings(connection: Connection) -> list[str]:
    """Return a line for each root that is gone, with what to type."""
    return [
        f"the images root {place} is gone; if it was moved, type: {how_to_relocate(connection, place)}"
        for place in gone_roots(connection).values()
    ]
