"""Responses that a writer made for over-refused prompts, and what scorers said of them"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "written_responses",
        sa.Column("written_id", sa.String(length=32), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("writer", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.String(length=32), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("finish_reason", sa.String(length=16), nullable=False),
        sa.Column("chain", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_written_responses_prompt_id")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["written_responses.written_id"],
            name=op.f("fk_written_responses_parent_id"),
        ),
        sa.PrimaryKeyConstraint("written_id", name=op.f("pk_written_responses")),
    )
    op.create_index(
        op.f("ix_written_responses_prompt_id"), "written_responses", ["prompt_id"], unique=False
    )
    op.create_table(
        "written_scores",
        sa.Column("written_id", sa.String(length=32), nullable=False),
        sa.Column("scorer", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("politeness", sa.Integer(), nullable=True),
        sa.Column("willingness", sa.Integer(), nullable=True),
        sa.Column("task", sa.Integer(), nullable=True),
        sa.Column("logic", sa.Integer(), nullable=True),
        sa.Column("information", sa.Integer(), nullable=True),
        sa.Column("safety", sa.Double(), nullable=True),
        sa.Column("p_refusal", sa.Double(), nullable=True),
        sa.Column("response_class", sa.String(length=16), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("unscored_reason", sa.Text(), nullable=True),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(score IS NULL) <> (unscored_reason IS NULL)",
            name=op.f("ck_written_scores_scored_or_not"),
        ),
        sa.ForeignKeyConstraint(
            ["written_id"],
            ["written_responses.written_id"],
            name=op.f("fk_written_scores_written_id"),
        ),
        sa.PrimaryKeyConstraint("written_id", "scorer", "version", name=op.f("pk_written_scores")),
    )
