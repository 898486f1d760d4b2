"""How a stored run went: what was screened, how many samples were drawn, which strategies found
something, how diverse the finds are, and how this target's refusals begin.

Reads; writes nothing. The same figures that the live view shows, from the record alone.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, func, or_, select

from db import found
from db.found import Found
from db.models import (
    Embedding,
    Evaluation,
    Opening,
    Proposal,
    Run,
    Sample,
    ScreenedBy,
    Verdict,
)
from db.rows import chunks
from evo.collapse import CollapseWatch
from evo.niches import Niches
from evo.types import RESAMPLE, Strategy
from fitness.openers import RECENT, OpenerCalibration, Openers, best_floor
from workers.interface import FailureKind
from workers.interface import Opening as OpeningValue

# Ended proposals from which the openers are learned again; a run of more is told by its latest.
_LATEST = 2_500


def of_run(connection: Connection, run_id: str, over_refusals: Sequence[Found]) -> dict[str, Any]:
    """The figures of one run, as `queries.run_summary` adds them to its own.

    screened              proposals that were not sampled, by who said so: predictor, opening
    blind                 proposals that went past the guesses unseen, of `looked_at`
    resampled             evaluations that completed the samples of a known prompt
    samples_per_evaluation  mean samples behind a score, superseded ones left out; None without any
    sample_counts         samples -> scores with so many
    strategies            operator, strategy, proposals and over_refusals, the most found first
    effective_clusters, collapses, collapsed   see `evo.collapse`; over the over-refusals in the order
                          in which they were found
    openers               tokens, floor (log-odds) and p_floor; None where nothing was learned
    """
    return {
        **_screened(connection, run_id),
        **_samples(connection, run_id),
        "strategies": _strategies(connection, run_id, over_refusals),
        **_diversity(connection, run_id),
        "openers": _openers(connection, run_id),
    }


def _screened(connection: Connection, run_id: str) -> dict[str, Any]:
    screened = Proposal.failure_kind == FailureKind.SCREENED
    by_opening = Proposal.screened_by == ScreenedBy.OPENING
    row = connection.execute(
        select(
            func.count().filter(screened, by_opening).label("opening"),
            func.count().filter(screened).label("all"),
            func.count().filter(Proposal.is_blind.is_(True)).label("blind"),
            func.count(Proposal.is_blind).label("looked_at"),
            func.count()
            .filter(Proposal.operator == RESAMPLE, Proposal.status == "evaluated")
            .label("resampled"),
        ).where(Proposal.run_id == run_id, Proposal.status != "pending")
    ).one()
    return {
        "screened": {"predictor": row.all - row.opening, "opening": row.opening},
        "blind": row.blind,
        "looked_at": row.looked_at,
        "resampled": row.resampled,
    }


def _samples(connection: Connection, run_id: str) -> dict[str, Any]:
    rows = connection.execute(
        select(Evaluation.n_samples, func.count().label("n"))
        .where(Evaluation.run_id == run_id, Evaluation.is_superseded.is_(False))
        .group_by(Evaluation.n_samples)
        .order_by(Evaluation.n_samples)
    ).all()
    scores = sum(row.n for row in rows)
    mean = sum(row.n_samples * row.n for row in rows) / scores if scores else None
    return {
        "samples_per_evaluation": mean,
        "sample_counts": {str(row.n_samples): row.n for row in rows},
    }


def _strategies(
    connection: Connection, run_id: str, over_refusals: Sequence[Found]
) -> list[dict[str, Any]]:
    """Of ended proposals; seeds and completed prompts are left out. `over_refusals`: of the run, by
    everything that decides on them now, people included."""
    rows = connection.execute(
        select(Proposal.operator, Proposal.strategy, func.count().label("proposals"))
        .where(
            Proposal.run_id == run_id,
            Proposal.status != "pending",
            Proposal.operator != RESAMPLE,
            Proposal.strategy != Strategy.SEED.value,
        )
        .group_by(Proposal.operator, Proposal.strategy)
    ).all()
    hits = Counter((f.operator, f.strategy) for f in over_refusals)
    arms = [
        {
            "operator": row.operator,
            "strategy": row.strategy,
            "proposals": row.proposals,
            "over_refusals": hits[row.operator, row.strategy],
        }
        for row in rows
    ]
    return sorted(
        arms,
        key=lambda a: (-a["over_refusals"], a["proposals"], a["operator"], a["strategy"]),
    )


def _diversity(connection: Connection, run_id: str) -> dict[str, Any]:
    """What the search itself saw: every over-refusal when it was found, in the order of completion."""
    facts = found.run_facts(connection)[run_id]
    rows = connection.execute(
        select(Proposal.proposal_index, Evaluation.refusal_rate, Embedding.vector)
        .join(
            Evaluation,
            and_(
                Evaluation.run_id == Proposal.run_id,
                Evaluation.proposal_index == Proposal.proposal_index,
            ),
        )
        .join(
            Embedding,
            and_(
                Embedding.prompt_id == Proposal.prompt_id,
                Embedding.embedder == Proposal.embedder,
            ),
        )
        .where(
            Proposal.run_id == run_id,
            Proposal.operator != RESAMPLE,
            Proposal.strategy != Strategy.SEED.value,
        )
        .order_by(Proposal.completed_order)
    )
    rates: dict[int, list[float]] = defaultdict(list)  # proposal -> rate on each of its targets
    vectors: dict[int, bytes] = {}
    for index, rate, vector in rows:
        rates[index].append(rate)
        vectors[index] = vector
    watch, niches = CollapseWatch(), Niches()
    for index, each in rates.items():
        if (facts.over.of(each) if facts.over else each[0]) >= facts.threshold:
            found_at = np.frombuffer(vectors[index], dtype="<f4").astype(np.float32)  # (dim,)
            watch.note(niches.enter(found_at)[0])
    return {
        "effective_clusters": watch.effective,
        "collapses": watch.collapses,
        "collapsed": watch.collapsed,
    }


def _openers(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """As the search would learn them from the latest of its proposals."""
    learned = learn_openers(connection, run_id)
    if learned is None:
        return None
    bounded = math.isfinite(learned.floor)
    return {
        "tokens": list(learned.tokens),
        "floor": learned.floor if bounded else None,
        "p_floor": learned.p_refusal(learned.floor) if bounded else None,
    }


def learn_openers(connection: Connection, run_id: str) -> Openers | None:
    """The openers of a run's target with their floor, from its latest proposals; None: none learned."""
    config = json.loads(connection.scalar(select(Run.config).where(Run.run_id == run_id)) or "{}")
    if not config.get("search", {}).get("screening", {}).get("opening"):
        return None
    seen = connection.execute(
        select(
            Proposal.prompt_id,
            Opening.tokens,
            Opening.n_prompt_tokens,
            Evaluation.n_samples,
        )
        .join(Run, Run.run_id == Proposal.run_id)
        .join(
            Opening,
            and_(Opening.prompt_id == Proposal.prompt_id, Opening.target_id == Run.target_id),
        )
        .join(
            Evaluation,
            and_(
                Evaluation.run_id == Proposal.run_id,
                Evaluation.proposal_index == Proposal.proposal_index,
            ),
            isouter=True,
        )
        .where(
            Proposal.run_id == run_id,
            Proposal.operator != RESAMPLE,
            or_(
                Proposal.status == "evaluated",
                Proposal.screened_by == ScreenedBy.OPENING,
            ),
        )
        .order_by(Proposal.completed_order.desc())
        .limit(_LATEST)
    ).all()[::-1]
    sampled = [row.prompt_id for row in seen if row.n_samples is not None]
    said = _said(connection, run_id, sampled)
    calibration = OpenerCalibration()
    openings, costs = [], []
    for row in seen:
        tokens, logprobs = zip(*json.loads(row.tokens), strict=True)
        opening = OpeningValue(tokens, logprobs, row.n_prompt_tokens)
        openings.append(opening)
        if row.n_samples is not None:
            samples = said[row.prompt_id][: row.n_samples]
            calibration.learn(opening, [(text, p) for text, p, _ in samples if p is not None])
            costs.append(sum(n_tokens for *_, n_tokens in samples))
    learned = calibration.openers
    if learned is None:
        return None
    odds = [learned.log_odds(opening) for opening in openings[-RECENT:]]
    floor = best_floor(learned, odds, costs[-RECENT:])
    return Openers(learned.tokens, learned.slope, learned.intercept, floor)


def _said(
    connection: Connection, run_id: str, prompt_ids: Sequence[str]
) -> dict[str, list[tuple[str, float | None, int]]]:
    """Prompt -> (text, P(refusal) by the judge that decided, tokens) of its samples, in order."""
    judge, version = found.decider(connection, run_id) or ("", "")
    said: dict[str, list[tuple[str, float | None, int]]] = defaultdict(list)
    for chunk in chunks(prompt_ids):
        rows = connection.execute(
            select(Sample.prompt_id, Sample.text, Verdict.p_refusal, Sample.n_tokens)
            .join(Run, Run.target_id == Sample.target_id)
            .join(
                Verdict,
                and_(
                    Verdict.target_id == Sample.target_id,
                    Verdict.prompt_id == Sample.prompt_id,
                    Verdict.sample_index == Sample.sample_index,
                    Verdict.judge == judge,
                    Verdict.version == version,
                ),
                isouter=True,
            )
            .where(Run.run_id == run_id, Sample.prompt_id.in_(chunk))
            .order_by(Sample.prompt_id, Sample.sample_index)
        )
        for prompt, text, p_refusal, n_tokens in rows:
            said[prompt].append((text, p_refusal, n_tokens))
    return said
