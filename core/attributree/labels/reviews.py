"""What a tool needs that people review labels with: images a page at a time, by their cells, and what reviewers said.

What they answer goes back through `observations.observe`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from ..database.engine import chunks
from ..database.tables import Image, LabelColumn, Observation, Revision, VoiceRow
from ..errors import UnknownNameError
from ..images.places import normal
from .annotations import newest_last
from .queries import images
from .records import ImageRecord, NewestObservation
from .schemas import declared


def page(connection: Connection, after: int, size: int, *, state: str | None = None) -> list[ImageRecord]:
    """Return the first `size` images, by id, whose id is above `after`; of one `state` (ok, quarantined), or of all."""
    query = select(Image.id).where(Image.id > after).order_by(Image.id).limit(size)
    if state is not None:
        query = query.where(Image.state == state)
    ids = list(connection.execute(query).scalars())
    return images(connection, ids) if ids else []


def image_ids(connection: Connection, cells: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the ids of the images that label files name by one of `cells`, by cell.

    A cell that names no image is left out; one that names images below several roots has several ids.
    """
    paths = {cell: normal(cell) for cell in cells}
    found = defaultdict[str, list[int]](list)
    for part in chunks(sorted({*paths, *paths.values()})):
        query = select(Image.path, Image.id).where(Image.path.in_(part)).order_by(Image.id)
        for path, image_id in connection.execute(query):
            found[path].append(image_id)
    named = {cell: found.get(path) or found.get(cell) for cell, path in paths.items()}
    return {cell: tuple(ids) for cell, ids in named.items() if ids}


def newest_observations(
    connection: Connection, source: str, names: Sequence[str], ids: Iterable[int], *, columns: Sequence[str] = ()
) -> list[NewestObservation]:
    """Return the newest observation of each annotator of `source`, for the attributes `names` on the images `ids`.

    In the order of `names`, then of label `columns`, whether or not an attribute reads them. What was said under a
    former name of an attribute counts as said of it. Raises UnknownNameError for one of `names` that is not declared.
    """
    known = {name: attribute for name, (_, attribute) in declared(connection).items()}
    for name in names:
        if name not in known:
            raise UnknownNameError(f"attribute {name!r} is not declared in the catalogue")
    owners = {column: name for name, attribute in known.items() for column in attribute.columns}
    names = [*dict.fromkeys((*names, *(owners.get(column, column) for column in columns)))]
    read_by = {column: name for name in names for column in (known[name].columns if name in known else (name,))}
    query = (
        select(Observation.image_id, LabelColumn.name, Observation.raw, VoiceRow.annotator)
        .add_columns(Revision.cause, Revision.detail, Revision.created_at)
        .join(LabelColumn, LabelColumn.id == Observation.column_id)
        .join(VoiceRow, VoiceRow.id == Observation.voice_id)
        .join(Revision, Revision.id == Observation.revision)
        .where(VoiceRow.source == source, LabelColumn.name.in_(read_by))
        .order_by(*newest_last([known[name].columns for name in names if name in known]))
    )
    newest: dict[tuple[int, str | None, str], NewestObservation] = {}
    for part in chunks(sorted(set(ids))):
        for image_id, column, raw, *by in connection.execute(query.where(Observation.image_id.in_(part))):
            said = NewestObservation(image_id, read_by[column], column, raw, *by)
            newest[image_id, said.annotator, said.attribute] = said
    place = {name: i for i, name in enumerate(names)}
    return sorted(newest.values(), key=lambda said: place[said.attribute])
