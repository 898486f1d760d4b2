"""What queries need: safety, thresholds, disagreements, text search, indexes, views; and two tables
for what comes: where imported prompts are from, and refusal cliffs"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from db.migrations.search_0010 import search
from db.migrations.views_0010 import VIEWS

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_BATCH = 500


def upgrade() -> None:
    connection = op.get_bind()
    _tables()
    op.add_column(
        "runs",
        sa.Column("threshold", sa.Double(), nullable=False, server_default=sa.text("0.5")),
    )
    op.add_column("proposals", sa.Column("safety", sa.String(length=16), nullable=True))
    op.add_column("evaluations", sa.Column("strategy", sa.String(length=64), nullable=True))
    op.add_column("evaluations", sa.Column("safety", sa.String(length=16), nullable=True))
    gates = _fill_thresholds(connection)
    _fill_safety(connection, gates)
    for column in ("strategy", "safety"):
        op.execute(
            f"UPDATE evaluations SET {column} = (SELECT {column} FROM proposals WHERE"  # noqa: S608
            " proposals.run_id = evaluations.run_id"
            " AND proposals.proposal_index = evaluations.proposal_index)"
        )
    op.execute(
        "INSERT INTO disagreements (target_id, prompt_id, sample_index)"
        " SELECT target_id, prompt_id, sample_index FROM verdicts"
        " GROUP BY target_id, prompt_id, sample_index"
        " HAVING min(p_refusal) < 0.5 AND max(p_refusal) >= 0.5"
    )
    # The old indexes go before the table is copied, or they would be copied too.
    op.drop_index("ix_evaluations_run_id_fitness", "evaluations")
    op.drop_index("ix_evaluations_target_id_prompt_id", "evaluations")
    op.drop_index("ix_lineage_parent_prompt_id", "lineage")
    with op.batch_alter_table("evaluations", schema=None) as evaluations:
        evaluations.alter_column("strategy", existing_type=sa.String(length=64), nullable=False)
        evaluations.alter_column("safety", existing_type=sa.String(length=16), nullable=False)
    _indexes()
    for statement in (*search(connection.dialect.name), *VIEWS):
        connection.exec_driver_sql(statement)


def _tables() -> None:
    op.create_table(
        "prompt_sources",
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=120), nullable=False),
        sa.Column("row_key", sa.String(length=200), nullable=False),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("imported_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.prompt_id"], name=op.f("fk_prompt_sources_prompt_id")
        ),
        sa.PrimaryKeyConstraint("prompt_id", "source", "row_key", name=op.f("pk_prompt_sources")),
    )
    op.create_index(op.f("ix_prompt_sources_source_label"), "prompt_sources", ["source", "label"])
    op.create_table(
        "disagreements",
        *_sample(),
        _of_sample("disagreements"),
        sa.PrimaryKeyConstraint(
            "target_id", "prompt_id", "sample_index", name=op.f("pk_disagreements")
        ),
    )
    op.create_table(
        "cliffs",
        *_sample(),
        sa.Column("probe", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("plateau", sa.Double(), nullable=False),
        sa.Column("final", sa.Double(), nullable=False),
        sa.Column("cliff", sa.Double(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("n_tokens", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.CheckConstraint("kind IN ('cliff', 'inverse', 'none')", name=op.f("ck_cliffs_kind")),
        _of_sample("cliffs"),
        sa.PrimaryKeyConstraint(
            "target_id", "prompt_id", "sample_index", "probe", "version", name=op.f("pk_cliffs")
        ),
    )


def _sample() -> list[sa.Column[Any]]:
    return [
        sa.Column("target_id", sa.String(length=16), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("sample_index", sa.Integer(), nullable=False),
    ]


def _of_sample(table: str) -> sa.ForeignKeyConstraint:
    columns = ["target_id", "prompt_id", "sample_index"]
    return sa.ForeignKeyConstraint(
        columns,
        [f"samples.{column}" for column in columns],
        name=op.f(f"fk_{table}_target_id_prompt_id_sample_index"),
    )


def _indexes() -> None:
    for by in ("fitness", "refusal_rate"):
        for within in ([], ["run_id"], ["target_id"], ["strategy"]):
            name = "_".join(["ix_evaluations", *within, by])
            op.create_index(name, "evaluations", [*within, sa.text(f"{by} DESC"), "prompt_id"])
    op.create_index(
        op.f("ix_evaluations_prompt_id_target_id"), "evaluations", ["prompt_id", "target_id"]
    )
    op.create_index(
        "ix_evaluations_tally",
        "evaluations",
        [
            "run_id",
            "target_id",
            "strategy",
            "safety",
            "is_superseded",
            "refusal_rate",
            "fitness",
        ],
    )
    op.create_index(
        op.f("ix_lineage_parent_prompt_id_run_id"), "lineage", ["parent_prompt_id", "run_id"]
    )
    rest = sa.text("safety <> 'harmless'")
    op.create_index(
        "ix_proposals_not_harmless",
        "proposals",
        ["safety", "status", "prompt_id"],
        sqlite_where=rest,
        postgresql_where=rest,
    )
    op.create_index("ix_cliffs_cliff", "cliffs", [sa.text("cliff DESC"), "prompt_id"])
    op.create_index(op.f("ix_cliffs_prompt_id"), "cliffs", ["prompt_id"])
    op.create_index(
        "ix_boundary_pairs_smallest",
        "boundary_pairs",
        ["n_words", sa.text("cosine DESC"), "refused_prompt_id"],
    )
    op.create_index(
        op.f("ix_boundary_pairs_answered_prompt_id"), "boundary_pairs", ["answered_prompt_id"]
    )


def _fill_thresholds(connection: sa.Connection) -> dict[str, list[str]]:
    """Returns the gates of each run."""
    gates = {}
    for run_id, config in connection.exec_driver_sql("SELECT run_id, config FROM runs").all():
        settings = json.loads(config)
        gates[run_id] = list(settings.get("safety", ()))
        connection.execute(
            sa.text("UPDATE runs SET threshold = :threshold WHERE run_id = :run_id"),
            {
                "threshold": float(settings.get("search", {}).get("threshold", 0.5)),
                "run_id": run_id,
            },
        )
    return gates


def _fill_safety(connection: sa.Connection, gates: dict[str, list[str]]) -> None:
    """As `db.safety` does now: people win over gates; else the run's gates combined."""
    set_safety = sa.text(
        "UPDATE proposals SET safety = :safety WHERE run_id = :run_id AND proposal_index = :number"
    )
    for rows in _gated(connection):
        said = _said(connection, sorted({row.prompt_id for row in rows}))
        connection.execute(
            set_safety,
            [
                {
                    "safety": _combined(row, gates[row.run_id], said[row.prompt_id]),
                    "run_id": row.run_id,
                    "number": row.proposal_index,
                }
                for row in rows
            ],
        )


