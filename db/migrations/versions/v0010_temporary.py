"""Where imported prompts come from (temporary)"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prompt_sources",
        sa.Column(
            "prompt_id", sa.String(length=32), sa.ForeignKey("prompts.prompt_id"), primary_key=True
        ),
        sa.Column("source", sa.String(length=120), primary_key=True),
        sa.Column("row_key", sa.String(length=120), primary_key=True),
        sa.Column("licence", sa.Text()),
        sa.Column("label", sa.Text()),
        sa.Column("category", sa.Text()),
        sa.Column("imported_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_prompt_sources_source_prompt_id", "prompt_sources", ["source", "prompt_id"])
