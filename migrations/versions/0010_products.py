"""Labels may be stated of a product, and answers are given for products."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: Columns of product predictions that other tables are found by.
INDEXED = ("attribute_id", "image_id", "against_id", "version_id", "branch_id")


def upgrade() -> None:
    op.create_table(
        "product_observation",
        sa.Column("product_id", BIG_ID, nullable=False),
        sa.Column("column_id", sa.Integer(), nullable=False),
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        *(
            _key("product_observation", *key)
            for key in (
                ("product_id", "product"),
                ("column_id", "label_column"),
                ("voice_id", "voice"),
                ("revision", "revision"),
            )
        ),
        sa.PrimaryKeyConstraint("product_id", "column_id", "voice_id", "revision", name=op.f("pk_product_observation")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "product_prediction",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("product_id", BIG_ID, nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        sa.Column("image_id", BIG_ID, nullable=False),
        sa.Column("against_id", BIG_ID, nullable=True),
        sa.Column("pictures", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("branch_id", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("decision", sa.String(length=14), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        *(
            _key("product_prediction", *key)
            for key in (
                ("product_id", "product"),
                ("attribute_id", "attribute"),
                ("image_id", "image"),
                ("against_id", "image"),
                ("version_id", "tree_version"),
                ("branch_id", "branch"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_prediction")),
        sa.UniqueConstraint("product_id", "attribute_id", name=op.f("uq_product_prediction_product_id_attribute_id")),
    )
    for column in INDEXED:
        op.create_index(op.f(f"ix_product_prediction_{column}"), "product_prediction", [column])
    op.create_table(
        "product_prediction_value",
        sa.Column("prediction_id", BIG_ID, nullable=False),
        sa.Column("value_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        _key("product_prediction_value", "prediction_id", "product_prediction", ondelete="CASCADE"),
        _key("product_prediction_value", "value_id", "attribute_value"),
        sa.PrimaryKeyConstraint("prediction_id", "value_id", name=op.f("pk_product_prediction_value")),
    )
    op.create_index(op.f("ix_product_prediction_value_value_id"), "product_prediction_value", ["value_id"])


def downgrade() -> None:
    for table in ("product_prediction_value", "product_prediction", "product_observation"):
        op.drop_table(table)


def _key(table: str, column: str, target: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=ondelete)
