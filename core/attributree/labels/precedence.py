"""Whose word counts: a precedence of sources that changed is carried into the annotations."""

from __future__ import annotations

import json

from sqlalchemy import Connection

from .annotations import SOURCES, derive, followed, new_revision
from .resolve import Sources
from .schemas import declared


def follow(connection: Connection, sources: Sources | None) -> None:
    """Read all observations again if the annotations follow another precedence than `sources`; None is no other.

    That is a revision like any other change: annotations that mean something else now count as new labels.
    """
    if sources is None or not followed(connection).changes(sources):
        return
    revision = new_revision(connection, SOURCES, json.dumps(sources.to_json()))
    for row_id, attribute in declared(connection).values():
        derive(connection, row_id, attribute, revision)
