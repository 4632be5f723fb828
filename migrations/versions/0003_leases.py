"""Who trains what: owner, lease and fencing token of each run, why it was begun, how often it was tried."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

#: The first schema's naming convention was applied to names that had it already.
FORMER_STATUS, STATUS = "ck_training_run_ck_training_run_status", "ck_training_run_status"


def upgrade() -> None:
    with op.batch_alter_table("training_run") as table:
        table.add_column(sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''")))
        table.add_column(sa.Column("owner", sa.Text(), nullable=True))
        table.add_column(sa.Column("token", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("attempts", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    _restrict(FORMER_STATUS, STATUS, (8, 9), "'running', 'promoted', 'kept', 'failed', 'cancelled'")


def downgrade() -> None:
    op.execute("UPDATE training_run SET status = 'failed' WHERE status = 'cancelled'")
    _restrict(STATUS, FORMER_STATUS, (9, 8), "'running', 'promoted', 'kept', 'failed'")
    with op.batch_alter_table("training_run") as table:
        for column in ("expires_at", "heartbeat_at", "attempts", "token", "owner", "reason"):
            table.drop_column(column)


def _restrict(old: str, new: str, lengths: tuple[int, int], states: str) -> None:
    """Let a run's status be one of `states`: replace the check `old` by `new`."""
    before, after = (sa.String(length) for length in lengths)
    with op.batch_alter_table("training_run") as table:
        table.drop_constraint(op.f(old), type_="check")
        table.alter_column("status", existing_type=before, type_=after, existing_nullable=False)
        table.create_check_constraint(op.f(new), f"status IN ({states})")
