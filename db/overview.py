"""What a report shows of a run, read at once: every evaluated prompt in order, and what lies beside it.

Read-only. Of a run with more prompts than asked for an even share is read, its best always among them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from db import boundary, queries, rejudge, traces
from db.models import Cliff, Embedding, Evaluation, Lineage, Prompt, Proposal, Run, Sample, Target
from db.rows import chunks
from evo.types import RESAMPLE, Strategy

if TYPE_CHECKING:
    from db.store import Store

_BEST = 500  # always read, however many there are
_STEPS = 300  # points of the curve over tokens
_BINS = 24  # of the run, for the strategies over time
_LISTED = 12


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluated prompt of a run. `order`: when it ended, from 0; `parent`: its first."""

    order: int
    prompt_id: str
    prompt: str
    strategy: str
    operator: str
    topic: str | None
    target_id: str
    fitness: float
    refusal_rate: float
    refusal_low: float
    refusal_high: float
    n_samples: int
    safety: str
    parent: str | None

    @property
    def is_seed(self) -> bool:
        return self.strategy == Strategy.SEED.value


@dataclass(frozen=True, slots=True)
class Overview:
    """`points` are `n_points` prompts or a share of them. `vectors` (points, dim), zeros where there is
    none; None where nothing is embedded.

    over_tokens  (tokens, over-refusals) as they grew
    over_time    strategy -> proposals in each of some equal parts of the run
    by_target    (strategy, target) -> (prompts, mean refusal rate)
    """

    run: str
    name: str
    kind: str
    status: str
    started: str
    version: str
    threshold: float
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    targets: Mapping[str, str]
    points: tuple[Point, ...]
    n_points: int
    vectors: NDArray[np.float32] | None
    over_tokens: tuple[tuple[int, int], ...]
    over_time: Mapping[str, tuple[int, ...]]
    by_target: Mapping[tuple[str, str], tuple[int, float]]
    pairs: tuple[Mapping[str, Any], ...] = ()
    disagreements: tuple[Mapping[str, Any], ...] = ()
    n_disagreements: int = 0
    cliffs: tuple[Mapping[str, Any], ...] = field(default=())


def overview(store: Store, run: str, most: int = 10_000) -> Overview:
    """Everything that a report of `run` shows, with at most `most` prompts.

    Raises:
        ConfigError: no such run.
    """
    summary = queries.run_summary(store, run)
    run_id = summary["run"]
    disagreements = rejudge.disagreements(store, run_id)
    with store.reading() as connection:
        row = connection.execute(select(Run.__table__).where(Run.run_id == run_id)).one()
        points, n_points = _points(connection, run_id, most)
        return Overview(
            run_id,
            row.name,
            row.kind,
            summary["status"],
            row.started_at.isoformat(timespec="seconds") + "Z",
            row.version,
            row.threshold,
            json.loads(row.config),
            summary,
            _targets(connection, run_id),
            points,
            n_points,
            _vectors(connection, points),
            _over_tokens(connection, run_id, row.threshold),
            _over_time(connection, run_id),
            _by_target(connection, run_id),
            tuple(boundary.query(store, run=run_id, limit=_LISTED)),
            tuple(disagreements[:_LISTED]),
            len(disagreements),
            _cliffs(connection, run_id),
        )


def _newest(run_id: str) -> Any:
    return (Evaluation.run_id == run_id) & Evaluation.is_superseded.is_(False)


