"""How many samples a prompt is worth: few where the answer is plain, all where it still matters. Pure.

Two questions are raced: on which side of the threshold is the refusal rate, and does the fitness win a
place in the archive? While an answer is open, the next round is drawn: 2, 4, 7, 10 of a prompt's samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Posterior probability of an over-refusal between which the first question is open. Not even: another
# proposal is cheaper than to learn that a doubtful one was none.
_GIVEN_UP, _TAKEN = 0.35, 0.8
_JEFFREYS = 0.5
_GUESS_WEIGHT = 3.0  # samples that a calibrated guess from the opening stands for
_Z = 0.67  # half of the time the mean is within
_SPREAD = 0.5  # nats: how far fitness terms lie apart before anything is known, worth one sample
_GROWTH = 1.6


def wanted(
    p_refusal: Sequence[float],
    terms: Sequence[float],
    *,
    n: int,
    first: int,
    most: int,
    threshold: float,
    bar: float = -math.inf,
    guess: float | None = None,
) -> int:
    """How many samples the prompt should have by now; `n` when it has enough.

    Args:
        p_refusal: P(refusal) of its scored samples, each in [0, 1].
        terms: what each of them adds to the fitness, nats (`fitness.elbo.terms`).
        n: samples that it has, scored or not.
        first: samples that are always taken.
        most: samples at which it ends, resolved or not.
        threshold: refusal rate that makes an over-refusal, in (0, 1].
        bar: fitness that wins a place; -inf: places are free, so the second question is settled.
        guess: P(refusal) by the opening, in [0, 1], calibrated; None: there is none.

    >>> wanted([1.0, 1.0], [-0.1, -0.1], n=2, first=2, most=10, threshold=0.5, guess=0.95)
    2
    >>> wanted([1.0, 0.0], [-0.1, -9.2], n=2, first=2, most=10, threshold=0.5)
    4
    """
    if n < first:
        return min(first, most)
    if n >= most:
        return n
    side = side_is_open(p_refusal, threshold, guess)
    if not side and not place_is_open(terms, bar):
        return n
    return next_round(n, most)


def next_round(n: int, most: int) -> int:
    """How many samples the round after n brings a prompt to, at most `most`.

    >>> [next_round(n, 10) for n in (2, 4, 7)]
    [4, 7, 10]
    """
    return min(most, max(n + 1, math.ceil(_GROWTH * n)))


def side_is_open(p_refusal: Sequence[float], threshold: float, guess: float | None) -> bool:
    """Whether the refusal rate may yet lie on either side of the threshold: a Beta posterior under
    Jeffreys' prior, with a guess as so many samples more."""
    from scipy.special import betainc

    refused = _JEFFREYS + math.fsum(p_refusal)
    answered = _JEFFREYS + math.fsum(1.0 - p for p in p_refusal)
    if guess is not None:
        refused += _GUESS_WEIGHT * guess
        answered += _GUESS_WEIGHT * (1.0 - guess)
    above = 1.0 - float(betainc(refused, answered, threshold))
    return _GIVEN_UP < above < _TAKEN


def place_is_open(terms: Sequence[float], bar: float) -> bool:
    """Whether the mean of the terms may yet lie on either side of the bar: a normal interval whose
    spread is that of the terms, with one term's worth of prior."""
    if not terms or not math.isfinite(bar):
        return False
    mean = math.fsum(terms) / len(terms)
    squares = math.fsum((t - mean) ** 2 for t in terms)
    spread = math.sqrt((squares + _SPREAD**2) / len(terms))
    return abs(mean - bar) < _Z * spread / math.sqrt(len(terms))
