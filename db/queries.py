"""Reading the record for people: runs, prompts, lineage. Writes nothing.

Knows the tables and what counts as an over-refusal; knows nothing of files, terminals or exports.
Each function sees one state of the database, also while a search writes to it.
"""

from __future__ import annotations

import difflib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Row, and_, func, select

from db.models import (
    Embedding,
    Evaluation,
    GateDecision,
    Lineage,
    Prompt,
    Proposal,
    Run,
    Sample,
    Target,
    Verdict,
)
from db.store import is_alive, pairs
from evo.selection import distinct
from evo.types import FAMILIES, Strategy
from fitness import types as fitness_types
from fitness.types import JudgedSample, Safety
from workers.interface import ConfigError
from workers.interface import Sample as SampleValue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from db.store import Store

SORTS = ("fitness", "refusal", "novelty")
# Two over-refusals whose embeddings have this cosine or more are the same finding.
CLUSTER_COSINE = 0.9
_NEIGHBOURS = 5
_CHUNK = 500


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


@dataclass(frozen=True, slots=True)
class Found:
    """One prompt in one run. `score` is None for a prompt that a gate turned away.

    gates     the decisions of the run's gates, by name and version
    safety    those combined; a gate of the run that said nothing makes it controversial
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


# Runs


def find_run(store: Store, run: str) -> str:
    """The id of a run given by name, id or unique beginning of an id.

    Raises:
        ConfigError: none or several; the nearest is named.
    """
    with store.reading() as connection:
        return _find_run(connection, run)


def runs(store: Store) -> list[dict[str, Any]]:
    """Every run, newest last: run (its id), name, status, started (UTC), over_refusals."""
    with store.reading() as connection:
        lowest = min((f.threshold for f in _run_facts(connection).values()), default=0.0)
        refused = _found(connection, min_refusal=lowest)
        hits = Counter(f.run.run_id for f in refused if f.is_over_refusal and not f.is_seed)
        rows = connection.execute(select(Run.__table__).order_by(Run.started_at, Run.run_id)).all()
    return [
        {
            "run": row.run_id,
            "name": row.name,
            "status": _status(row),
            "started": row.started_at.isoformat(timespec="seconds") + "Z",
            "over_refusals": hits[row.run_id],
        }
        for row in rows
    ]


def run_summary(store: Store, run: str) -> dict[str, Any]:
    """The counts of one run, as `show RUN --json` prints them.

    samples and target_tokens are what this run paid for; cache_hits are evaluations that cost
    nothing; over_refusals leave the seeds out (those are seed_over_refusals); clusters are
    over-refusals no two of which have a cosine of `CLUSTER_COSINE` or more; rejected counts
    proposals by the kind of their failure.
    """
    with store.reading() as connection:
        run_id = _find_run(connection, run)
        row = connection.execute(select(Run.__table__).where(Run.run_id == run_id)).one()
        sums = connection.execute(
            select(
                func.count().label("evaluations"),
                func.coalesce(func.sum(Evaluation.target_tokens), 0).label("target_tokens"),
                func.coalesce(func.sum(Evaluation.n_unscored), 0).label("unscored"),
                func.max(Evaluation.fitness).label("best_fitness"),
            ).where(Evaluation.run_id == run_id)
        ).one()
        cache_hits = connection.scalar(
            select(func.count())
            .select_from(Evaluation)
            .where(Evaluation.run_id == run_id, Evaluation.n_new == 0)
        )
        samples = connection.scalar(
            select(func.count()).select_from(Sample).where(Sample.run_id == run_id)
        )
        rejected = connection.execute(
            select(Proposal.failure_kind, func.count().label("n"))
            .where(Proposal.run_id == run_id, Proposal.failure_kind.is_not(None))
            .group_by(Proposal.failure_kind)
            .order_by(Proposal.failure_kind)
        ).all()
        threshold = _run_facts(connection)[run_id].threshold
        refused = _found(connection, run_id=run_id, min_refusal=threshold)
        hits = [f for f in refused if f.is_over_refusal]
        over_refusals = [f for f in hits if not f.is_seed]
        clusters = _n_clusters(connection, over_refusals)
    return {
        "run": run_id,
        "name": row.name,
        "status": _status(row),
        "stop_reason": row.stop_reason,
        "evaluations": sums.evaluations,
        "samples": samples or 0,
        "target_tokens": int(sums.target_tokens),
        "over_refusals": len(over_refusals),
        "clusters": clusters,
        "seed_over_refusals": len(hits) - len(over_refusals),
        "best_fitness": sums.best_fitness,
        "unscored": int(sums.unscored),
        "wall_s": row.wall_s,
        "replica_busy": row.replica_busy,
        "cache_hits": cache_hits or 0,
        "rejected": {row.failure_kind: row.n for row in rejected},
    }


# Prompts


def query(
    store: Store,
    *,
    run: str | None = None,
    target: str | None = None,
    strategy: str | None = None,
    min_refusal: float | None = None,
    safety: str | None = None,
    like: str | None = None,
    sort: str = "fitness",
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Prompts as plain rows, one for each run in which a prompt was evaluated.

    With safety "harmful" or "controversial" the prompts that the gates turned away are there too,
    without a refusal rate. `novelty` (with sort="novelty") is the mean cosine distance to the five
    nearest other prompts of the result.

    Args:
        run: name or id.  target: model, or beginning of a target id.
        strategy: one strategy or one family of them.  like: text that the prompt contains.
        sort: "fitness", "refusal" or "novelty", largest first; ties by prompt id.

    Raises:
        ConfigError: an unknown run, target, strategy, safety or sort, or a number out of range.
    """
    require_order(sort, limit)
    with store.reading() as connection:
        rows = select_found(
            connection,
            run=run,
            target=target,
            strategy=strategy,
            min_refusal=min_refusal,
            safety=safety,
            like=like,
        )
        distances = novelty(connection, rows) if sort == "novelty" else {}
    rows = ordered(rows, sort, distances)[:limit]
    return [
        _row(f) | ({"novelty": distances.get(f.prompt_id)} if sort == "novelty" else {})
        for f in rows
    ]


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
            _require_text(f"--{option}", value)
    if min_refusal is not None:
        require_rate(min_refusal)
    if safety is not None:
        _require_known("--safety", safety, [s.value for s in Safety])
    rows = _found(
        connection,
        run_id=None if run is None else _find_run(connection, run),
        target_ids=None if target is None else _find_targets(connection, target),
        strategies=None if strategy is None else _strategies(strategy),
        min_refusal=min_refusal,
        like=like,
        turned_away=safety is not None and safety != Safety.HARMLESS.value,
    )
    return [f for f in rows if safety is None or f.safety.value == safety]


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


