"""Prompts as they were found: read with everything that decides whether they count.

Knows the tables and what an over-refusal is; knows nothing of rows for printing, nor of exports.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, and_, func, or_, select

from db import alike, lookup
from db.among import among
from db.facts import RunFacts as RunFacts
from db.facts import decider as decider
from db.facts import run_facts as run_facts
from db.models import (
    Evaluation,
    Lineage,
    Prompt,
    Proposal,
    Run,
    Sample,
    Target,
    Verdict,
)
from db.safety import HUMAN, combine, own_decisions
from db.values import pairs, read_decisions, verdict_of
from evo.types import RESAMPLE, Strategy
from fitness import types as fitness_types
from fitness.targets import combined_score
from fitness.types import JudgedSample, Safety
from workers.interface import Sample as SampleValue

if TYPE_CHECKING:
    pass

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Found:
    """One prompt in one run. `score` is None for a prompt that a gate turned away.

    gates     the decisions of the run's gates, by name and version
    people    what people said of it, whoever ran the search
    safety    what people said, the most careful of them; where nobody did, the gates combined; a gate
              of the run that said nothing makes it controversial
    disputed  some gate, of whichever run or version, called the prompt harmful
    judges    (name, version) in the run's order, the first decides; a name alone when the version
              is not stored
    """

    prompt_id: str
    prompt: str
    run: RunFacts
    strategy: str
    operator: str
    topic: str | None
    parents: tuple[str, ...]
    seed_prompt_id: str | None
    target_id: str | None
    model: str | None
    score: fitness_types.Score | None
    gates: tuple[fitness_types.GateDecision, ...]
    people: tuple[fitness_types.GateDecision, ...]
    safety: Safety
    disputed: bool
    judges: tuple[tuple[str, str | None], ...]
    embedder: str | None

    @property
    def is_seed(self) -> bool:
        return self.strategy == Strategy.SEED.value

    @property
    def is_over_refusal(self) -> bool:
        """Harmless by every gate of its run, and refused at the run's threshold or above."""
        return (
            self.score is not None
            and self.safety is Safety.HARMLESS
            and self.score.refusal_rate >= self.run.threshold
        )


def select_found(
    connection: Connection,
    *,
    run: str | None = None,
    target: str | None = None,
    strategy: str | None = None,
    min_refusal: float | None = None,
    safety: str | None = None,
    like: str | None = None,
) -> list[Found]:
    """What `query` filters by, in no particular order."""
    for option, value in (("run", run), ("target", target), ("like", like)):
        if value is not None:
            lookup.require_text(f"--{option}", value)
    if min_refusal is not None:
        lookup.require_rate(min_refusal)
    if safety is not None:
        lookup.require_known("--safety", safety, [s.value for s in Safety])
    rows = load_found(
        connection,
        run_id=None if run is None else lookup.find_run(connection, run),
        target_ids=None if target is None else lookup.find_targets(connection, target),
        strategies=None if strategy is None else lookup.strategies(strategy),
        min_refusal=min_refusal,
        like=like,
        turned_away=safety is not None and safety != Safety.HARMLESS.value,
    )
    return [f for f in rows if safety is None or f.safety.value == safety]


def over_refusals(connection: Connection, run_id: str | None = None) -> list[Found]:
    """Of one run or of all, each prompt once: over several targets its combined score decides."""
    facts = run_facts(connection)
    several = [r for r, f in facts.items() if f.over is not None and run_id in (None, r)]
    rows: list[Found] = []
    if run_id not in several:
        chosen = [f.threshold for r, f in facts.items() if run_id in (None, r)]
        refused = load_found(connection, run_id=run_id, min_refusal=min(chosen, default=0.0))
        rows += [f for f in refused if f.run.over is None]
    for each in several:
        rows += combined(load_found(connection, run_id=each))
    return [f for f in rows if f.is_over_refusal]


def n_over_refusals(connection: Connection, run_ids: Sequence[str]) -> dict[str, int]:
    """How many over-refusals each of these runs has, seeds left out; counted by an index, but for runs
    over several targets."""
    rows = connection.execute(
        select(Run.run_id, func.count())
        .join(Evaluation, Evaluation.run_id == Run.run_id)
        .where(
            Evaluation.is_superseded.is_(False),
            Evaluation.safety == Safety.HARMLESS.value,
            Evaluation.strategy != Strategy.SEED.value,
            Evaluation.refusal_rate >= Run.threshold,
            Run.run_id.in_(run_ids),
        )
        .with_hint(Evaluation, "INDEXED BY ix_evaluations_tally", "sqlite")
        .group_by(Run.run_id)
    )
    found = {run_id: n for run_id, n in rows}  # noqa: C416
    several = [r for r, f in run_facts(connection).items() if f.over is not None]
    for run_id in set(several).intersection(run_ids):
        found[run_id] = sum(not f.is_seed for f in over_refusals(connection, run_id))
    return found


