"""Where sources disagree, how much of their word each value has."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

#: No declaration has this digest: the next sync reads every observation again, and finds the shares.
READ_AGAIN = "read again"


def upgrade() -> None:
    with op.batch_alter_table("annotation_value") as table:
        table.add_column(sa.Column("share", sa.Double(), nullable=False, server_default="1"))
    op.execute(sa.text("UPDATE attribute SET schema_digest = :digest").bindparams(digest=READ_AGAIN))


def downgrade() -> None:
    with op.batch_alter_table("annotation_value") as table:
        table.drop_column("share")