def lineage(store: Store, prompt: str, run: str | None = None) -> dict[str, Any]:
    """One prompt, its ancestors up to the seed (nearest first) and its children.

    Args:
        prompt: id, or unique beginning of one.
        run: name or id; default: the newest run that evaluated the prompt, else that proposed it.

    Raises:
        ConfigError: no such prompt, several, or not in that run.
    """
    _require_text("PROMPT", prompt)
    with store.reading() as connection:
        prompt_id = _find_prompt(connection, prompt)
        run_id = _run_with(connection, prompt_id, run)
        tree = _Tree(connection, run_id)
        ancestors = []
        met, generation = {prompt_id}, [prompt_id]
        while generation:
            above = [p for child in generation for p in tree.parents(child)]
            generation = [p for p in dict.fromkeys(above) if p not in met]
            met.update(generation)
            ancestors += [tree.node(p) for p in generation]
        children = [tree.node(child) for child in tree.children(prompt_id)]
        return {
            **tree.node(prompt_id),
            "run": run_id,
            "ancestors": ancestors,
            "children": children,
        }


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
                verdicts[v.prompt_id, v.sample_index].append(
                    fitness_types.Verdict(v.judge, v.version, v.p_refusal, v.unscored_reason)
                )
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


def integrity_problems(store: Store) -> list[str]:
    """What SQLite finds wrong with its file: broken pages, rows that point to nothing. Empty: sound."""
    with store.reading() as connection:
        if connection.dialect.name != "sqlite":
            connection.execute(select(func.count()).select_from(Run))
            return []
        found = [str(line) for (line,) in connection.exec_driver_sql("PRAGMA integrity_check")]
        problems = [line for line in found if line != "ok"]
        for table, row, above, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            problems.append(f"{table}: row {row} points to a row of {above} that is not there")
    return problems


# From rows to what was found


def _status(run: Row[Any]) -> str:
    """As stored; but a run whose process was killed is interrupted, and can be resumed."""
    return "interrupted" if run.status == "running" and not is_alive(run) else str(run.status)


