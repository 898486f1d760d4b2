"""From values to rows and back. Knows the tables and the values; opens nothing, commits nothing."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Insert,
    RowMapping,
    Table,
    Update,
    bindparam,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from db.bulk import execute_rows
from db.models import (
    Base,
    Embedding,
    Evaluation,
    GateDecision,
    Lineage,
    Opening,
    Proposal,
    ScreenedBy,
)
from evo.types import RESAMPLE, Assignment, Candidate, Outcome, Screened, Strategy
from fitness import types as fitness_types
from fitness.targets import Over, combine
from fitness.types import (
    JudgedSample,
    ResponseClass,
    Safety,
    Score,
    ScreenedOut,
    Unscored,
)
from workers.interface import Failure, FailureKind
from workers.interface import Opening as OpeningValue
from workers.interface import Sample as SampleValue
from workers.status import ReplicaStatus

# SQLite allows 32,766 bound values; a wide table takes 20 of them a row.
_CHUNK = 500
_PROPOSALS = cast(Table, Proposal.__table__)


@dataclass(frozen=True, slots=True)
class Parents:
    """What the rows of proposals need to become values again: who descends from whom in a run."""

    lineage: Mapping[int, tuple[str, ...]]  # proposal index -> prompt ids of its parents
    known: Mapping[str, Candidate]  # every prompt of the run that can be a parent

    @classmethod
    def of(cls, connection: Connection, run_id: str) -> Parents:
        lineage: dict[int, tuple[str, ...]] = {}
        for index, parent in connection.execute(
            select(Lineage.proposal_index, Lineage.parent_prompt_id)
            .where(Lineage.run_id == run_id)
            .order_by(Lineage.proposal_index, Lineage.position)
        ):
            lineage[index] = (*lineage.get(index, ()), parent)
        known: dict[str, Candidate] = {}
        parents = cls(lineage, known)
        rows = connection.execute(
            select(Proposal.__table__)
            .where(Proposal.run_id == run_id, Proposal.status == "evaluated")
            .order_by(Proposal.completed_order)
        ).mappings()
        for row in rows:
            candidate = parents.candidate(row)
            if candidate is not None:
                known.setdefault(candidate.prompt_id, candidate)
        return parents

    def candidate(self, row: RowMapping) -> Candidate | None:
        if row["prompt_id"] is None:
            return None
        return Candidate(
            prompt_id=row["prompt_id"],
            text=row["text"],
            operator=row["operator"],
            strategy=Strategy(row["strategy"]),
            parents=self.lineage.get(row["proposal_index"], ()),
            topic=row["topic"],
            seed_id=row["seed_prompt_id"],
            rationale=row["rationale"],
        )

    def assignment(self, row: RowMapping) -> Assignment:
        return Assignment(
            index=row["proposal_index"],
            operator=row["operator"],
            strategy=Strategy(row["strategy"]),
            parents=tuple(self.known[p] for p in self.lineage.get(row["proposal_index"], ())),
            seed=row["assignment_seed"],
            asked_after=row["asked_after"],
        )


def insert_new(
    connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]
) -> bool:
    """INSERT ... ON CONFLICT DO NOTHING; of rows with one key the first counts. Says whether it is
    certain that every row was new."""
    # In order of the key, or two writers of a PostgreSQL could wait for each other.
    keys = [column.name for column in table.__table__.primary_key]
    ordered = sorted(rows, key=itemgetter(*keys))
    statement = _insert(connection.dialect.name, table)
    added = sum(execute_rows(connection, statement, chunk) for chunk in chunks(ordered))
    return added == len(rows)


@cache
def _insert(dialect: str, table: type[Base]) -> Insert:
    """The same object every time, so that it is compiled once."""
    made = (sqlite if dialect == "sqlite" else postgresql).insert(table.__table__)
    statement: Insert = made.on_conflict_do_nothing()
    return statement


def chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))


def number(value: float | None) -> float | None:
    """A finite number or NULL."""
    return None if value is None or not math.isfinite(value) else float(value)


def candidate_row(candidate: Candidate) -> dict[str, Any]:
    return {
        "prompt_id": candidate.prompt_id,
        "text": candidate.text,
        "topic": candidate.topic,
        "seed_prompt_id": candidate.seed_id,
        "rationale": candidate.rationale,
    }


def ending(outcome: Outcome, embedder: str) -> dict[str, Any]:
    """The columns of a proposal that say how it ended."""
    values: dict[str, Any] = {
        "status": "evaluated" if outcome.evaluation else "failed",
        "gates": _names((d.gate, d.version) for d in outcome.gate_decisions),
        "embedder": None if _vector(outcome) is None else embedder,
        "cost_usd": number(outcome.cost_usd),
    }
    if outcome.candidate is not None:
        values |= candidate_row(outcome.candidate)
    if outcome.screened is not None:
        values |= {"guess": number(outcome.screened.guess), "is_blind": outcome.screened.blind}
    if outcome.failure is not None:
        values["failure_kind"] = outcome.failure.kind.value
        values["failure_message"] = outcome.failure.message
        if outcome.failure.kind is FailureKind.SCREENED:
            by_opening = isinstance(outcome.failure, ScreenedOut)
            values["screened_by"] = ScreenedBy.OPENING if by_opening else ScreenedBy.PREDICTOR
    return values


def _names(named: Iterable[tuple[str, str]]) -> str | None:
    """[[name, version], ...] as JSON; NULL when there are none."""
    listed = tuple(named)
    return _listed(listed) if listed else None


@lru_cache(64)  # a run has the same gates and judges all along
def _listed(named: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(named)


def pairs(column: str | None) -> list[tuple[str, str]]:
    """What `proposals.gates` and `evaluations.judges` hold: (name, version) each."""
    return [(name, version) for name, version in json.loads(column)] if column else []


def update_pending(
    connection: Connection, run_id: str, changes: Sequence[tuple[int, Mapping[str, Any]]]
) -> None:
    """Change proposals, given by index, unless they have ended."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for index, values in changes:
        row = {f"new_{column}": value for column, value in values.items()}
        alike[tuple(values)].append({"run": run_id, "number": index, **row})
    for columns, rows in alike.items():
        execute_rows(connection, _update_pending(columns), rows)


