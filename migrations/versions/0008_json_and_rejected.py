"""JSON columns are of type JSON, a run that its gate turned down is "rejected", and images have no sizes."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
COLUMNS = {
    "attribute": ("schema",),
    "schema_change": ("schema",),
    "training_run": ("metrics",),
    "trunk": ("spec",),
    "branch": ("parts", "outputs", "metrics", "config", "made_with"),
    "tree_version": ("proof", "made_with"),
    "coverage": ("counts",),
}
#: The tables whose `made_with` had a default; it is always given.
WITH_DEFAULT = ("branch", "tree_version")
STATUS = "ck_training_run_status"


def upgrade() -> None:
    with op.batch_alter_table("image") as table:
        for column in ("width", "height", "format"):
            table.drop_column(column)
    for table in WITH_DEFAULT:
        _set_default(table, None)
    _change_type(sa.Text(), JSON, "jsonb")
    _rename_status("kept", "rejected")


def downgrade() -> None:
    _rename_status("rejected", "kept")
    _change_type(JSON, sa.Text(), "text")
    for table in WITH_DEFAULT:
        _set_default(table, sa.text("'{}'"))
    with op.batch_alter_table("image") as table:
        table.add_column(sa.Column("width", sa.Integer(), nullable=True))
        table.add_column(sa.Column("height", sa.Integer(), nullable=True))
        table.add_column(sa.Column("format", sa.Text(), nullable=True))


def _change_type(old: sa.types.TypeEngine[Any], new: sa.types.TypeEngine[Any], cast: str) -> None:
    for name, columns in COLUMNS.items():
        with op.batch_alter_table(name) as table:
            for column in columns:
                how = f"{column}::{cast}"
                table.alter_column(column, existing_type=old, type_=new, existing_nullable=False, postgresql_using=how)


def _set_default(name: str, default: sa.TextClause | None) -> None:
    """Set the default of `made_with`, whose type is text: PostgreSQL casts no default."""
    with op.batch_alter_table(name) as table:
        table.alter_column("made_with", existing_type=sa.Text(), existing_nullable=False, server_default=default)


def _rename_status(old: str, new: str) -> None:
    with op.batch_alter_table("training_run") as table:
        table.drop_constraint(op.f(STATUS), type_="check")
    op.execute(f"UPDATE training_run SET status = '{new}' WHERE status = '{old}'")
    with op.batch_alter_table("training_run") as table:
        states = f"'running', 'promoted', '{new}', 'failed', 'cancelled'"
        table.create_check_constraint(op.f(STATUS), f"status IN ({states})")
