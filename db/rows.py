"""From values to rows. Knows the tables and the values; opens nothing, commits nothing."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Insert,
    Table,
    Update,
    bindparam,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from db.bulk import execute_rows
from db.models import (
    Base,
    Evaluation,
    Proposal,
    ScreenedBy,
)
from evo.types import RESAMPLE, Candidate, Outcome
from fitness import types as fitness_types
from fitness.types import (
    Score,
    ScreenedOut,
    Unscored,
)
from workers.interface import FailureKind
from workers.interface import Opening as OpeningValue
from workers.status import ReplicaStatus

# SQLite allows 32,766 bound values; a wide table takes 20 of them a row.
_CHUNK = 500


_PROPOSALS = cast(Table, Proposal.__table__)


def insert_new(connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> int:
    """INSERT ... ON CONFLICT DO NOTHING; of rows with one key the first counts. Returns how many rows
    were new, as far as the driver says."""
    # In order of the key, or two writers of a PostgreSQL could wait for each other.
    keys = [column.name for column in table.__table__.primary_key]
    ordered = sorted(rows, key=itemgetter(*keys))
    statement = _insert(connection.dialect.name, table)
    return sum(execute_rows(connection, statement, chunk) for chunk in chunks(ordered))


@cache
def _insert(dialect: str, table: type[Base]) -> Insert:
    """The same object every time, so that it is compiled once."""
    made = (sqlite if dialect == "sqlite" else postgresql).insert(table.__table__)
    statement: Insert = made.on_conflict_do_nothing()
    return statement


def chunks(items: Sequence[Any], size: int = _CHUNK) -> Iterator[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


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


def update_pending(
    connection: Connection, run_id: str, changes: Sequence[tuple[int, Mapping[str, Any]]]
) -> int:
    """Change proposals, given by index, unless they have ended. Returns how many were changed."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for index, values in changes:
        row = {f"new_{column}": value for column, value in values.items()}
        alike[tuple(values)].append({"run": run_id, "number": index, **row})
    return sum(
        execute_rows(connection, _update_pending(columns), rows) for columns, rows in alike.items()
    )


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
        rows = connection.execute(_PROPOSED, {"run": run_id, "numbers": chunk})
        found |= {index: (status, prompt) for index, status, prompt in rows}
    return found


# Asked for with every batch: made once.
_PROPOSED = select(_PROPOSALS.c.proposal_index, _PROPOSALS.c.status, _PROPOSALS.c.prompt_id).where(
    _PROPOSALS.c.run_id == bindparam("run"),
    _PROPOSALS.c.proposal_index.in_(bindparam("numbers", expanding=True)),
)


def parts_of(
    outcome: Outcome, target_id: str
) -> Sequence[tuple[str, fitness_types.Evaluation | Unscored]]:
    """What was paid for, scored or not, by target; of one target: all of it is `target_id`'s."""
    whole = outcome.evaluation or outcome.failure
    if not isinstance(whole, fitness_types.Evaluation | Unscored):
        return ()
    return whole.by_target or ((target_id, whole),)


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


def supersede(
    connection: Connection, run_id: str, target_id: str, outcomes: Sequence[Outcome]
) -> None:
    """Of prompts that were sampled again the older evaluations count no longer.

    `target_id`: whose they are where an outcome does not say. The targets of a run do not change; the
    index by target and prompt finds them, where the run's key would read all of its evaluations.
    """
    again = [
        {
            "run": run_id,
            "target": target,
            "prompt": o.candidate.prompt_id,
            "number": o.assignment.index,
        }
        for o in outcomes
        if o.evaluation and o.candidate and o.assignment.operator == RESAMPLE
        for target, _ in parts_of(o, target_id)
    ]
    execute_rows(connection, _SUPERSEDE, again)


_EVALUATIONS = cast(Table, Evaluation.__table__)


_SUPERSEDE = (
    update(_EVALUATIONS)
    .where(
        # `|| ''` and `+ 0`, or SQLite takes an index of the run for the better way.
        _EVALUATIONS.c.run_id + literal_column("''") == bindparam("run"),
        _EVALUATIONS.c.target_id == bindparam("target"),
        _EVALUATIONS.c.prompt_id == bindparam("prompt"),
        _EVALUATIONS.c.proposal_index + literal_column("0") < bindparam("number"),
    )
    .values(is_superseded=True)
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
            **{name: number(getattr(part.score, name)) for name in SCORE_FIELDS},
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


SCORE_FIELDS = tuple(Score.__dataclass_fields__)
