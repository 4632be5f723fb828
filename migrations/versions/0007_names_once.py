"""Label columns, voices and images roots are stored once, observations by their images."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: A list of reviews could say two things of one cell at once. "The last one counts", so that is the one to keep.
OUTDONE = """
EXISTS (
    SELECT 1 FROM former_observation AS later
    WHERE later.image_id = said.image_id AND later.attribute = said.attribute AND later.source = said.source
    AND later.revision = said.revision AND later.id > said.id
    AND (later.annotator = said.annotator OR (later.annotator IS NULL AND said.annotator IS NULL))
)"""
#: Observations, under the condition that a voice has their annotator.
SAID = (
    "SELECT image_id, label_column.id, voice.id, revision, raw FROM former_observation AS said "
    "JOIN label_column ON label_column.name = attribute "
    "JOIN voice ON voice.source = said.source AND"
)


def upgrade() -> None:
    op.create_table(
        "label_column",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("observations", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_column")),
        sa.UniqueConstraint("name", name=op.f("uq_label_column_name")),
    )
    op.create_table(
        "voice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voice")),
    )
    _set_aside_observations()
    op.create_table(
        "observation",
        sa.Column("image_id", BIG_ID, nullable=False),
        sa.Column("column_id", sa.Integer(), nullable=False),
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_observation_image_id_image")),
        sa.ForeignKeyConstraint(["column_id"], ["label_column.id"], name=op.f("fk_observation_column_id_label_column")),
        sa.ForeignKeyConstraint(["voice_id"], ["voice.id"], name=op.f("fk_observation_voice_id_voice")),
        sa.ForeignKeyConstraint(["revision"], ["revision.id"], name=op.f("fk_observation_revision_revision")),
        sa.PrimaryKeyConstraint("image_id", "column_id", "voice_id", "revision", name=op.f("pk_observation")),
        sqlite_with_rowid=False,
    )
    op.execute(f"DELETE FROM former_observation AS said WHERE {OUTDONE}")
    op.execute(
        "INSERT INTO label_column (name, observations) "
        "SELECT attribute, count(*) FROM former_observation GROUP BY attribute ORDER BY min(id)"
    )
    op.execute(
        "INSERT INTO voice (source, annotator) "
        "SELECT source, annotator FROM former_observation GROUP BY source, annotator ORDER BY min(id)"
    )
    op.execute(
        "INSERT INTO observation (image_id, column_id, voice_id, revision, raw) "
        f"{SAID} said.annotator IS NULL AND voice.annotator IS NULL "
        f"UNION ALL {SAID} voice.annotator = said.annotator ORDER BY 1, 2, 3, 4"
    )
    op.drop_table("former_observation")
    _check(" OR ".join(f"{{0}} = {{{number}}}" for number in (1, 2, 3)))

    op.create_table(
        "images_root",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images_root")),
        sa.UniqueConstraint("folder", name=op.f("uq_images_root_folder")),
    )
    op.execute("INSERT INTO images_root (folder) SELECT root FROM image GROUP BY root ORDER BY min(id)")
    with op.batch_alter_table("image") as table:
        table.add_column(sa.Column("root_id", sa.Integer(), nullable=True))
        table.drop_constraint(op.f("uq_image_path_root"), type_="unique")
        table.drop_index(op.f("ix_image_file"))
        table.alter_column("file", existing_type=sa.Text(), nullable=True)
    op.execute("UPDATE image SET root_id = (SELECT id FROM images_root WHERE folder = root)")
    op.execute("UPDATE image SET file = NULL WHERE file = root || '/' || path")
    with op.batch_alter_table("image") as table:
        table.alter_column("root_id", existing_type=sa.Integer(), nullable=False)
        table.drop_column("root")
        table.create_unique_constraint(op.f("uq_image_path_root_id"), ["path", "root_id"])
        table.create_foreign_key(op.f("fk_image_root_id_images_root"), "images_root", ["root_id"], ["id"])
    linked = sa.text("file IS NOT NULL")
    op.create_index(op.f("ix_image_file"), "image", ["file"], sqlite_where=linked, postgresql_where=linked)


def downgrade() -> None:
    op.drop_index(op.f("ix_image_file"), "image")
    with op.batch_alter_table("image") as table:
        table.add_column(sa.Column("root", sa.Text(), nullable=True))
        table.drop_constraint(op.f("uq_image_path_root_id"), type_="unique")
        table.drop_constraint(op.f("fk_image_root_id_images_root"), type_="foreignkey")
    op.execute("UPDATE image SET root = (SELECT folder FROM images_root WHERE images_root.id = root_id)")
    op.execute("UPDATE image SET file = root || '/' || path WHERE file IS NULL")
    with op.batch_alter_table("image") as table:
        table.alter_column("root", existing_type=sa.Text(), nullable=False)
        table.alter_column("file", existing_type=sa.Text(), nullable=False)
        table.drop_column("root_id")
        table.create_unique_constraint(op.f("uq_image_path_root"), ["path", "root"])
        table.create_index(op.f("ix_image_file"), ["file"])
    op.drop_table("images_root")

    _set_aside_observations()
    op.create_table(
        "observation",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("image_id", BIG_ID, nullable=False),
        sa.Column("attribute", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_observation_image_id_image")),
        sa.ForeignKeyConstraint(["revision"], ["revision.id"], name=op.f("fk_observation_revision_revision")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
    )
    op.execute(
        "INSERT INTO observation (image_id, attribute, raw, source, annotator, revision) "
        "SELECT image_id, label_column.name, raw, voice.source, voice.annotator, revision FROM former_observation "
        "JOIN label_column ON label_column.id = column_id JOIN voice ON voice.id = voice_id "
        "ORDER BY revision, image_id, column_id, voice_id"
    )
    op.create_index(op.f("ix_observation_attribute_image_id"), "observation", ["attribute", "image_id"])
    op.create_index(op.f("ix_observation_image_id"), "observation", ["image_id"])
    for table in ("former_observation", "voice", "label_column"):
        op.drop_table(table)
    _check("{0} IN ({1}, {2}, {3})")


def _check(form: str) -> None:
    """Write what the tables with many rows check of three states anew: a row with an IN costs SQLite a set."""
    for table, column, *states in (
        ("product", "split", "'train'", "'val'", "'test'"),
        ("annotation", "state", "'labelled'", "'ambiguous'", "'not_applicable'"),
    ):
        name = op.f(f"ck_{table}_ck_{table}_{column}")
        with op.batch_alter_table(table) as altered:
            altered.drop_constraint(name, type_="check")
            altered.create_check_constraint(name, sa.text(form.format(column, *states)))


def _set_aside_observations() -> None:
    """Rename the table to `former_observation`, with what must not have the name of something of the new one's."""
    op.rename_table("observation", "former_observation")
    if op.get_bind().dialect.name == "postgresql":  # where indexes and sequences share one space with the tables
        op.execute("ALTER INDEX pk_observation RENAME TO pk_former_observation")
        op.execute("ALTER SEQUENCE IF EXISTS observation_id_seq RENAME TO former_observation_id_seq")
