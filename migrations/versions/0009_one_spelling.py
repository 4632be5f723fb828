"""Paths and skus have one spelling, and everything that was said is read again: `-1` is not `1`, `[]` is none of them.

What was said stays as it is. Of several images that are one file the others go to quarantine, and what was said of
them is said of the one as well, unless one voice said two things at once.
"""

import posixpath
import re
import unicodedata
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

#: No declaration has this digest: the next sync reads every observation again.
READ_AGAIN = "read again"
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]*://")
_FLOAT = re.compile(r"(-?(?:0|[1-9]\d*))\.0", re.ASCII)


def upgrade() -> None:
    op.execute(sa.text("UPDATE attribute SET schema_digest = :digest").bindparams(digest=READ_AGAIN))
    op.execute("DELETE FROM coverage")
    products, images = _spell_skus(op.get_bind()), _spell_paths(op.get_bind())
    if products or images:
        detail = f"one spelling of paths and skus: {products} products, {images} images"
        op.execute(
            sa.text("INSERT INTO revision (cause, detail) VALUES ('upgrade', :detail)").bindparams(detail=detail)
        )


def downgrade() -> None:
    """Leave paths and skus as they are spelt now, which former code reads as well."""


def _spell_skus(connection: sa.Connection) -> int:
    """Give each product the one spelling of its sku, and its images to the one that has it; return how many changed."""
    odd = [
        (row.id, sku)
        for row in connection.execute(sa.text("SELECT id, sku FROM product ORDER BY id"))
        if (sku := _sku(row.sku)) != row.sku
    ]
    for product, sku in odd:
        there = connection.execute(sa.text("SELECT id FROM product WHERE sku = :sku"), {"sku": sku}).scalar()
        if there is None:
            connection.execute(sa.text("UPDATE product SET sku = :sku WHERE id = :id"), {"sku": sku, "id": product})
            continue
        both = {"there": there, "id": product}
        for column in ("article_type", "title", "description"):
            said = f"UPDATE product SET {column} = (SELECT {column} FROM product WHERE id = :id)"
            connection.execute(sa.text(f"{said} WHERE id = :there AND {column} = ''"), both)
        connection.execute(sa.text("UPDATE image SET product_id = :there WHERE product_id = :id"), both)
        connection.execute(sa.text("DELETE FROM product WHERE id = :id"), both)
    return len(odd)


def _sku(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    found = _FLOAT.fullmatch(text)
    return found[1] if found else text


def _spell_paths(connection: sa.Connection) -> int:
    """Give each image the one spelling of its path, and put those aside that are another's file; return how many."""
    query = "SELECT image.id, root_id, path, file, folder FROM image JOIN images_root ON images_root.id = root_id"
    changed = 0
    kept: dict[tuple[int, str], int] = {}  # by root and place below it
    for row in connection.execute(sa.text(f"{query} ORDER BY image.id")).all():
        place = _place(row.path, row.file, row.folder)
        if place == row.path:
            continue
        is_link = posixpath.normpath(row.path) == row.path and not row.path.startswith("/")
        here = {"root": row.root_id, "path": place, "id": row.id}
        there = sa.text("SELECT id FROM image WHERE root_id = :root AND path = :path")
        other = kept.get((row.root_id, place)) or connection.execute(there, here).scalar()
        if other is not None:
            _put_aside(connection, row.id, other, place)
        elif not is_link:
            connection.execute(sa.text("UPDATE image SET path = :path, file = NULL WHERE id = :id"), here)
        changed += other is not None or not is_link
        kept.setdefault((row.root_id, place), other or row.id)
    if changed:
        counts = connection.execute(
            sa.text("SELECT column_id, count(*) AS n FROM observation GROUP BY column_id")
        ).all()
        set_count = sa.text("UPDATE label_column SET observations = :n WHERE id = :column_id")
        for row in counts:
            connection.execute(set_count, {"n": row.n, "column_id": row.column_id})
    return changed


def _place(path: str, file: str | None, folder: str) -> str:
    """Return where an image lies below its root, as far as the catalogue knows; `path` itself if it is just there."""
    root = folder.rstrip("/") + "/"
    if _URL.match(path) or (file is not None and not file.startswith(root)):
        return path
    if file is not None:
        return file.removeprefix(root)
    return posixpath.normpath(re.sub("^/+", "/", path)).removeprefix(root)


def _put_aside(connection: sa.Connection, image: int, other: int, place: str) -> None:
    """Take an image out of use that is the file of an `other` one, which gets what was said of it."""
    columns = "column_id, voice_id, revision, raw"
    said = f"(image_id, {columns}) SELECT :other, {columns} FROM observation WHERE image_id = :image"
    too = sa.text(f"INSERT INTO observation {said} ON CONFLICT DO NOTHING")
    connection.execute(too, {"other": other, "image": image})
    reason = f"the same file as image {place!r}, which has its labels now"
    aside = "UPDATE image SET state = 'quarantined', reason = :reason, file = NULL, digest = NULL WHERE id = :image"
    connection.execute(sa.text(aside), {"reason": reason, "image": image})
