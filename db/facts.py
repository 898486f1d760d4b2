"""What a run's stored config says about reading its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from db.models import Evaluation, Run
from db.safety import gates_of
from db.values import pairs
from fitness import targets
from fitness.targets import Over


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's stored config says about reading its rows."""

    run_id: str
    name: str
    threshold: float  # refusal rate from which a harmless prompt is an over-refusal
    gates: tuple[str, ...]
    judges: tuple[str, ...]
    started_at: datetime
    target_id: str | None
    over: Over | None = None  # how the scores of several targets make one


def decider(connection: Connection, run_id: str) -> tuple[str, str] | None:
    """Name and version of the judge by which a run was scored; None where nothing was."""
    judges = connection.scalar(
        select(Evaluation.judges)
        .where(Evaluation.run_id == run_id, Evaluation.judges.is_not(None))
        .order_by(Evaluation.proposal_index)
        .limit(1)
    )
    return next(iter(pairs(judges)), None)


def run_facts(connection: Connection) -> dict[str, RunFacts]:
    facts = {}
    for row in connection.execute(
        select(Run.run_id, Run.name, Run.config, Run.started_at, Run.target_id, Run.threshold)
    ):
        config = json.loads(row.config)
        facts[row.run_id] = RunFacts(
            row.run_id,
            row.name,
            row.threshold,
            gates_of(config),
            tuple(config.get("judges", ())),
            row.started_at,
            row.target_id,
            targets.of_config(config),
        )
    return facts
