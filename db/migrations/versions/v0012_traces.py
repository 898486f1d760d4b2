"""The traces themselves, what could not be traced, and signatures"""

import sqlalchemy as sa
from alembic import op

from db.migrations.views_0012 import CLIFFS, SIGNATURES

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SAMPLE = ["target_id", "prompt_id", "sample_index"]


def upgrade() -> None:
    op.execute("DROP VIEW v_cliffs")
    op.add_column("cliffs", sa.Column("plateau_top", sa.Double(), nullable=True))
    op.add_column("cliffs", sa.Column("scores", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_cliffs_kind_prompt_id"), "cliffs", ["kind", "prompt_id"])
    op.create_table(
        "untraced",
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("sample_index", sa.Integer(), nullable=False),
        sa.Column("probe", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            _SAMPLE,
            [f"samples.{column}" for column in _SAMPLE],
            name=op.f("fk_untraced_target_id_prompt_id_sample_index"),
        ),
        sa.PrimaryKeyConstraint(*_SAMPLE, "probe", "version", name=op.f("pk_untraced")),
    )
    op.create_table(
        "signatures",
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("guard", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("delta_harmful", sa.Double(), nullable=False),
        sa.Column("delta_refuse", sa.Double(), nullable=False),
        sa.Column("refusal_rate", sa.Double(), nullable=True),
        sa.Column("signature", sa.String(length=24), nullable=False),
        sa.CheckConstraint(
            "signature IN ('over_refused', 'rightly_refused', 'rightly_answered', 'suppressed')",
            name=op.f("ck_signatures_signature"),
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.target_id"], name=op.f("fk_signatures_target_id")
        ),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_signatures_prompt_id")
        ),
        sa.PrimaryKeyConstraint(
            "target_id", "prompt_id", "guard", "version", name=op.f("pk_signatures")
        ),
    )
    op.create_index(
        op.f("ix_signatures_signature_prompt_id"), "signatures", ["signature", "prompt_id"]
    )
    op.create_index(op.f("ix_signatures_prompt_id"), "signatures", ["prompt_id"])
    op.execute(CLIFFS)
    op.execute(SIGNATURES)