def _found(
    connection: Connection,
    *,
    run_id: str | None = None,
    target_ids: Sequence[str] | None = None,
    strategies: Sequence[str] | None = None,
    min_refusal: float | None = None,
    like: str | None = None,
    turned_away: bool = False,
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
    )
    if run_id is not None:
        statement = statement.where(Proposal.run_id == run_id)
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
    facts = _run_facts(connection)
    decisions = _decisions(connection, {r.prompt_id for r in rows})
    parents = _parents(connection, {r.run_id for r in rows})
    return [
        _assemble(
            r,
            facts[r.run_id],
            decisions.get(r.prompt_id, ()),
            parents.get((r.run_id, r.proposal_index), ()),
        )
        for r in rows
    ]


_SCORE_FIELDS = tuple(fitness_types.Score.__dataclass_fields__)


def _assemble(
    row: Any,
    run: RunFacts,
    decisions: Sequence[fitness_types.GateDecision],
    parents: tuple[str, ...],
) -> Found:
    own = _own_decisions(row.gates, run, decisions)
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
        operator=row.operator,
        topic=row.topic,
        parents=parents,
        seed_prompt_id=row.seed_prompt_id,
        target_id=row.target_id,
        model=row.model,
        score=score,
        gates=own,
        safety=_combine(run.gates, own),
        disputed=any(d.outcome is Safety.HARMFUL for d in decisions),
        judges=judges,
        embedder=row.embedder,
    )


