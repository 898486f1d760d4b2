"""What a run left in the record, as the values that it was told: to go on with it, or to look at it.

Knows the tables and the values; opens nothing, writes nothing. `db.store.Store` has the same calls.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, bindparam, select

from db import traces
from db.models import Evaluation, Proposal, Run, Sample, Verdict
from db.rows import chunks
from db.samples import read_paid
from db.values import (
    Parents,
    decided_of,
    evaluation_of,
    failure_of,
    read_decisions,
    read_openings,
    read_vectors,
    sample_of,
    screened_of,
    verdict_of,
)
from evo.types import Assignment, Candidate, Outcome
from fitness import targets
from fitness import types as fitness_types
from fitness.types import CliffTrace, JudgedSample, NoTrace
from workers.interface import FailureKind
from workers.interface import Sample as SampleValue


def replay(connection: Connection, run_id: str, *, samples: bool = False) -> list[Outcome]:
    """See `Store.replay`."""
    parents = Parents.of(connection, run_id)
    ended = (
        select(Proposal.__table__)
        .where(Proposal.run_id == run_id, Proposal.status != "pending")
        .order_by(Proposal.completed_order)
    )
    proposals = connection.execute(ended).mappings().all()
    scored = select(Evaluation.__table__).where(Evaluation.run_id == run_id)
    evaluations: dict[int, list[RowMapping]] = defaultdict(list)
    for row in connection.execute(scored).mappings():
        evaluations[row["proposal_index"]].append(row)
    config = connection.scalar(select(Run.config).where(Run.run_id == run_id))
    asked_for = json.loads(config or "{}")
    over = targets.of_config(asked_for)
    probe = asked_for.get("search", {}).get("probe_version")
    prompt_ids = [p["prompt_id"] for p in proposals if p["prompt_id"] is not None]
    vectors = read_vectors(connection, prompt_ids)
    decisions = read_decisions(connection, prompt_ids)
    unscored = [p["prompt_id"] for p in proposals if p["failure_kind"] == FailureKind.UNSCORED]
    paid = read_paid(connection, run_id, unscored)
    asked = connection.scalar(select(Run.target_id).where(Run.run_id == run_id)) or ""
    openings = read_openings(connection, asked, prompt_ids)
    known_openings = {(asked, p): opening for p, (opening, _) in openings.items()}
    charged = {p: (opening, run == run_id) for p, (opening, run) in openings.items()}
    taken: dict[tuple[str, str], tuple[JudgedSample, ...]] = {}
    if samples:
        for target_id in {row["target_id"] for rows in evaluations.values() for row in rows}:
            known = samples_of(connection, target_id, prompt_ids, probe)
            taken |= {(target_id, prompt): drawn for prompt, drawn in known.items()}
    return [
        Outcome(
            assignment=parents.assignment(row),
            candidate=parents.candidate(row),
            evaluation=evaluation_of(
                evaluations.get(row["proposal_index"], []), taken, over, known_openings
            ),
            failure=failure_of(row, paid, charged),
            gate_decisions=decided_of(row, decisions),
            embedding=vectors.get((row["prompt_id"], row["embedder"])),
            cost_usd=row["cost_usd"] or 0.0,
            screened=screened_of(row),
        )
        for row in proposals
    ]


def pending(connection: Connection, run_id: str) -> list[tuple[Assignment, Candidate | None]]:
    """See `Store.pending`."""
    parents = Parents.of(connection, run_id)
    rows = connection.execute(
        select(Proposal.__table__)
        .where(Proposal.run_id == run_id, Proposal.status == "pending")
        .order_by(Proposal.proposal_index)
    ).mappings()
    return [(parents.assignment(row), parents.candidate(row)) for row in rows]


def samples_of(
    connection: Connection, target_id: str, prompt_ids: Sequence[str], probe: str | None = None
) -> dict[str, tuple[JudgedSample, ...]]:
    """See `Store.known_samples`."""
    samples: dict[str, list[SampleValue]] = defaultdict(list)
    verdicts: dict[tuple[str, int], list[fitness_types.Verdict]] = defaultdict(list)
    for chunk in chunks(prompt_ids):
        asked = {"target": target_id, "prompts": chunk}
        rows = connection.execute(_SAMPLES_OF, asked).mappings()
        for row in rows:
            if row["sample_index"] == len(samples[row["prompt_id"]]):
                samples[row["prompt_id"]].append(sample_of(row))
        if not samples:  # as a rule: prompts are new
            continue
        found = connection.execute(
            select(Verdict.__table__)
            .where(Verdict.target_id == target_id, Verdict.prompt_id.in_(chunk))
            .order_by(Verdict.judge, Verdict.version)
        ).mappings()
        for row in found:
            verdicts[row["prompt_id"], row["sample_index"]].append(verdict_of(row))
    traced: dict[tuple[str, int], CliffTrace | NoTrace] = {}
    if probe is not None and samples:
        traced = traces.read(connection, target_id, list(samples), probe)
    return {
        prompt: tuple(
            JudgedSample(s, tuple(verdicts[prompt, s.index]), traced.get((prompt, s.index)))
            for s in taken
        )
        for prompt, taken in samples.items()
        if taken
    }


# Asked for with every batch: made once.
_SAMPLES_OF = (
    select(Sample.__table__)
    .where(
        Sample.target_id == bindparam("target"),
        Sample.prompt_id.in_(bindparam("prompts", expanding=True)),
    )
    .order_by(Sample.prompt_id, Sample.sample_index)
)
