"""Boundary pairs in the record: which prompts to take, what was asked for them, what came of it.

Knows the tables; knows nothing of how an edit is looked for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.orm import aliased

from db import found, lookup, safety, summaries
from db.found import Found
from db.holder import is_alive
from db.like import contains
from db.models import BoundaryPair, GateDecision, Prompt, Run, utc_now
from db.rows import insert_new
from db.samples import write_samples
from db.values import read_decisions
from evo.types import Assignment, Candidate, Outcome, Strategy
from fitness import types as fitness_types
from fitness.types import Evaluation, Safety, Unscored
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store


@dataclass(frozen=True, slots=True)
class Relative:
    """A prompt of a run and how many samples its evaluation there rests on."""

    prompt_id: str
    text: str
    n_samples: int


@dataclass(frozen=True, slots=True)
class OverRefusal:
    """A prompt to find the boundary of. `relatives` are its harmless parents and children that the
    target answers, by the run's own samples."""

    prompt_id: str
    text: str
    n_samples: int
    relatives: tuple[Relative, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of `boundary_pairs`; see there. `edit`: start, removed, inserted of each edit."""

    refused_prompt_id: str
    answered_prompt_id: str
    edit: tuple[Mapping[str, Any], ...]
    source: str
    n_words: int
    cosine: float
    refused_rate: float
    refused_n: int
    answered_rate: float
    answered_n: int
    clear: bool
    target_tokens: int


@dataclass(frozen=True, slots=True)
class Probed:
    """One text that the target was asked, with what came back."""

    prompt_id: str
    text: str
    result: Evaluation | Unscored


def chosen(store: Store, run: str, limit: int | None = None) -> list[OverRefusal]:
    """The over-refusals of a run, seeds too, best first.

    Raises:
        ConfigError: no such run, it has asked no target, or a living process works on it.
    """
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
        row = connection.execute(select(Run.__table__).where(Run.run_id == run_id)).one()
        if row.status == "running" and is_alive(row):
            raise ConfigError(
                f"run {run}: process {row.pid} on {row.host} is working on this run; "
                "wait for its end or stop it first"
            )
        if row.target_id is None:
            raise ConfigError(f"run {run}: it has asked no target yet; resume it first")
        rows = found.load_found(connection, run_id=run_id)
    known = {f.prompt_id: f for f in rows}
    children: dict[str, list[str]] = defaultdict(list)
    for f in rows:
        for parent in f.parents:
            children[parent].append(f.prompt_id)
    picked = [f for f in found.ordered(rows) if f.is_over_refusal][:limit]
    return [_over_refusal(f, known, children[f.prompt_id]) for f in picked]


def _over_refusal(f: Found, known: Mapping[str, Found], children: Sequence[str]) -> OverRefusal:
    near = dict.fromkeys([*f.parents, *sorted(children)])
    relatives = [
        Relative(r.prompt_id, r.prompt, r.score.n_samples)
        for r in (known[i] for i in near if i in known)
        if r.score is not None
        and r.safety is Safety.HARMLESS
        and r.score.refusal_rate < r.run.threshold
    ]
    n_samples = f.score.n_samples if f.score is not None else 0
    return OverRefusal(f.prompt_id, f.prompt, n_samples, tuple(relatives))


def target_of(store: Store, run: str) -> tuple[str, str]:
    """The ids of a run and of its target."""
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
        target_id = connection.scalar(select(Run.target_id).where(Run.run_id == run_id))
        return run_id, str(target_id)


def decided(
    store: Store, prompt_ids: Sequence[str]
) -> dict[str, dict[tuple[str, str], fitness_types.GateDecision]]:
    """Prompt id -> (gate, version) -> what it said."""
    with store.reading() as connection:
        return read_decisions(connection, prompt_ids)


def put_decided(
    store: Store,
    texts: Mapping[str, str],
    decisions: Mapping[str, Sequence[fitness_types.GateDecision]],
) -> None:
    """Store texts, by prompt id, with what the gates said of them."""
    now = utc_now()
    rows = [
        {
            "prompt_id": prompt,
            "gate": d.gate,
            "version": d.version,
            "outcome": d.outcome.value,
            "p_harmful": d.p_harmful,
            "reason": d.reason,
        }
        for prompt, said in decisions.items()
        for d in said
    ]
    with store.writing() as connection:
        insert_new(
            connection,
            Prompt,
            [{"prompt_id": p, "text": text, "created_at": now} for p, text in texts.items()],
        )
        insert_new(connection, GateDecision, rows)
        safety.refresh(connection, list(decisions))
        summaries.drop_of_prompts(connection, list(decisions))


def put_probed(store: Store, run_id: str, target_id: str, probed: Sequence[Probed]) -> None:
    """Store the samples and verdicts of probes; `run_id` is the run that paid."""
    outcomes = [
        Outcome(
            Assignment(0, "boundary", Strategy.SEED, (), 0),
            Candidate(p.prompt_id, p.text, "boundary", Strategy.SEED, (), None, p.prompt_id),
            evaluation=p.result if isinstance(p.result, Evaluation) else None,
            failure=p.result if isinstance(p.result, Unscored) else None,
        )
        for p in probed
    ]
    with store.writing() as connection:
        write_samples(connection, run_id, target_id, outcomes)
        summaries.drop(connection, [run_id])


def put_pairs(store: Store, run_id: str, target_id: str, pairs: Sequence[Pair]) -> None:
    """Store pairs, one for each refused prompt of a target: one that stands there already stays,
    unless the new one is better (clear, then fewer words, then the higher cosine)."""
    now = utc_now()
    rows = [
        {
            **asdict(p),
            "edit": json.dumps(p.edit),
            "run_id": run_id,
            "target_id": target_id,
            "created_at": now,
        }
        for p in pairs
    ]
    with store.writing() as connection:
        summaries.drop(connection, [run_id])
        for pair in pairs:
            same = (
                BoundaryPair.target_id == target_id,
                BoundaryPair.refused_prompt_id == pair.refused_prompt_id,
            )
            standing = connection.execute(select(BoundaryPair.__table__).where(*same)).all()
            if standing and _order(pair) < min(map(_order, standing)):
                connection.execute(delete(BoundaryPair).where(*same))
                standing = []
            if not standing:
                insert_new(
                    connection,
                    BoundaryPair,
                    [row for row in rows if row["refused_prompt_id"] == pair.refused_prompt_id],
                )


def _order(pair: Any) -> tuple[bool, int, float]:
    """Smaller is better; of a value or of a row."""
    return not pair.clear, pair.n_words, -pair.cosine


def count(connection: Connection, run_id: str) -> int:
    statement = select(func.count()).select_from(BoundaryPair).where(BoundaryPair.run_id == run_id)
    return connection.scalar(statement) or 0


COLUMNS = (
    "run",
    "target",
    "refused_prompt_id",
    "answered_prompt_id",
    "refused",
    "answered",
    "edit",
    "source",
    "n_words",
    "cosine",
    "refused_rate",
    "refused_n",
    "answered_rate",
    "answered_n",
    "clear",
    "target_tokens",
)


def query(
    store: Store,
    *,
    run: str | None = None,
    target: str | None = None,
    like: str | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Boundary pairs as plain rows (`COLUMNS`), fewest words first, then the higher cosine.

    Args:
        run: name or id.  target: model, or beginning of a target id.
        like: text that one of the sides contains.

    Raises:
        ConfigError: an unknown run or target, or a limit below 1.
    """
    lookup.require_order("fitness", limit)
    for option, value in (("--run", run), ("--target", target), ("--like", like)):
        if value is not None:
            lookup.require_text(option, value)
    refused, answered = aliased(Prompt), aliased(Prompt)
    statement = (
        select(
            BoundaryPair.__table__,
            refused.text.label("refused"),
            answered.text.label("answered"),
        )
        .join(refused, refused.prompt_id == BoundaryPair.refused_prompt_id)
        .join(answered, answered.prompt_id == BoundaryPair.answered_prompt_id)
        .order_by(
            BoundaryPair.n_words,
            BoundaryPair.cosine.desc(),
            BoundaryPair.refused_prompt_id,
            BoundaryPair.answered_prompt_id,
        )
        .limit(limit)
    )
    with store.reading() as connection:
        if run is not None:
            statement = statement.where(BoundaryPair.run_id == lookup.find_run(connection, run))
        if target is not None:
            targets = lookup.find_targets(connection, target)
            statement = statement.where(BoundaryPair.target_id.in_(targets))
        if like is not None:
            dialect = connection.dialect.name
            statement = statement.where(
                contains(dialect, refused.text, like) | contains(dialect, answered.text, like)
            )
        rows = connection.execute(statement).mappings().all()
    return [
        {
            column: json.loads(row["edit"])
            if column == "edit"
            else row[{"run": "run_id", "target": "target_id"}.get(column, column)]
            for column in COLUMNS
        }
        for row in rows
    ]
