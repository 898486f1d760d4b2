"""Which gates, embedder and judges belong to a proposal

Prompts are shared between runs, so their decisions, vectors and verdicts can be another run's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("proposals", schema=None) as proposals:
        proposals.add_column(sa.Column("gates", sa.Text(), nullable=True))
        proposals.add_column(sa.Column("embedder", sa.String(length=120), nullable=True))
    with op.batch_alter_table("evaluations", schema=None) as evaluations:
        evaluations.add_column(sa.Column("judges", sa.Text(), nullable=True))
    # What was evaluated had been embedded; a resumed run needs its vectors for the novelty gate.
    op.execute(
        "UPDATE proposals SET embedder = (SELECT min(embeddings.embedder) FROM embeddings "
        "WHERE embeddings.prompt_id = proposals.prompt_id) WHERE status = 'evaluated'"
    )