def _gated(connection: sa.Connection) -> Iterator[Sequence[sa.Row[Any]]]:
    """Proposals that came to a gate, a batch at a time."""
    after: dict[str, Any] = {"run_id": "", "number": -1, "n": _BATCH}
    while rows := connection.execute(
        sa.text(
            "SELECT run_id, proposal_index, prompt_id, gates FROM proposals"
            " WHERE (run_id > :run_id OR (run_id = :run_id AND proposal_index > :number))"
            " AND prompt_id IS NOT NULL"
            " AND (status = 'evaluated' OR (status = 'failed' AND gates IS NOT NULL))"
            " ORDER BY run_id, proposal_index LIMIT :n"
        ),
        after,
    ).all():
        yield rows
        after |= {"run_id": rows[-1].run_id, "number": rows[-1].proposal_index}


def _said(
    connection: sa.Connection, prompt_ids: Sequence[str]
) -> dict[str, list[tuple[str, str, str]]]:
    """(gate, version, outcome) by prompt."""
    said = defaultdict(list)
    decisions = sa.table(
        "gate_decisions", *map(sa.column, ("prompt_id", "gate", "version", "outcome"))
    )
    for prompt_id, *decision in connection.execute(
        sa.select(decisions).where(decisions.c.prompt_id.in_(prompt_ids))
    ):
        said[prompt_id].append(tuple(decision))
    return said


def _combined(row: Any, gates: list[str], said: list[tuple[str, str, str]]) -> str:
    people = [(gate, outcome) for gate, _, outcome in said if gate.startswith("human:")]
    met = None if row.gates is None else [tuple(pair) for pair in json.loads(row.gates)]
    own = [
        (gate, outcome)
        for gate, version, outcome in said
        if (gate in gates if met is None else (gate, version) in met)
    ]
    if people:
        gates, own = [gate for gate, _ in people], people
    outcomes = {outcome for _, outcome in own}
    if "harmful" in outcomes:
        return "harmful"
    complete = bool(gates) and set(gates) <= {gate for gate, _ in own}
    return "harmless" if complete and outcomes == {"harmless"} else "controversial"
