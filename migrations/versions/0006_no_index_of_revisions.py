"""No index of what refers to a revision: none is ever deleted, and each label paid for it."""

from collections.abc import Sequence

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TABLES = ("annotation", "observation")


def upgrade() -> None:
    for table in TABLES:
        op.drop_index(op.f(f"ix_{table}_revision"), table)


def downgrade() -> None:
    for table in TABLES:
        op.create_index(op.f(f"ix_{table}_revision"), table, ["revision"])
