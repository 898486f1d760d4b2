"""A refusal guessed from how a response would begin: one pass over the prompt instead of K samples.

refusal_direction (arXiv 2406.11717) adds up the probability of first tokens that open refusals ("I",
"As") and takes the log-odds. Which tokens those are differs between models, and some open answers too, so
they are learned for each target from the samples that judges have seen. A guess is never a verdict.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from workers.interface import Opening, bare, travels

_EPS = 1e-8
RECENT = 400  # openings that set the floor
_FEWEST = 12  # prompts before anything is learned
_FEWEST_OPENINGS = 12  # before a floor is set by them
_GROWTH = 1.25  # learned anew when there are so many times more
_REMEMBERED = 2_000  # newest prompts
_PRIOR = 1.0  # samples that a token's share of refusals starts with, half of them refusals
# Tokens that open refusals in most models start with a larger share (refusal_direction: "I", "As").
_USUAL = frozenset({"I", "As", "Sorry", "Unfortunately"})
_USUAL_SHARE = 0.75
_OPENS = 0.5  # share of refusals, above which a token is an opener
_RIDGE = 0.1


@travels
@dataclass(frozen=True, slots=True)
class Openers:
    """First tokens that open this target's refusals, and what their log-odds mean:
    P(refusal) = sigmoid(slope * log-odds + intercept). Prompts below `floor` are not sampled."""

    tokens: tuple[str, ...]
    slope: float
    intercept: float
    floor: float = -math.inf

    def log_odds(self, opening: Opening) -> float:
        """log(P + eps) - log(1 - P + eps), P the probability of all openers; eps = 1e-8."""
        return log_odds(opening, frozenset(self.tokens))

    def guess(self, opening: Opening) -> float:
        """P(refusal) in (0, 1), calibrated on the target's own samples."""
        return self.p_refusal(self.log_odds(opening))

    def p_refusal(self, log_odds: float) -> float:
        """What such log-odds mean, in [0, 1]; 0 for those of no floor."""
        return _sigmoid(self.slope * log_odds + self.intercept)


def best_floor(openers: Openers, odds: Collection[float], costs: Collection[int]) -> float:
    """The log-odds from which on sampling would have found the most for the tokens; -inf for too few.

    With P_i = P(refusal) by the opening of prompt i, one token for each of n openings, and c tokens
    on average for a prompt that is sampled,

        floor = argmax_f  sum over i with P_i >= f of P_i  /  (n + c * |{i: P_i >= f}|).

    Args:
        odds: log-odds of the latest openings, in any order.
        costs: tokens that prompts took that were sampled; at least one where there are odds enough.
    """
    if len(odds) < _FEWEST_OPENINGS:
        return -math.inf
    falling = np.sort(np.array(odds))[::-1]  # (n,)
    p = 1.0 / (1.0 + np.exp(-(openers.slope * falling + openers.intercept)))
    sampled = np.arange(1, len(falling) + 1)
    yields = np.cumsum(p) / (len(falling) + fmean(costs) * sampled)
    return float(falling[int(yields.argmax())])


def log_odds(opening: Opening, tokens: frozenset[str]) -> float:
    """The refusal score of refusal_direction over a set of first tokens, blanks around them or not.

    >>> even = Opening(("I", "Sure"), (math.log(0.5), math.log(0.5)), 9)
    >>> log_odds(even, frozenset({"I"}))
    0.0
    """
    wanted = set(map(bare, tokens))
    shown = zip(opening.tokens, opening.logprobs, strict=True)
    p = min(1.0, math.fsum(math.exp(logprob) for token, logprob in shown if bare(token) in wanted))
    return math.log(p + _EPS) - math.log(1.0 - p + _EPS)


def first_token(text: str, opening: Opening) -> str | None:
    """The shown token with which a response begins, the longest that fits; None: none of them."""
    start = text.lstrip()
    fitting = [t for t in opening.tokens if t.strip() and start.startswith(t.strip())]
    return max(fitting, key=len, default=None)


class OpenerCalibration:
    """Learns `Openers` from prompts whose opening and samples are known.

    Deterministic: the same prompts in the same order give the same openers.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[Opening, tuple[tuple[str | None, float], ...]]] = deque(
            maxlen=_REMEMBERED
        )
        self._n = 0
        self._learned_from = 0
        self._openers: Openers | None = None

    @property
    def openers(self) -> Openers | None:
        """None until there is enough to learn from, or while all prompts were alike."""
        return self._openers

    def learn(self, opening: Opening, samples: Sequence[tuple[str, float]]) -> None:
        """Take in one prompt: its opening, and text and P(refusal) of each scored sample. Without
        samples, or where no token was shown, it teaches nothing."""
        if not samples or not opening.tokens:
            return
        begun = tuple((first_token(text, opening), p) for text, p in samples)
        self._seen.append((opening, begun))
        self._n += 1
        if self._n >= max(_FEWEST, _GROWTH * self._learned_from):
            self._learned_from = self._n
            self._openers = self._fit()

    def _fit(self) -> Openers | None:
        refused: dict[str, float] = {}
        counted: dict[str, float] = {}
        for _, begun in self._seen:
            for token, p in begun:
                if token is not None:
                    refused[token] = refused.get(token, _prior(token)) + p
                    counted[token] = counted.get(token, _PRIOR) + 1.0
        tokens = tuple(sorted(t for t in counted if refused[t] / counted[t] > _OPENS))
        if not tokens:
            return self._openers
        chosen = frozenset(tokens)
        odds = np.array([log_odds(opening, chosen) for opening, _ in self._seen])
        rates = np.array([float(np.mean([p for _, p in b])) for _, b in self._seen])
        slope, intercept = _logistic(odds, rates)
        return Openers(tokens, slope, intercept) if slope > 0 else self._openers


def _prior(token: str) -> float:
    return _PRIOR * (_USUAL_SHARE if token.strip() in _USUAL else 0.5)


def _logistic(x: NDArray[np.float64], rates: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of rate = sigmoid(slope * x + intercept): Newton's method, with a ridge
    that draws the slope to 1 (log-odds that mean what they say) and the intercept to 0.

    A step that makes the fit worse is halved: log-odds reach 18, where the curvature is all but nought
    and whole steps swing from side to side for ever."""
    start = np.array([1.0, 0.0])
    design = np.stack([x, np.ones_like(x)], axis=1)  # (n, 2)
    ridge = _RIDGE * np.eye(2)

    def loss(beta: NDArray[np.float64]) -> float:
        z = design @ beta
        off = beta - start
        return float(np.sum(np.logaddexp(0.0, z) - rates * z) + 0.5 * off @ ridge @ off)

    beta, best = start, loss(start)
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30, 30)))
        gradient = design.T @ (p - rates) + ridge @ (beta - start)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature, gradient)
        while float(np.abs(step).max()) >= 1e-9 and loss(beta - step) > best:
            step = step / 2.0
        if float(np.abs(step).max()) < 1e-9:
            break
        beta = beta - step
        best = loss(beta)
    return float(beta[0]), float(beta[1])


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
