"""Coverage as it was last counted, so that a large catalogue is not counted again while nothing changes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "coverage",
        sa.Column("attribute", sa.Text(), nullable=False),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("attribute", name=op.f("pk_coverage")),
    )


def downgrade() -> None:
    op.drop_table("coverage")