def _points(connection: Connection, run_id: str, most: int) -> tuple[tuple[Point, ...], int]:
    n = connection.scalar(select(func.count()).select_from(Evaluation).where(_newest(run_id))) or 0
    statement = (
        select(
            Proposal.completed_order.label("order"),
            Evaluation.prompt_id,
            Proposal.text.label("prompt"),
            Evaluation.strategy,
            Proposal.operator,
            Proposal.topic,
            Evaluation.target_id,
            Evaluation.fitness,
            Evaluation.refusal_rate,
            Evaluation.refusal_low,
            Evaluation.refusal_high,
            Evaluation.n_samples,
            Evaluation.safety,
        )
        .join(
            Proposal,
            (Proposal.run_id == Evaluation.run_id)
            & (Proposal.proposal_index == Evaluation.proposal_index),
        )
        .where(_newest(run_id))
    )
    if n > most:
        step = -(-n // max(1, most - min(_BEST, most // 2)))
        best = (
            select(Evaluation.proposal_index)
            .where(_newest(run_id))
            .order_by(Evaluation.fitness.desc(), Evaluation.prompt_id)
            .limit(min(_BEST, most // 2))
        )
        statement = statement.where(
            (Evaluation.proposal_index % step == 0) | Evaluation.proposal_index.in_(best)
        )
    rows = connection.execute(statement.order_by(Proposal.completed_order, Evaluation.target_id))
    chosen = list(rows.mappings())[:most]
    parents = _parents(connection, run_id, [row["prompt_id"] for row in chosen])
    return tuple(Point(**row, parent=parents.get(row["prompt_id"])) for row in chosen), n


def _parents(connection: Connection, run_id: str, prompts: Sequence[str]) -> dict[str, str]:
    """The first parent of each prompt by the proposal that made it, not by one that sampled it again."""
    found: dict[str, str] = {}
    for chunk in chunks(sorted(set(prompts))):
        rows = connection.execute(
            select(Proposal.prompt_id, Lineage.parent_prompt_id)
            .join(
                Lineage,
                (Lineage.run_id == Proposal.run_id)
                & (Lineage.proposal_index == Proposal.proposal_index)
                & (Lineage.position == 0),
            )
            .where(
                Proposal.run_id == run_id,
                Proposal.operator != RESAMPLE,
                Proposal.prompt_id.in_(chunk),
            )
            .order_by(Proposal.proposal_index.desc())
        )
        found |= {prompt: parent for prompt, parent in rows if prompt is not None}
    return found


def _vectors(connection: Connection, points: Sequence[Point]) -> NDArray[np.float32] | None:
    wanted = list({p.prompt_id for p in points})
    found: dict[str, NDArray[np.float32]] = {}
    for chunk in chunks(wanted):
        rows = connection.execute(
            select(Embedding.prompt_id, Embedding.vector)
            .where(Embedding.prompt_id.in_(chunk))
            .order_by(Embedding.embedder.desc())
        )
        found |= {r.prompt_id: np.frombuffer(r.vector, dtype="<f4") for r in rows}
    dims = {len(v) for v in found.values()}
    if len(dims) != 1:  # none, or of several models, which have no common space
        return None
    (dim,) = dims
    nothing = np.zeros(dim, dtype=np.float32)
    return np.stack([found.get(p.prompt_id, nothing) for p in points])


def _over_tokens(
    connection: Connection, run_id: str, threshold: float
) -> tuple[tuple[int, int], ...]:
    rows = connection.execute(
        select(
            Evaluation.prompt_id,
            Evaluation.target_tokens,
            Evaluation.refusal_rate,
            Evaluation.strategy,
            Evaluation.safety,
        )
        .join(
            Proposal,
            (Proposal.run_id == Evaluation.run_id)
            & (Proposal.proposal_index == Evaluation.proposal_index),
        )
        .where(Evaluation.run_id == run_id)
        .order_by(Proposal.completed_order)
    )
    tokens, found, curve = 0, set[str](), [(0, 0)]
    for prompt, spent, rate, strategy, safety in rows:
        tokens += spent
        if rate >= threshold and strategy != Strategy.SEED.value and safety == "harmless":
            found.add(prompt)
        curve.append((tokens, len(found)))
    step = max(1, len(curve) // _STEPS)
    return tuple(curve[::step] + ([curve[-1]] if (len(curve) - 1) % step else []))


def _over_time(connection: Connection, run_id: str) -> dict[str, tuple[int, ...]]:
    part = func.ntile(_BINS).over(order_by=Proposal.proposal_index).label("part")
    parts = (
        select(Proposal.strategy, part)
        .where(
            Proposal.run_id == run_id,
            Proposal.operator != RESAMPLE,
            Proposal.strategy != Strategy.SEED.value,
        )
        .subquery()
    )
    rows = connection.execute(
        select(parts.c.strategy, parts.c.part, func.count()).group_by(
            parts.c.strategy, parts.c.part
        )
    )
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * _BINS)
    for strategy, place, n in rows:
        counts[strategy][place - 1] += n
    return {name: tuple(each) for name, each in sorted(counts.items())}


def _by_target(connection: Connection, run_id: str) -> dict[tuple[str, str], tuple[int, float]]:
    rows = connection.execute(
        select(
            Evaluation.strategy,
            Evaluation.target_id,
            func.count().label("n"),
            func.avg(Evaluation.refusal_rate).label("rate"),
        )
        .where(_newest(run_id))
        .group_by(Evaluation.strategy, Evaluation.target_id)
    )
    return {(r.strategy, r.target_id): (r.n, float(r.rate)) for r in rows}


def _targets(connection: Connection, run_id: str) -> dict[str, str]:
    rows = connection.execute(
        select(Target.target_id, Target.model, Target.adapter, Target.system_prompt, Target.surface)
        .where(
            Target.target_id.in_(select(Evaluation.target_id).where(Evaluation.run_id == run_id))
        )
        .order_by(Target.target_id)
    )
    told = {}
    for row in rows:
        words = [row.model, *([f"+ {row.adapter}"] if row.adapter else [])]
        words += ["with a system prompt"] if row.system_prompt else []
        words += [row.surface] if row.surface != "chat" else []
        told[row.target_id] = ", ".join(words)
    return told


def _cliffs(connection: Connection, run_id: str) -> tuple[Mapping[str, Any], ...]:
    """Those that fall and those that rise most."""
    mine = select(Evaluation.prompt_id).where(Evaluation.run_id == run_id)
    rows: list[Any] = []
    for order in (Cliff.cliff.desc(), Cliff.cliff.asc()):
        rows += connection.execute(
            select(Cliff.__table__, Prompt.text.label("prompt"), Sample.reasoning, Sample.text)
            .join(Prompt, Prompt.prompt_id == Cliff.prompt_id)
            .join(
                Sample,
                (Sample.target_id == Cliff.target_id)
                & (Sample.prompt_id == Cliff.prompt_id)
                & (Sample.sample_index == Cliff.sample_index),
            )
            .where(Cliff.prompt_id.in_(mine), Cliff.scores.is_not(None))
            .order_by(order, Cliff.prompt_id)
            .limit(3)
        ).all()
    told, known = [], set()
    for row in rows:
        key = (row.target_id, row.prompt_id, row.sample_index)
        if key in known:
            continue
        known.add(key)
        told.append(
            {
                "prompt": row.prompt,
                "reasoning": row.reasoning,
                "response": row.text,
                "kind": row.kind,
                "plateau_top": row.plateau_top or row.plateau,
                "final": row.final,
                "position": row.position,
                "n_tokens": row.n_tokens,
                "scores": traces.curve(row.scores) or [],
            }
        )
    return tuple(told)