@cache
def _update_pending(columns: tuple[str, ...]) -> Update:
    return (
        update(_PROPOSALS)
        .where(
            _PROPOSALS.c.run_id == bindparam("run"),
            _PROPOSALS.c.proposal_index == bindparam("number"),
            _PROPOSALS.c.status == "pending",
        )
        .values({column: bindparam(f"new_{column}") for column in columns})
    )


def read_proposed(
    connection: Connection, run_id: str, indices: Sequence[int]
) -> dict[int, tuple[str, str | None]]:
    """Index -> (status, prompt id) of those of these proposals that are stored."""
    found: dict[int, tuple[str, str | None]] = {}
    for chunk in chunks(indices):
        rows = connection.execute(
            select(_PROPOSALS.c.proposal_index, _PROPOSALS.c.status, _PROPOSALS.c.prompt_id).where(
                _PROPOSALS.c.run_id == run_id, _PROPOSALS.c.proposal_index.in_(chunk)
            )
        )
        found |= {index: (status, prompt) for index, status, prompt in rows}
    return found


def parts_of(
    outcome: Outcome, target_id: str
) -> Sequence[tuple[str, fitness_types.Evaluation | Unscored]]:
    """What was paid for, scored or not, by target; of one target: all of it is `target_id`'s."""
    whole = outcome.evaluation or outcome.failure
    if not isinstance(whole, fitness_types.Evaluation | Unscored):
        return ()
    return whole.by_target or ((target_id, whole),)


