"""The first schema"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prompts",
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("prompt_id", name=op.f("pk_prompts")),
    )
    op.create_table(
        "targets",
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=True),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("temperature", sa.Double(), nullable=False),
        sa.Column("top_p", sa.Double(), nullable=False),
        sa.Column("top_k", sa.Integer(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("target_id", name=op.f("pk_targets")),
    )
    op.create_table(
        "embeddings",
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("embedder", sa.String(length=120), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_embeddings_prompt_id")
        ),
        sa.PrimaryKeyConstraint("prompt_id", "embedder", name=op.f("pk_embeddings")),
    )
    op.create_table(
        "gate_decisions",
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("gate", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("p_harmful", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('harmless', 'controversial', 'harmful')",
            name=op.f("ck_gate_decisions_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_gate_decisions_prompt_id")
        ),
        sa.PrimaryKeyConstraint("prompt_id", "gate", "version", name=op.f("pk_gate_decisions")),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("target_id", sa.String(length=16), nullable=True),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("wall_s", sa.Double(), nullable=False),
        sa.Column("replica_busy", sa.Double(), nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("process_started", sa.Double(), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'finished', 'interrupted', 'failed')",
            name=op.f("ck_runs_status"),
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.target_id"], name=op.f("fk_runs_target_id")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint("name", name=op.f("uq_runs_name")),
    )
    op.create_table(
        "proposals",
        sa.Column("run_id", sa.String(length=16), nullable=False),
        sa.Column("proposal_index", sa.Integer(), nullable=False),
        sa.Column("operator", sa.String(length=64), nullable=False),
        sa.Column("strategy", sa.String(length=64), nullable=False),
        sa.Column("assignment_seed", sa.BigInteger(), nullable=False),
        sa.Column("asked_after", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("completed_order", sa.Integer(), nullable=True),
        sa.Column("prompt_id", sa.String(length=32), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("topic", sa.Text(), nullable=True),
        sa.Column("seed_prompt_id", sa.String(length=32), nullable=True),
        sa.Column("rationale", sa.Text(), nullable=True),
        sa.Column("failure_kind", sa.String(length=32), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'evaluated', 'failed')", name=op.f("ck_proposals_status")
        ),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_proposals_prompt_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_proposals_run_id")),
        sa.PrimaryKeyConstraint("run_id", "proposal_index", name=op.f("pk_proposals")),
        sa.UniqueConstraint(
            "run_id", "completed_order", name=op.f("uq_proposals_run_id_completed_order")
        ),
    )
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_proposals_prompt_id"), ["prompt_id"], unique=False)

    op.create_table(
        "samples",
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("sample_index", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("n_tokens", sa.Integer(), nullable=False),
        sa.Column("logprob_sum", sa.Double(), nullable=True),
        sa.Column("sampling_logprob_sum", sa.Double(), nullable=True),
        sa.Column("finish_reason", sa.String(length=16), nullable=False),
        sa.Column("run_id", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_samples_prompt_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_samples_run_id")),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.target_id"], name=op.f("fk_samples_target_id")
        ),
        sa.PrimaryKeyConstraint("target_id", "prompt_id", "sample_index", name=op.f("pk_samples")),
    )
    with op.batch_alter_table("samples", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_samples_run_id"), ["run_id"], unique=False)

    op.create_table(
        "evaluations",
        sa.Column("run_id", sa.String(length=16), nullable=False),
        sa.Column("proposal_index", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("fitness", sa.Double(), nullable=False),
        sa.Column("refusal_term", sa.Double(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("entropy", sa.Double(), nullable=True),
        sa.Column("refusal_rate", sa.Double(), nullable=False),
        sa.Column("refusal_low", sa.Double(), nullable=False),
        sa.Column("refusal_high", sa.Double(), nullable=False),
        sa.Column("n_samples", sa.Integer(), nullable=False),
        sa.Column("n_unscored", sa.Integer(), nullable=False),
        sa.Column("n_new", sa.Integer(), nullable=False),
        sa.Column("target_tokens", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("engine_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_evaluations_prompt_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "proposal_index"],
            ["proposals.run_id", "proposals.proposal_index"],
            name=op.f("fk_evaluations_run_id_proposal_index"),
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.target_id"], name=op.f("fk_evaluations_target_id")
        ),
        sa.PrimaryKeyConstraint("run_id", "proposal_index", name=op.f("pk_evaluations")),
    )
    with op.batch_alter_table("evaluations", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_evaluations_run_id_fitness"), ["run_id", "fitness"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_evaluations_target_id_prompt_id"),
            ["target_id", "prompt_id"],
            unique=False,
        )

    op.create_table(
        "lineage",
        sa.Column("run_id", sa.String(length=16), nullable=False),
        sa.Column("proposal_index", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parent_prompt_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_prompt_id"], ["prompts.prompt_id"], name=op.f("fk_lineage_parent_prompt_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "proposal_index"],
            ["proposals.run_id", "proposals.proposal_index"],
            name=op.f("fk_lineage_run_id_proposal_index"),
        ),
        sa.PrimaryKeyConstraint("run_id", "proposal_index", "position", name=op.f("pk_lineage")),
    )
    with op.batch_alter_table("lineage", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_lineage_parent_prompt_id"), ["parent_prompt_id"], unique=False
        )

    op.create_table(
        "verdicts",
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("sample_index", sa.Integer(), nullable=False),
        sa.Column("judge", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("p_refusal", sa.Double(), nullable=True),
        sa.Column("unscored_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(p_refusal IS NULL) <> (unscored_reason IS NULL)",
            name=op.f("ck_verdicts_scored_or_not"),
        ),
        sa.ForeignKeyConstraint(
            ["target_id", "prompt_id", "sample_index"],
            ["samples.target_id", "samples.prompt_id", "samples.sample_index"],
            name=op.f("fk_verdicts_target_id_prompt_id_sample_index"),
        ),
        sa.PrimaryKeyConstraint(
            "target_id", "prompt_id", "sample_index", "judge", "version", name=op.f("pk_verdicts")
        ),
    )