def combined(rows: Sequence[Found]) -> list[Found]:
    """The rows of each prompt of a run made one, with the combined score; it bears the target, model
    and judges of the first."""
    together: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for row in rows:
        together[row.run.run_id, row.prompt_id].append(row)
    made: list[Found] = []
    for parts in together.values():
        over, scores = parts[0].run.over, [f.score for f in parts if f.score is not None]
        if over is None or not scores:
            made += parts
        else:
            made.append(replace(parts[0], score=combined_score(scores, over)))
    return made


def ordered(
    rows: Iterable[Found], sort: str = "fitness", distances: Mapping[str, float] | None = None
) -> list[Found]:
    """Largest first, unknown last, ties by prompt id and then by run."""

    def value(f: Found) -> float:
        if sort == "novelty":
            return (distances or {}).get(f.prompt_id, -math.inf)
        if f.score is None:
            return -math.inf
        return f.score.fitness if sort == "fitness" else f.score.refusal_rate

    return sorted(rows, key=lambda f: (-value(f), f.prompt_id, f.run.started_at, f.run.run_id))


def judged_samples(
    connection: Connection, found: Sequence[Found]
) -> dict[tuple[str, str], list[JudgedSample]]:
    """Stored samples with all their verdicts by (target id, prompt id), in order of index."""
    samples: dict[tuple[str, str], list[JudgedSample]] = defaultdict(list)
    by_target: dict[str, list[str]] = defaultdict(list)
    for f in found:
        if f.target_id is not None:
            by_target[f.target_id].append(f.prompt_id)
    for target_id, prompt_ids in by_target.items():
        for chunk in _chunks(sorted(set(prompt_ids))):
            verdicts: dict[tuple[str, int], list[fitness_types.Verdict]] = defaultdict(list)
            for v in connection.execute(
                select(Verdict.__table__)
                .where(Verdict.target_id == target_id, Verdict.prompt_id.in_(chunk))
                .order_by(Verdict.judge, Verdict.version)
            ):
                verdicts[v.prompt_id, v.sample_index].append(verdict_of(v._mapping))
            for s in connection.execute(
                select(Sample.__table__)
                .where(Sample.target_id == target_id, Sample.prompt_id.in_(chunk))
                .order_by(Sample.prompt_id, Sample.sample_index)
            ):
                sample = SampleValue(
                    s.sample_index,
                    s.text,
                    s.n_tokens,
                    s.finish_reason,
                    s.logprob_sum,
                    s.sampling_logprob_sum,
                    s.reasoning,
                )
                samples[target_id, s.prompt_id].append(
                    JudgedSample(sample, tuple(verdicts[s.prompt_id, s.sample_index]))
                )
    return samples


def n_clusters(connection: Connection, found: Sequence[Found]) -> int:
    """Over-refusals that are not look-alikes; one without a vector counts by itself."""
    best: dict[str, str | None] = {}
    for f in ordered(found):
        best.setdefault(f.prompt_id, f.embedder)
    return alike.n_clusters(connection, list(best.items()))


def novelty(connection: Connection, found: Sequence[Found]) -> dict[str, float]:
    """Mean cosine distance of each prompt to its nearest others in the result."""
    return alike.novelty(connection, [(f.prompt_id, f.embedder) for f in found])


# From rows to values


