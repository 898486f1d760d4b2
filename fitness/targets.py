"""Several targets, one fitness: a score of scores. Pure functions.

A prompt that transfers is refused by all targets, so what counts is a statistic S over the targets t:

    F(x) = S_t F_t(x),   r(x) = S_t r_t(x),   S = mean, minimum, or a quantile

It knows evaluations; who was asked, and in which order, it does not know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitness.types import Evaluation, Score

STATISTICS = ("mean", "min", "quantile")


@dataclass(frozen=True, slots=True)
class Over:
    """The statistic over targets: one of `STATISTICS`; `quantile` in [0, 1] is read by that one alone.

    A quantile lies between its two neighbours (Hyndman and Fan 1996, type 7): 0 is the minimum,
    0.5 the median.

    >>> Over("mean").of([0.0, 1.0]), Over("min").of([0.0, 1.0]), Over("quantile", 0.25).of([0.0, 1.0])
    (0.5, 0.0, 0.25)
    """

    statistic: str = "mean"
    quantile: float = 0.25

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS or not 0.0 <= self.quantile <= 1.0:
            raise ValueError(f"no statistic over targets: {self.statistic}, {self.quantile}")

    def of(self, values: Sequence[float]) -> float:
        """The statistic of at least one number, whatever their order."""
        ordered = sorted(values)
        if self.statistic == "mean":  # rounding never takes it out of what it is the mean of
            return min(max(math.fsum(ordered) / len(ordered), ordered[0]), ordered[-1])
        place = (len(ordered) - 1) * (0.0 if self.statistic == "min" else self.quantile)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        return min(max(below + (place - math.floor(place)) * (above - below), below), above)


def of_config(config: Mapping[str, Any]) -> Over | None:
    """The statistic that a run's config, as plain data, asks for; None: it has one target."""
    if not config.get("targets"):
        return None
    search = config.get("search", {})
    return Over(search.get("fitness_over", "mean"), float(search.get("quantile", 0.25)))


def combined_score(scores: Sequence[Score], over: Over) -> Score:
    """The score of one prompt over at least one target.

    Fitness, refusal term, refusal rate and both ends of its interval are the statistic of the
    targets' own. It never falls when one of them grows; so wherever each target's true rate lies in
    its interval, the statistic of the true rates lies in this one. Confidence and entropy likewise,
    None unless every target has them. Samples add up.
    """

    def known(values: Sequence[float | None]) -> float | None:
        there = [v for v in values if v is not None]
        return over.of(there) if len(there) == len(values) else None

    return Score(
        fitness=over.of([s.fitness for s in scores]),
        refusal_term=over.of([s.refusal_term for s in scores]),
        confidence=known([s.confidence for s in scores]),
        entropy=known([s.entropy for s in scores]),
        refusal_rate=over.of([s.refusal_rate for s in scores]),
        refusal_low=over.of([s.refusal_low for s in scores]),
        refusal_high=over.of([s.refusal_high for s in scores]),
        n_samples=sum(s.n_samples for s in scores),
        n_unscored=sum(s.n_unscored for s in scores),
    )


def combine(by_target: Mapping[str, Evaluation], over: Over) -> Evaluation:
    """One evaluation of the evaluations by target id (at least one): costs add up, the samples stay
    with their targets. A target that is not there was not asked: it is unknown, never zero."""
    parts = sorted(by_target.items())
    evaluations = [evaluation for _, evaluation in parts]
    return Evaluation(
        prompt_id=evaluations[0].prompt_id,
        samples=(),
        score=combined_score([e.score for e in evaluations], over),
        n_new=sum(e.n_new for e in evaluations),
        target_tokens=sum(e.target_tokens for e in evaluations),
        prompt_tokens=sum(e.prompt_tokens for e in evaluations),
        engine_s=math.fsum(e.engine_s for e in evaluations),
        cost_usd=math.fsum(e.cost_usd for e in evaluations),
        by_target=tuple(parts),
    )
