"""An evaluation for each target"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("evaluations", schema=None) as evaluations:
        evaluations.drop_constraint(op.f("pk_evaluations"), type_="primary")
        evaluations.create_primary_key(
            op.f("pk_evaluations"), ["run_id", "proposal_index", "target_id"]
        )
