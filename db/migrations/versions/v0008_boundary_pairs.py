"""Boundary pairs: both sides of the smallest edit that flips a verdict"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "boundary_pairs",
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("refused_prompt_id", sa.String(length=32), nullable=False),
        sa.Column("answered_prompt_id", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=16), nullable=False),
        sa.Column("edit", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("n_words", sa.Integer(), nullable=False),
        sa.Column("cosine", sa.Double(), nullable=False),
        sa.Column("refused_rate", sa.Double(), nullable=False),
        sa.Column("refused_n", sa.Integer(), nullable=False),
        sa.Column("answered_rate", sa.Double(), nullable=False),
        sa.Column("answered_n", sa.Integer(), nullable=False),
        sa.Column("clear", sa.Boolean(), nullable=False),
        sa.Column("target_tokens", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("source IN ('lineage', 'span')", name=op.f("ck_boundary_pairs_source")),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.target_id"], name=op.f("fk_boundary_pairs_target_id")
        ),
        sa.ForeignKeyConstraint(
            ["refused_prompt_id"],
            ["prompts.prompt_id"],
            name=op.f("fk_boundary_pairs_refused_prompt_id"),
        ),
        sa.ForeignKeyConstraint(
            ["answered_prompt_id"],
            ["prompts.prompt_id"],
            name=op.f("fk_boundary_pairs_answered_prompt_id"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_boundary_pairs_run_id")),
        sa.PrimaryKeyConstraint(
            "target_id",
            "refused_prompt_id",
            "answered_prompt_id",
            name=op.f("pk_boundary_pairs"),
        ),
    )
    with op.batch_alter_table("boundary_pairs", schema=None) as pairs:
        pairs.create_index(op.f("ix_boundary_pairs_run_id"), ["run_id"], unique=False)
