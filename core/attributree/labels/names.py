"""What rows by the million refer to, each stored once: label columns, voices and images roots.

None is deleted but for voices: who said nothing but what was forgotten is forgotten too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ..database.engine import chunks
from ..database.tables import ImagesRoot, LabelColumn, Observation, VoiceRow

#: The images root of all images behind URLs, wherever the label file lies that names them; no folder is called that.
REMOTE = "url:"
#: Who says something: source and annotator.
Voice = tuple[str, str | None]

_COUNT = (
    update(LabelColumn)
    .where(LabelColumn.id == bindparam("column"))
    .values(observations=LabelColumn.observations + bindparam("more"))
)


def column_counts(connection: Connection) -> dict[str, int]:
    """Return how many observations stand in each label column; not the empty ones."""
    query = select(LabelColumn.name, LabelColumn.observations).where(LabelColumn.observations > 0)
    return {row.name: row.observations for row in connection.execute(query)}


def column_ids(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the ids of label columns, by name; one that is not known has none."""
    query = select(LabelColumn.name, LabelColumn.id)
    parts = (query.where(LabelColumn.name.in_(part)) for part in chunks(list(names)))
    return {row.name: row.id for part in parts for row in connection.execute(part)}


def add_columns(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the ids of label columns, by name, having stored those that were not known."""
    wanted = dict.fromkeys(names)
    known = column_ids(connection, wanted)
    new = [{"name": name, "observations": 0} for name in wanted if name not in known]
    if not new:
        return known
    connection.execute(insert(LabelColumn), new)
    return column_ids(connection, wanted)


def count_observations(connection: Connection, more: Mapping[int, int]) -> None:
    """Keep the number of observations of label columns, by id, for so many `more`, or fewer if that is negative."""
    if more:
        connection.execute(_COUNT, [{"column": column, "more": count} for column, count in more.items()])


def voice_id(connection: Connection, voice: Voice) -> int | None:
    """Return the id of a voice, None if it has never said anything."""
    source, annotator = voice
    query = select(VoiceRow.id).where(VoiceRow.source == source, VoiceRow.annotator.is_not_distinct_from(annotator))
    return connection.execute(query).scalar()


def add_voice(connection: Connection, voice: Voice) -> int:
    """Return the id of a voice, having stored it if it was not known."""
    known = voice_id(connection, voice)
    if known is None:
        source, annotator = voice
        new = insert(VoiceRow).values(source=source, annotator=annotator).returning(VoiceRow.id)
        known = connection.execute(new).scalar_one()
    return known


def forget_silent(connection: Connection, voices: Collection[int]) -> None:
    """Delete those of `voices`, ids, who have nothing to say any more. It reads all observations for each of them."""
    said = select(Observation.voice_id).where(Observation.voice_id == VoiceRow.id).exists()
    connection.execute(delete(VoiceRow).where(VoiceRow.id.in_(voices), ~said))


def root_id(connection: Connection, folder: str) -> int | None:
    """Return the id of an images root, None if no image has been there."""
    return connection.execute(select(ImagesRoot.id).where(ImagesRoot.folder == folder)).scalar()


def add_root(connection: Connection, folder: str) -> int:
    """Store an images root that is not known yet, and return its id."""
    new = insert(ImagesRoot).values(folder=folder).returning(ImagesRoot.id)
    row_id: int = connection.execute(new).scalar_one()
    return row_id