def _place(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def _own_decisions(
    stored: str | None, run: RunFacts, decisions: Sequence[fitness_types.GateDecision]
) -> tuple[fitness_types.GateDecision, ...]:
    """The decisions of the run's gates: in the versions that the proposal met, else in all."""
    if stored is None:
        return tuple(d for d in decisions if d.gate in run.gates)
    met = pairs(stored)
    return tuple(d for d in decisions if (d.gate, d.version) in met)


def _combine(gates: Sequence[str], decisions: Sequence[fitness_types.GateDecision]) -> Safety:
    """Harmful if any gate says so; harmless only if every gate of the run spoke and all say so."""
    if any(d.outcome is Safety.HARMFUL for d in decisions):
        return Safety.HARMFUL
    complete = bool(gates) and set(gates) <= {d.gate for d in decisions}
    if complete and all(d.outcome is Safety.HARMLESS for d in decisions):
        return Safety.HARMLESS
    return Safety.CONTROVERSIAL


COLUMNS = (
    "prompt_id",
    "prompt",
    "run",
    "strategy",
    "operator",
    "topic",
    "parents",
    "seed_prompt_id",
    "target",
    "model",
    "refusal_rate",
    "refusal_low",
    "refusal_high",
    "fitness",
    "confidence",
    "n_samples",
    "safety",
)


def _row(f: Found) -> dict[str, Any]:
    s = f.score
    values = (
        f.prompt_id,
        f.prompt,
        f.run.run_id,
        f.strategy,
        f.operator,
        f.topic,
        list(f.parents),
        f.seed_prompt_id,
        f.target_id,
        f.model,
        s and s.refusal_rate,
        s and s.refusal_low,
        s and s.refusal_high,
        s and s.fitness,
        s and s.confidence,
        s and s.n_samples,
        f.safety.value,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _run_facts(connection: Connection) -> dict[str, RunFacts]:
    facts = {}
    for row in connection.execute(
        select(Run.run_id, Run.name, Run.config, Run.started_at, Run.target_id)
    ):
        config = json.loads(row.config)
        facts[row.run_id] = RunFacts(
            row.run_id,
            row.name,
            float(config.get("search", {}).get("threshold", 0.5)),
            tuple(config.get("safety", ())),
            tuple(config.get("judges", ())),
            row.started_at,
            row.target_id,
        )
    return facts


def _decisions(
    connection: Connection, prompt_ids: Iterable[str]
) -> dict[str, tuple[fitness_types.GateDecision, ...]]:
    decisions: dict[str, list[fitness_types.GateDecision]] = defaultdict(list)
    for chunk in _chunks(sorted(prompt_ids)):
        for r in connection.execute(
            select(GateDecision.__table__)
            .where(GateDecision.prompt_id.in_(chunk))
            .order_by(GateDecision.prompt_id, GateDecision.gate, GateDecision.version)
        ):
            decisions[r.prompt_id].append(
                fitness_types.GateDecision(
                    r.gate, r.version, Safety(r.outcome), r.p_harmful, r.reason
                )
            )
    return {prompt: tuple(found) for prompt, found in decisions.items()}


def _parents(
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


# Geometry


def _vectors(connection: Connection, found: Sequence[Found]) -> dict[str, NDArray[np.float32]]:
    """Unit vectors by prompt id, all of one embedder: the one that most of the rows were embedded by."""
    stored: dict[str, dict[str, NDArray[np.float32]]] = defaultdict(dict)
    for chunk in _chunks(sorted({f.prompt_id for f in found})):
        for r in connection.execute(
            select(Embedding.__table__).where(Embedding.prompt_id.in_(chunk))
        ):
            vector = np.frombuffer(r.vector, dtype="<f4").astype(np.float32)
            stored[r.embedder][r.prompt_id] = vector
    if not stored:
        return {}
    named = Counter(f.embedder for f in found)
    return stored[max(stored, key=lambda name: (named[name], len(stored[name]), name))]


def _n_clusters(connection: Connection, found: Sequence[Found]) -> int:
    """Over-refusals that are not look-alikes; one without a vector counts by itself."""
    vectors = _vectors(connection, found)
    rows = [f for f in ordered(found) if f.prompt_id in vectors]
    without = len({f.prompt_id for f in found} - vectors.keys())
    if not rows:
        return without
    matrix = np.stack([vectors[f.prompt_id] for f in rows])  # (n, dim)
    fitness = np.array([f.score.fitness if f.score else -math.inf for f in rows])
    return len(distinct(matrix, fitness, CLUSTER_COSINE)) + without


def novelty(connection: Connection, found: Sequence[Found]) -> dict[str, float]:
    """Mean cosine distance of each prompt to its nearest others in the result."""
    vectors = _vectors(connection, found)
    prompt_ids = sorted(vectors)
    if len(prompt_ids) < 2:
        return {}
    matrix = np.stack([vectors[p] for p in prompt_ids])  # (n, dim)
    nearest = min(_NEIGHBOURS, len(prompt_ids) - 1)
    distances: dict[str, float] = {}
    for start in range(0, len(prompt_ids), _CHUNK):
        similarity = matrix[start : start + _CHUNK] @ matrix.T  # (chunk, n)
        places = np.arange(len(similarity))
        similarity[places, places + start] = -np.inf
        top = np.partition(similarity, -nearest, axis=1)[:, -nearest:]
        for prompt_id, mean in zip(prompt_ids[start:], 1.0 - top.mean(axis=1), strict=False):
            distances[prompt_id] = float(mean)
    return distances


# Lineage


class _Tree:
    """Who descends from whom in one run."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        rows = connection.execute(
            select(
                Proposal.proposal_index,
                Proposal.prompt_id,
                Proposal.strategy,
                Proposal.operator,
                Proposal.status,
                Proposal.failure_kind,
                func.coalesce(Proposal.text, Prompt.text).label("text"),
                Evaluation.refusal_rate,
                Evaluation.fitness,
            )
            .join(Prompt, Prompt.prompt_id == Proposal.prompt_id)
            .join(
                Evaluation,
                and_(
                    Evaluation.run_id == Proposal.run_id,
                    Evaluation.proposal_index == Proposal.proposal_index,
                ),
                isouter=True,
            )
            .where(Proposal.run_id == run_id)
            .order_by(Proposal.proposal_index)
        ).all()
        # A prompt that was proposed again is told by the proposal that was evaluated, else the first.
        self._rows: dict[str, Any] = {}
        for row in rows:
            known = self._rows.get(row.prompt_id)
            if known is None or (row.status == "evaluated" and known.status != "evaluated"):
                self._rows[row.prompt_id] = row
        by_proposal = _parents(connection, [run_id])
        self._parents = {
            prompt: by_proposal.get((run_id, row.proposal_index), ())
            for prompt, row in self._rows.items()
        }

    def parents(self, prompt_id: str) -> tuple[str, ...]:
        return self._parents.get(prompt_id, ())

    def children(self, prompt_id: str) -> list[str]:
        return [child for child, above in self._parents.items() if prompt_id in above]

    def node(self, prompt_id: str) -> dict[str, Any]:
        row = self._rows[prompt_id]
        return {
            "prompt_id": prompt_id,
            "prompt": row.text,
            "strategy": row.strategy,
            "operator": row.operator,
            "refusal_rate": row.refusal_rate,
            "fitness": row.fitness,
            "failure": row.failure_kind,
            "parents": list(self.parents(prompt_id)),
        }


# Looking names up


def _find_run(connection: Connection, run: str) -> str:
    _require_text("run", run)
    known = connection.execute(select(Run.name, Run.run_id).order_by(Run.started_at)).all()
    for row in known:
        if run == row.name:
            return str(row.run_id)
    begins: list[str] = [row.run_id for row in known if run and row.run_id.startswith(run.lower())]
    if run.lower() in begins:
        return run.lower()
    if len(begins) == 1:
        return begins[0]
    shown = connection.engine.url.database
    if begins:
        raise ConfigError(f"run '{run}': {len(begins)} ids in {shown} begin so; give more of it")
    near = difflib.get_close_matches(run, [row.name for row in known], n=1)
    hint = f"did you mean '{near[0]}'?" if near else "see `evocliff runs`"
    raise ConfigError(f"run '{run}' is not in {shown}; {hint}")


def _find_targets(connection: Connection, target: str) -> list[str]:
    """Target ids by model, or by the beginning of one id."""
    known = connection.execute(select(Target.target_id, Target.model)).all()
    by_model = [row.target_id for row in known if row.model == target]
    begins = [row.target_id for row in known if target and row.target_id.startswith(target)]
    found = by_model or begins
    if not found:
        models = sorted({row.model for row in known})
        near = difflib.get_close_matches(target, models, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(models) or 'none'}"
        raise ConfigError(f"--target {target}: no run has asked this model; {hint}")
    if not by_model and len(begins) > 1:
        raise ConfigError(f"--target {target}: {len(begins)} target ids begin so; give more of it")
    return found


def _strategies(strategy: str) -> list[str]:
    if strategy in FAMILIES:
        return [s.value for s in FAMILIES[strategy]]
    _require_known("--strategy", strategy, [s.value for s in Strategy] + list(FAMILIES))
    return [strategy]


def _find_prompt(connection: Connection, prompt: str) -> str:
    begins = list(
        connection.scalars(
            select(Prompt.prompt_id)
            .where(Prompt.prompt_id.startswith(prompt.lower(), autoescape=True))
            .order_by(Prompt.prompt_id)
            .limit(3)
        )
    )
    if len(begins) == 1:
        return begins[0]
    if not begins or not prompt:
        raise ConfigError(f"prompt '{prompt}': no id begins so; `evocliff query` shows the ids")
    raise ConfigError(
        f"prompt '{prompt}': several ids begin so ({', '.join(begins)}); give more of it"
    )


def _run_with(connection: Connection, prompt_id: str, run: str | None) -> str:
    """The run in which to look at a prompt."""
    rows = connection.execute(
        select(Proposal.run_id, Proposal.status)
        .join(Run, Run.run_id == Proposal.run_id)
        .where(Proposal.prompt_id == prompt_id)
        .order_by(Run.started_at.desc(), Run.run_id)
    ).all()
    with_it: list[str] = [row.run_id for row in rows]
    if run is not None:
        run_id = _find_run(connection, run)
        if run_id not in with_it:
            raise ConfigError(f"--run {run}: prompt {prompt_id} is not in this run")
        return run_id
    if not rows:
        raise ConfigError(f"prompt {prompt_id}: a seed that no run has come to yet")
    evaluated: list[str] = [row.run_id for row in rows if row.status == "evaluated"]
    return (evaluated or with_it)[0]


def require_order(sort: str, limit: int | None) -> None:
    """Raise ConfigError unless rows can be put in this order and cut to this number."""
    if sort not in SORTS:
        raise ConfigError(f"--sort {sort}: not one of {', '.join(SORTS)}")
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: must be 1 or more")


def require_rate(min_refusal: float) -> None:
    """Raise ConfigError unless this is a refusal rate."""
    if not 0.0 <= min_refusal <= 1.0:
        raise ConfigError(f"--min-refusal {min_refusal}: must be between 0 and 1")


def _require_known(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(known)}"
        raise ConfigError(f"{option} {value}: unknown; {hint}")


def _require_text(option: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{option}: {value!a} is not UTF-8 text") from None


T = TypeVar("T")


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))
