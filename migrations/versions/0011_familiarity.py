"""A branch knows what the pictures that it learnt from have in common."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("branch", sa.Column("familiarity", sa.String(length=64), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("branch") as table:
        table.drop_column("familiarity")
