"""What was guessed before the target was asked, and prompts that were sampled again"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "openings",
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("tokens", sa.Text(), nullable=False),
        sa.Column("n_prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.target_id"], name=op.f("fk_openings_target_id")
        ),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_openings_prompt_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_openings_run_id")),
        sa.PrimaryKeyConstraint("target_id", "prompt_id", name=op.f("pk_openings")),
    )
    op.create_index(op.f("ix_openings_run_id"), "openings", ["run_id"])
    with op.batch_alter_table("proposals", schema=None) as proposals:
        proposals.add_column(sa.Column("guess", sa.Double(), nullable=True))
        proposals.add_column(sa.Column("is_blind", sa.Boolean(), nullable=True))
    with op.batch_alter_table("evaluations", schema=None) as evaluations:
        evaluations.add_column(
            sa.Column("is_superseded", sa.Boolean(), nullable=False, server_default=sa.false())
        )