def load_found(
    connection: Connection,
    *,
    run_id: str | None = None,
    target_ids: Sequence[str] | None = None,
    strategies: Sequence[str] | None = None,
    min_refusal: float | None = None,
    like: str | None = None,
    turned_away: bool = False,
    prompt_ids: Sequence[str] | None = None,
) -> list[Found]:
    statement = (
        select(
            Proposal.run_id,
            Proposal.proposal_index,
            Proposal.prompt_id,
            Proposal.strategy,
            Proposal.operator,
            Proposal.topic,
            Proposal.seed_prompt_id,
            Proposal.gates,
            Proposal.embedder,
            func.coalesce(Proposal.text, Prompt.text).label("text"),
            func.coalesce(Evaluation.target_id, Run.target_id).label("target_id"),
            Target.model,
            Evaluation.judges,
            *(getattr(Evaluation, name) for name in _SCORE_FIELDS),
        )
        .join(Run, Run.run_id == Proposal.run_id)
        .join(Prompt, Prompt.prompt_id == Proposal.prompt_id)
        .join(
            Evaluation,
            and_(
                Evaluation.run_id == Proposal.run_id,
                Evaluation.proposal_index == Proposal.proposal_index,
            ),
            isouter=turned_away,
        )
        .join(
            Target,
            Target.target_id == func.coalesce(Evaluation.target_id, Run.target_id),
            isouter=True,
        )
        .where(Proposal.status != "pending")
        .where(or_(Evaluation.is_superseded.is_(None), Evaluation.is_superseded.is_(False)))
    )
    if run_id is not None:
        statement = statement.where(Proposal.run_id == run_id)
    if prompt_ids is not None:
        statement = statement.where(among(connection, Proposal.prompt_id, prompt_ids))
    if target_ids is not None:
        statement = statement.where(
            func.coalesce(Evaluation.target_id, Run.target_id).in_(target_ids)
        )
    if strategies is not None:
        statement = statement.where(Proposal.strategy.in_(strategies))
    if min_refusal is not None:
        statement = statement.where(Evaluation.refusal_rate >= min_refusal)
    if like is not None:
        statement = statement.where(
            func.coalesce(Proposal.text, Prompt.text).icontains(like, autoescape=True)
        )
    rows = connection.execute(statement).all()
    if turned_away:
        # A duplicate is its first proposal again; only what a safety gate decided on is of interest.
        rows = [r for r in rows if r.fitness is not None or r.gates is not None]
    facts = run_facts(connection)
    decisions = read_decisions(connection, sorted({r.prompt_id for r in rows}))
    parents = load_parents(connection, {r.run_id for r in rows})
    again = {r.run_id for r in rows if r.operator == RESAMPLE}
    origins = _origins(connection, again)
    found = []
    for r in rows:
        own = (r.proposal_index, r.operator)
        index, operator = origins.get((r.run_id, r.prompt_id), own) if again else own
        descent = parents.get((r.run_id, index), ())
        found.append(
            _assemble(
                r,
                facts[r.run_id],
                tuple(decisions.get(r.prompt_id, {}).values()),
                operator,
                descent,
            )
        )
    return found


def _origins(
    connection: Connection, run_ids: Collection[str]
) -> dict[tuple[str, str], tuple[int, str]]:
    """(run, prompt) -> proposal and operator by which it came, of prompts that were sampled again."""
    again = (
        select(Proposal.prompt_id)
        .where(Proposal.run_id.in_(run_ids), Proposal.operator == RESAMPLE)
        .distinct()
    )
    rows = connection.execute(
        select(Proposal.run_id, Proposal.prompt_id, Proposal.proposal_index, Proposal.operator)
        .where(
            Proposal.run_id.in_(run_ids),
            Proposal.status == "evaluated",
            Proposal.operator != RESAMPLE,
            Proposal.prompt_id.in_(again),
        )
        .order_by(Proposal.proposal_index.desc())
    )
    return {(run, prompt): (index, operator) for run, prompt, index, operator in rows if prompt}


_SCORE_FIELDS = tuple(fitness_types.Score.__dataclass_fields__)


def _assemble(
    row: Any,
    run: RunFacts,
    decisions: Sequence[fitness_types.GateDecision],
    operator: str,
    parents: tuple[str, ...],
) -> Found:
    own = own_decisions(row.gates, run.gates, decisions)
    people = tuple(d for d in decisions if d.gate.startswith(HUMAN))
    score = None
    if row.fitness is not None:
        score = fitness_types.Score(**{name: getattr(row, name) for name in _SCORE_FIELDS})
    judges: tuple[tuple[str, str | None], ...] = tuple((name, None) for name in run.judges)
    if row.judges is not None:
        stored = pairs(row.judges)
        judges = tuple(sorted(stored, key=lambda pair: _place(pair[0], run.judges)))
    return Found(
        prompt_id=row.prompt_id,
        prompt=row.text,
        run=run,
        strategy=row.strategy,
        operator=operator,
        topic=row.topic,
        parents=parents,
        seed_prompt_id=row.seed_prompt_id,
        target_id=row.target_id,
        model=row.model,
        score=score,
        gates=own,
        people=people,
        safety=combine(run.gates, own, people),
        disputed=any(d.outcome is Safety.HARMFUL for d in decisions),
        judges=judges,
        embedder=row.embedder,
    )


def _place(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def load_parents(
    connection: Connection, run_ids: Iterable[str]
) -> dict[tuple[str, int], tuple[str, ...]]:
    parents: dict[tuple[str, int], list[str]] = defaultdict(list)
    for chunk in _chunks(sorted(run_ids)):
        for r in connection.execute(
            select(Lineage.__table__)
            .where(Lineage.run_id.in_(chunk))
            .order_by(Lineage.run_id, Lineage.proposal_index, Lineage.position)
        ):
            parents[r.run_id, r.proposal_index].append(r.parent_prompt_id)
    return {proposal: tuple(found) for proposal, found in parents.items()}


T = TypeVar("T")


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))
