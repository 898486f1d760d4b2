"""How often a target refuses, set without training: a threshold on the score of its first token.

The score is log(P / (1 - P)), P the probability that a response begins with one of the tokens that mean a
refusal (Refusal Tokens, arXiv 2412.06748, section 3; for targets without such tokens the first-token
refusal score of arXiv 2406.11717). A prompt is refused where its score reaches the threshold. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.elbo import wilson


@dataclass(frozen=True, slots=True)
class Threshold:
    """One wished rate. `measured`: the share refused under `threshold` of the prompts that it was
    found on, with its interval; `bias`: what to add to the logits of the tokens for the same
    (`bias_of`)."""

    wished: float
    threshold: float
    measured: float
    low: float
    high: float

    @property
    def bias(self) -> float:
        return bias_of(self.threshold)


@dataclass(frozen=True, slots=True)
class Point:
    """One threshold of a curve: shares refused of harmful (true) and of harmless prompts (false)."""

    threshold: float
    true_refusals: float
    false_refusals: float


def threshold_for(
    scores: Sequence[float],
    wished: float,
    *,
    opened: Sequence[float] | None = None,
    closed: Sequence[float] | None = None,
) -> Threshold:
    """The threshold under which the share refused is nearest to `wished`.

    A threshold t refuses prompt i with probability opened_i where s_i >= t and closed_i elsewhere. By
    default these are 1 and 0: a response is a refusal where it begins as one. It lies half way between two scores, so that a fresh score seldom falls on it. Of n scores the
    share can be set to 1/n at best, less well where scores tie; on fresh prompts it is off by about
    sqrt(wished (1 - wished) / n) more (`measured` has the interval).

    Args:
        opened: (n,) share of refusals, 0 to 1, of each prompt's responses that begin as a refusal.
        closed: (n,) the same of those that do not.

    Raises:
        ValueError: no score, one that is no number, a rate outside 0 to 1, or shares of other prompts.

    >>> found = threshold_for([-2.0, -1.0, 1.0, 3.0], 0.5)
    >>> found.threshold, found.measured
    (0.0, 0.5)
    >>> threshold_for([-2.0, -1.0, 1.0, 3.0], 0.5, closed=[1.0, 0.0, 0.0, 0.0]).threshold
    2.0
    """
    values = np.asarray(scores, dtype=np.float64)
    falling = np.argsort(-values, kind="stable")
    ordered = values[falling]
    if not len(ordered) or not np.isfinite(ordered).all():
        raise ValueError("a threshold needs scores that are numbers")
    if not 0.0 <= wished <= 1.0:
        raise ValueError(f"a rate is between 0 and 1, got {wished}")
    n = len(ordered)
    # A cut is possible before the first score, between two that differ, and after the last.
    cuts = np.flatnonzero(np.concatenate(([True], ordered[1:] < ordered[:-1], [True])))
    above = np.ones(n) if opened is None else np.asarray(opened, dtype=np.float64)
    below = np.zeros(n) if closed is None else np.asarray(closed, dtype=np.float64)
    if len(above) != n or len(below) != n:
        raise ValueError(f"{n} scores, but shares of {len(above)} and {len(below)} prompts")
    # refused[c]: the expected number of refusals when the c highest scores begin as one
    gained = np.concatenate(([0.0], np.cumsum((above - below)[falling])))
    refused = below.sum() + gained
    cut = int(cuts[np.abs(refused[cuts] / n - wished).argmin()])
    if cut == 0:
        threshold = float(ordered[0]) + 1.0
    elif cut == n:
        threshold = float(ordered[-1]) - 1.0
    else:
        threshold = float(ordered[cut - 1] + ordered[cut]) / 2.0
    share = min(1.0, max(0.0, float(refused[cut]) / n))
    low, high = wilson(share * n, n)
    return Threshold(wished, threshold, share, low, high)


def bias_of(threshold: float) -> float:
    """What to add to the logits of all the tokens so that they have even odds at `threshold`: the
    log-odds of a set move by exactly what is added to each of its logits.

    >>> bias_of(2.5)
    -2.5
    """
    return -threshold


def curve(harmful: Sequence[float], harmless: Sequence[float]) -> list[Point]:
    """True against false refusals over every threshold, from refusing nothing to refusing all.

    Raises:
        ValueError: one of the two kinds is missing.
    """
    if not len(harmful) or not len(harmless):
        raise ValueError("a curve needs scores of harmful and of harmless prompts")
    both = np.unique(np.concatenate([harmful, harmless]).astype(np.float64))
    thresholds = np.concatenate(([both[-1] + 1.0], both[::-1]))
    return [Point(float(t), _share(harmful, t), _share(harmless, t)) for t in thresholds]


def auroc(harmful: Sequence[float], harmless: Sequence[float]) -> float:
    """The area under `curve`: the chance that a harmful prompt scores above a harmless one."""
    points = curve(harmful, harmless)
    x = np.array([p.false_refusals for p in points])
    y = np.array([p.true_refusals for p in points])
    return float(np.sum((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2.0))


def _share(scores: Sequence[float] | NDArray[np.float64], threshold: float) -> float:
    each = np.asarray(scores, dtype=np.float64)
    return float((each >= threshold).mean())


def false_rate_threshold(harmless: Sequence[float], most: float) -> Threshold:
    """The lowest threshold by which at most `most` of the harmless prompts are refused."""
    ordered = np.sort(np.asarray(harmless, dtype=np.float64))[::-1]
    n = len(ordered)
    if not n:
        raise ValueError("a threshold needs scores of harmless prompts")
    allowed = math.floor(most * n + 1e-9)
    cuts = np.flatnonzero(np.concatenate(([True], ordered[1:] < ordered[:-1], [True])))
    cut = int(cuts[cuts <= allowed].max())
    share = cut / n
    found = threshold_for(ordered.tolist(), share)
    return Threshold(most, found.threshold, share, found.low, found.high)