def read_vectors(
    connection: Connection, prompt_ids: Sequence[str]
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """(prompt id, embedder) -> unit vector, float32 of shape (dim,)."""
    found = {}
    for chunk in chunks(prompt_ids):
        rows = connection.execute(
            select(Embedding.prompt_id, Embedding.embedder, Embedding.vector).where(
                Embedding.prompt_id.in_(chunk)
            )
        )
        for prompt, embedder, vector in rows:
            found[prompt, embedder] = np.frombuffer(vector, dtype="<f4").astype(np.float32)
    return found


def read_decisions(
    connection: Connection, prompt_ids: Sequence[str]
) -> dict[str, dict[tuple[str, str], fitness_types.GateDecision]]:
    """Prompt id -> (gate, version) -> decision."""
    found: dict[str, dict[tuple[str, str], fitness_types.GateDecision]] = defaultdict(dict)
    for chunk in chunks(prompt_ids):
        rows = connection.execute(
            select(GateDecision.__table__)
            .where(GateDecision.prompt_id.in_(chunk))
            .order_by(GateDecision.prompt_id, GateDecision.gate, GateDecision.version)
        ).mappings()
        for r in rows:
            found[r["prompt_id"]][r["gate"], r["version"]] = fitness_types.GateDecision(
                r["gate"], r["version"], Safety(r["outcome"]), r["p_harmful"], r["reason"]
            )
    return found


def decided_of(
    row: RowMapping, decisions: Mapping[str, Mapping[tuple[str, str], fitness_types.GateDecision]]
) -> tuple[fitness_types.GateDecision, ...]:
    """The decisions of a proposal, in the order in which they were recorded."""
    return tuple(decisions[row["prompt_id"]][pair] for pair in pairs(row["gates"]))


def screened_of(row: RowMapping) -> Screened | None:
    return None if row["is_blind"] is None else Screened(row["guess"], row["is_blind"])


def failure_of(
    row: RowMapping,
    paid: Mapping[str, tuple[int, int]],
    openings: Mapping[str, tuple[OpeningValue, bool]],
) -> Failure | None:
    """How a proposal failed; `paid`: the samples and tokens that unscored prompts cost the run;
    `openings`: of its prompts, and whether the run paid for them."""
    if row["failure_kind"] is None:
        return None
    kind, message = FailureKind(row["failure_kind"]), row["failure_message"]
    opening, is_paid = openings.get(row["prompt_id"], (None, False))
    if kind is FailureKind.UNSCORED:
        n_new, tokens = paid.get(row["prompt_id"], (0, 0))
        return Unscored(kind, message, (), n_new, tokens + is_paid, opening=opening)
    if opening is not None and row["screened_by"] == ScreenedBy.OPENING:
        read = opening.n_prompt_tokens if is_paid else 0
        return ScreenedOut(kind, message, opening, int(is_paid), read)
    return Failure(kind, message)


def opening_rows(run_id: str, target_id: str, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {
            "target_id": target_id,
            "prompt_id": o.candidate.prompt_id,
            "tokens": json.dumps(list(zip(opening.tokens, opening.logprobs, strict=True))),
            "n_prompt_tokens": opening.n_prompt_tokens,
            "run_id": run_id,
        }
        for o in outcomes
        if o.candidate is not None and (opening := _opening(o)) is not None
    ]


def _opening(outcome: Outcome) -> OpeningValue | None:
    if outcome.evaluation is not None:
        return outcome.evaluation.opening
    failure = outcome.failure
    return failure.opening if isinstance(failure, ScreenedOut | Unscored) else None


def read_openings(
    connection: Connection, target_id: str, prompt_ids: Sequence[str]
) -> dict[str, tuple[OpeningValue, str]]:
    """Prompt id -> how a response would begin, and the run that paid for it."""
    found = {}
    for chunk in chunks(prompt_ids):
        rows = connection.execute(
            select(
                Opening.prompt_id, Opening.tokens, Opening.n_prompt_tokens, Opening.run_id
            ).where(Opening.target_id == target_id, Opening.prompt_id.in_(chunk))
        )
        for prompt, listed, n_prompt_tokens, run_id in rows:
            shown = json.loads(listed)
            opening = OpeningValue(
                tuple(token for token, _ in shown),
                tuple(logprob for _, logprob in shown),
                n_prompt_tokens,
            )
            found[prompt] = (opening, run_id)
    return found


def supersede(connection: Connection, run_id: str, outcomes: Sequence[Outcome]) -> None:
    """Of prompts that were sampled again the older evaluations count no longer."""
    again = [
        {"run": run_id, "prompt": o.candidate.prompt_id, "number": o.assignment.index}
        for o in outcomes
        if o.evaluation and o.candidate and o.assignment.operator == RESAMPLE
    ]
    if again:
        connection.execute(_SUPERSEDE, again)


_EVALUATIONS = cast(Table, Evaluation.__table__)
_SUPERSEDE = (
    update(_EVALUATIONS)
    .where(
        _EVALUATIONS.c.run_id == bindparam("run"),
        _EVALUATIONS.c.prompt_id == bindparam("prompt"),
        _EVALUATIONS.c.proposal_index < bindparam("number"),
    )
    .values(is_superseded=True)
)


def sample_of(row: RowMapping) -> SampleValue:
    return SampleValue(
        index=row["sample_index"],
        text=row["text"],
        n_tokens=row["n_tokens"],
        finish_reason=row["finish_reason"],
        logprob_sum=row["logprob_sum"],
        sampling_logprob_sum=row["sampling_logprob_sum"],
        reasoning=row["reasoning"],
    )


def verdict_of(row: RowMapping) -> fitness_types.Verdict:
    kind = row["response_class"]
    return fitness_types.Verdict(
        judge=row["judge"],
        version=row["version"],
        p_refusal=row["p_refusal"],
        unscored_reason=row["unscored_reason"],
        response_class=None if kind is None else ResponseClass(kind),
    )


def verdict_row(verdict: fitness_types.Verdict) -> dict[str, Any]:
    """The columns of a verdict that are not its sample's."""
    return {
        "judge": verdict.judge,
        "version": verdict.version,
        "p_refusal": verdict.p_refusal,
        "unscored_reason": verdict.unscored_reason,
        "response_class": verdict.response_class,
    }


def replica_rows(run_id: str, replicas: Sequence[ReplicaStatus]) -> list[dict[str, Any]]:
    return [
        {
            "run_id": run_id,
            "pool": r.pool,
            "number": r.number,
            "state": r.state.value,
            "queue": r.queue,
            "finished": r.finished,
            "tokens": r.tokens,
            "tokens_per_s": r.tokens_per_s,
            "busy": r.busy,
            "restarts": r.restarts,
        }
        for r in replicas
    ]


def gate_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": o.candidate.prompt_id,
            "gate": d.gate,
            "version": d.version,
            "outcome": d.outcome.value,
            "p_harmful": number(d.p_harmful),
            "reason": d.reason,
        }
        for o in outcomes
        if o.candidate is not None
        for d in o.gate_decisions
    ]


