"""How schemas evolve: heirs of split values, former names, every change on record; what trees were made with."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "value_heir",
        sa.Column("value_id", sa.Integer(), nullable=False),
        sa.Column("heir_id", sa.Integer(), nullable=False),
        _refers("value_heir", "value_id", "attribute_value"),
        _refers("value_heir", "heir_id", "attribute_value"),
        sa.PrimaryKeyConstraint("value_id", "heir_id", name=op.f("pk_value_heir")),
    )
    op.create_index(op.f("ix_value_heir_heir_id"), "value_heir", ["heir_id"])
    op.execute(
        "INSERT INTO value_heir (value_id, heir_id) "
        "SELECT id, replaced_by_id FROM attribute_value WHERE replaced_by_id IS NOT NULL"
    )
    with op.batch_alter_table("attribute_value") as table:
        table.drop_index(op.f("ix_attribute_value_replaced_by_id"))
        table.drop_constraint(op.f("fk_attribute_value_replaced_by_id_attribute_value"), type_="foreignkey")
        table.drop_column("replaced_by_id")
    op.create_table(
        "former_name",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        _refers("former_name", "attribute_id", "attribute"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_former_name")),
    )
    op.create_index(op.f("ix_former_name_attribute_id"), "former_name", ["attribute_id"])
    op.create_table(
        "schema_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("change", sa.String(8), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("declared_by", sa.Text(), nullable=False),
        sa.Column("plugin_version", sa.Text(), nullable=True),
        sa.Column("attributree", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("schema_digest", sa.String(64), nullable=False),
        sa.CheckConstraint("change IN ('register', 'evolve', 'orphan')", name=op.f("ck_schema_change_change")),
        _refers("schema_change", "attribute_id", "attribute"),
        _refers("schema_change", "revision", "revision"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_change")),
    )
    op.create_index(op.f("ix_schema_change_attribute_id"), "schema_change", ["attribute_id"])
    op.create_index(op.f("ix_schema_change_revision"), "schema_change", ["revision"])
    for name in ("branch", "tree_version"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("made_with", sa.Text(), nullable=False, server_default=sa.text("'{}'")))


def downgrade() -> None:
    for name in ("tree_version", "branch"):
        with op.batch_alter_table(name) as table:
            table.drop_column("made_with")
    op.drop_table("schema_change")
    op.drop_table("former_name")
    with op.batch_alter_table("attribute_value") as table:
        table.add_column(sa.Column("replaced_by_id", sa.Integer(), nullable=True))
        table.create_foreign_key(
            op.f("fk_attribute_value_replaced_by_id_attribute_value"), "attribute_value", ["replaced_by_id"], ["id"]
        )
        table.create_index(op.f("ix_attribute_value_replaced_by_id"), ["replaced_by_id"])
    op.execute(
        "UPDATE attribute_value SET replaced_by_id = "
        "(SELECT min(heir_id) FROM value_heir WHERE value_heir.value_id = attribute_value.id)"
    )
    op.drop_table("value_heir")


def _refers(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"))
