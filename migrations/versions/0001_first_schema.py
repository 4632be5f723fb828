"""The first schema."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: In the order they are made; references go backwards.
TABLES = (
    "product",
    "revision",
    "trunk",
    "attribute",
    "image",
    "tree_version",
    "annotation",
    "attribute_value",
    "observation",
    "promotion",
    "training_run",
    "annotation_value",
    "branch",
    "prediction",
    "tree_version_branch",
    "prediction_value",
)


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "product",
        sa.Column("id", BIG, nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("article_type", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("split", sa.String(length=5), nullable=False),
        _now("created_at"),
        sa.CheckConstraint("split IN ('train', 'val', 'test')", name="ck_product_split"),
        sa.PrimaryKeyConstraint("id", name="pk_product"),
        sa.UniqueConstraint("sku", name="uq_product_sku"),
    )
    op.create_index("ix_product_article_type", "product", ["article_type"])

    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "trunk",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_trunk"),
        sa.UniqueConstraint("digest", name="uq_trunk_digest"),
    )
    op.create_table(
        "attribute",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=7), nullable=False),
        sa.Column("declared_by", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("schema_digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        _now("created_at"),
        sa.CheckConstraint("kind IN ('single', 'multi', 'ordinal')", name="ck_attribute_kind"),
        sa.CheckConstraint("state IN ('declared', 'orphaned')", name="ck_attribute_state"),
        sa.ForeignKeyConstraint(["revision"], ["revision.id"], name="fk_attribute_revision_revision"),
        sa.PrimaryKeyConstraint("id", name="pk_attribute"),
        sa.UniqueConstraint("name", name="uq_attribute_name"),
    )
    op.create_index("ix_attribute_revision", "attribute", ["revision"])

    op.create_table(
        "image",
        sa.Column("id", BIG, nullable=False),
        sa.Column("product_id", BIG, nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=11), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        _now("created_at"),
        sa.CheckConstraint("state IN ('ok', 'quarantined')", name="ck_image_state"),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_image_product_id_product"),
        sa.PrimaryKeyConstraint("id", name="pk_image"),
        sa.UniqueConstraint("path", "root", name="uq_image_path_root"),
    )
    op.create_index("ix_image_file", "image", ["file"])
    op.create_index("ix_image_product_id", "image", ["product_id"])
    op.create_index("ix_image_state", "image", ["state"])

    op.create_table(
        "tree_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trunk_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        _now("created_at"),
        sa.ForeignKeyConstraint(["parent_id"], ["tree_version.id"], name="fk_tree_version_parent_id_tree_version"),
        sa.ForeignKeyConstraint(["trunk_id"], ["trunk.id"], name="fk_tree_version_trunk_id_trunk"),
        sa.PrimaryKeyConstraint("id", name="pk_tree_version"),
    )
    op.create_index("ix_tree_version_parent_id", "tree_version", ["parent_id"])
    op.create_index("ix_tree_version_trunk_id", "tree_version", ["trunk_id"])

    op.create_table(
        "annotation",
        sa.Column("id", BIG, nullable=False),
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=14), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.CheckConstraint("state IN ('labelled', 'ambiguous', 'not_applicable')", name="ck_annotation_state"),
        sa.ForeignKeyConstraint(["attribute_id"], ["attribute.id"], name="fk_annotation_attribute_id_attribute"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_annotation_image_id_image"),
        sa.ForeignKeyConstraint(["revision"], ["revision.id"], name="fk_annotation_revision_revision"),
        sa.PrimaryKeyConstraint("id", name="pk_annotation"),
        sa.UniqueConstraint("image_id", "attribute_id", name="uq_annotation_image_id_attribute_id"),
    )
    op.create_index("ix_annotation_attribute_id_state_revision", "annotation", ["attribute_id", "state", "revision"])
    op.create_index("ix_annotation_revision", "annotation", ["revision"])

    op.create_table(
        "attribute_value",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("replaced_by_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("state IN ('active', 'retired', 'replaced')", name="ck_attribute_value_state"),
        sa.ForeignKeyConstraint(["attribute_id"], ["attribute.id"], name="fk_attribute_value_attribute_id_attribute"),
        sa.ForeignKeyConstraint(
            ["replaced_by_id"], ["attribute_value.id"], name="fk_attribute_value_replaced_by_id_attribute_value"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_attribute_value"),
        sa.UniqueConstraint("attribute_id", "class_index", name="uq_attribute_value_attribute_id_class_index"),
        sa.UniqueConstraint("attribute_id", "key", name="uq_attribute_value_attribute_id_key"),
    )
    op.create_index("ix_attribute_value_replaced_by_id", "attribute_value", ["replaced_by_id"])

    op.create_table(
        "observation",
        sa.Column("id", BIG, nullable=False),
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("attribute", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_observation_image_id_image"),
        sa.ForeignKeyConstraint(["revision"], ["revision.id"], name="fk_observation_revision_revision"),
        sa.PrimaryKeyConstraint("id", name="pk_observation"),
    )
    op.create_index("ix_observation_attribute_image_id", "observation", ["attribute", "image_id"])
    op.create_index("ix_observation_image_id", "observation", ["image_id"])
    op.create_index("ix_observation_revision", "observation", ["revision"])

    op.create_table(
        "promotion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        _now("created_at"),
        sa.ForeignKeyConstraint(["version_id"], ["tree_version.id"], name="fk_promotion_version_id_tree_version"),
        sa.PrimaryKeyConstraint("id", name="pk_promotion"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_promotion_version_id", "promotion", ["version_id"])

    op.create_table(
        "training_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("schema_digest", sa.String(length=64), nullable=False),
        sa.Column("config_digest", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        _now("started_at"),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('running', 'promoted', 'kept', 'failed')", name="ck_training_run_status"),
        sa.ForeignKeyConstraint(["attribute_id"], ["attribute.id"], name="fk_training_run_attribute_id_attribute"),
        sa.PrimaryKeyConstraint("id", name="pk_training_run"),
    )
    op.create_index("ix_training_run_attribute_id_fingerprint", "training_run", ["attribute_id", "fingerprint"])

    op.create_table(
        "annotation_value",
        sa.Column("annotation_id", BIG, nullable=False),
        sa.Column("value_id", sa.Integer(), nullable=False),
        sa.Column("certain", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotation_id"],
            ["annotation.id"],
            name="fk_annotation_value_annotation_id_annotation",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["value_id"], ["attribute_value.id"], name="fk_annotation_value_value_id_attribute_value"
        ),
        sa.PrimaryKeyConstraint("annotation_id", "value_id", name="pk_annotation_value"),
    )
    op.create_index("ix_annotation_value_value_id", "annotation_value", ["value_id"])

    op.create_table(
        "branch",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        sa.Column("trunk_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("depth", sa.Text(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("donor", sa.Text(), nullable=True),
        sa.Column("outputs", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=7), nullable=False),
        sa.Column("schema_digest", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=False),
        sa.Column("cut", sa.Double(), nullable=True),
        sa.Column("calibrated", sa.Boolean(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        _now("created_at"),
        sa.ForeignKeyConstraint(["attribute_id"], ["attribute.id"], name="fk_branch_attribute_id_attribute"),
        sa.ForeignKeyConstraint(["run_id"], ["training_run.id"], name="fk_branch_run_id_training_run"),
        sa.ForeignKeyConstraint(["trunk_id"], ["trunk.id"], name="fk_branch_trunk_id_trunk"),
        sa.PrimaryKeyConstraint("id", name="pk_branch"),
    )
    op.create_index("ix_branch_attribute_id", "branch", ["attribute_id"])
    op.create_index("ix_branch_run_id", "branch", ["run_id"])
    op.create_index("ix_branch_trunk_id", "branch", ["trunk_id"])

    op.create_table(
        "prediction",
        sa.Column("id", BIG, nullable=False),
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("branch_id", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("decision", sa.String(length=14), nullable=False),
        _now("created_at"),
        sa.ForeignKeyConstraint(["attribute_id"], ["attribute.id"], name="fk_prediction_attribute_id_attribute"),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name="fk_prediction_branch_id_branch"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_prediction_image_id_image"),
        sa.ForeignKeyConstraint(["version_id"], ["tree_version.id"], name="fk_prediction_version_id_tree_version"),
        sa.PrimaryKeyConstraint("id", name="pk_prediction"),
        sa.UniqueConstraint("image_id", "attribute_id", name="uq_prediction_image_id_attribute_id"),
    )
    op.create_index("ix_prediction_attribute_id", "prediction", ["attribute_id"])
    op.create_index("ix_prediction_branch_id", "prediction", ["branch_id"])
    op.create_index("ix_prediction_version_id", "prediction", ["version_id"])

    op.create_table(
        "tree_version_branch",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("attribute_id", sa.Integer(), nullable=False),
        sa.Column("branch_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attribute_id"], ["attribute.id"], name="fk_tree_version_branch_attribute_id_attribute"
        ),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name="fk_tree_version_branch_branch_id_branch"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["tree_version.id"], name="fk_tree_version_branch_version_id_tree_version"
        ),
        sa.PrimaryKeyConstraint("version_id", "attribute_id", name="pk_tree_version_branch"),
    )
    op.create_index("ix_tree_version_branch_attribute_id", "tree_version_branch", ["attribute_id"])
    op.create_index("ix_tree_version_branch_branch_id", "tree_version_branch", ["branch_id"])

    op.create_table(
        "prediction_value",
        sa.Column("prediction_id", BIG, nullable=False),
        sa.Column("value_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["prediction.id"],
            name="fk_prediction_value_prediction_id_prediction",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["value_id"], ["attribute_value.id"], name="fk_prediction_value_value_id_attribute_value"
        ),
        sa.PrimaryKeyConstraint("prediction_id", "value_id", name="pk_prediction_value"),
    )
    op.create_index("ix_prediction_value_value_id", "prediction_value", ["value_id"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
