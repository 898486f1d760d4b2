"""Which guess turned a proposal away"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("proposals", schema=None) as proposals:
        proposals.add_column(sa.Column("screened_by", sa.String(length=16), nullable=True))
    # Until now the predictor's own prompts had no opening, but for those of other runs.
    op.execute(
        "UPDATE proposals SET screened_by = CASE WHEN EXISTS (SELECT 1 FROM openings"
        " WHERE openings.run_id = proposals.run_id AND openings.prompt_id = proposals.prompt_id)"
        " THEN 'opening' ELSE 'predictor' END WHERE failure_kind = 'screened'"
    )