def _vector(outcome: Outcome) -> NDArray[np.float32] | None:
    """The vector of an outcome, float32 little-endian; None when it has none or a broken one."""
    if outcome.candidate is None or outcome.embedding is None:
        return None
    vector = np.asarray(outcome.embedding, dtype="<f4")
    return vector if bool(np.isfinite(vector).all()) else None


def embedding_rows(outcomes: Sequence[Outcome], embedder: str) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": o.candidate.prompt_id,
            "embedder": embedder,
            "dim": len(vector),
            "vector": vector.tobytes(),
        }
        for o in outcomes
        if o.candidate is not None and (vector := _vector(o)) is not None
    ]


def evaluation_rows(
    run_id: str, target_id: str, outcomes: Sequence[Outcome], safety: Mapping[int, str]
) -> list[dict[str, Any]]:
    """`safety`: of the proposals, by index."""
    return [
        {
            **{name: number(getattr(part.score, name)) for name in _SCORE_FIELDS},
            "run_id": run_id,
            "proposal_index": o.assignment.index,
            "prompt_id": part.prompt_id,
            "target_id": target,
            "n_new": part.n_new,
            "target_tokens": part.target_tokens,
            "prompt_tokens": part.prompt_tokens,
            "engine_s": part.engine_s,
            "judges": _names((v.judge, v.version) for v in _verdicts(part)),
            "is_superseded": False,
            "strategy": o.assignment.strategy.value,
            "safety": safety[o.assignment.index],
        }
        for o in outcomes
        if o.evaluation is not None
        for target, part in parts_of(o, target_id)
        if isinstance(part, fitness_types.Evaluation)
    ]


def _verdicts(evaluation: fitness_types.Evaluation) -> tuple[fitness_types.Verdict, ...]:
    """Those of the last sample: stored samples may bring verdicts of other runs' judges with them."""
    return evaluation.samples[-1].verdicts if evaluation.samples else ()


_SCORE_FIELDS = tuple(Score.__dataclass_fields__)


# Stored samples by (target id, prompt id).
Taken = Mapping[tuple[str, str], tuple[JudgedSample, ...]]


def evaluation_of(
    rows: Sequence[RowMapping],
    taken: Taken,
    over: Over | None,
    openings: Mapping[tuple[str, str], OpeningValue],
) -> fitness_types.Evaluation | None:
    """The evaluation of a proposal from its rows, one for each target; `over`: how a run with
    several targets combines them; `openings` by (target id, prompt id)."""
    if not rows:
        return None
    parts = {row["target_id"]: _part_of(row, taken, openings) for row in rows}
    return next(iter(parts.values())) if over is None else combine(parts, over)


def _part_of(
    row: RowMapping, taken: Taken, openings: Mapping[tuple[str, str], OpeningValue]
) -> fitness_types.Evaluation:
    samples = taken.get((row["target_id"], row["prompt_id"]), ())[: row["n_samples"]]
    judges = pairs(row["judges"])
    return fitness_types.Evaluation(
        prompt_id=row["prompt_id"],
        samples=tuple(JudgedSample(s.sample, _said(s.verdicts, judges)) for s in samples),
        score=Score(**{name: row[name] for name in _SCORE_FIELDS}),
        n_new=row["n_new"],
        target_tokens=row["target_tokens"],
        prompt_tokens=row["prompt_tokens"],
        engine_s=row["engine_s"],
        opening=openings.get((row["target_id"], row["prompt_id"])),
    )


def _said(
    verdicts: Sequence[fitness_types.Verdict], judges: Sequence[tuple[str, str]]
) -> tuple[fitness_types.Verdict, ...]:
    """What these judges said, in their order."""
    by_judge = {(v.judge, v.version): v for v in verdicts}
    return tuple(by_judge[judge] for judge in judges if judge in by_judge)
