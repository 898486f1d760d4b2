"""Which proposals are worth the target's time: guessed from their vectors, then from one token.

Two guesses, the dear one after the free one: the predictor sees the embedding alone, the opening costs
one token of the target. A blind share goes through unseen, so that no guess can confirm itself.

The predictor turns away what lies below a given share of the known over-refusals. The opening's floor is
the one under which the latest openings would have found the most for their tokens (`openers.best_floor`).

Learns from outcomes; draws from generators that it is given; asks nobody.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evo.view import Screen
from fitness.openers import RECENT, OpenerCalibration, Openers, best_floor
from fitness.predictor import RefusalPredictor
from fitness.types import ScreenedOut

if TYPE_CHECKING:
    from collections.abc import Collection

    from evo.config import ScreeningConfig
    from evo.types import Outcome
    from fitness.types import Evaluation
    from workers.interface import Opening

_FEWEST_HITS = 15  # known over-refusals before a cut is set by them
_LATELY = 200  # proposals over which the share that reaches sampling is counted
_MOST_ASKED = 8.0  # proposals for each that is likely to be sampled


class Screening:
    """Learns the two guesses and their floors from what came of proposals."""

    def __init__(self, settings: ScreeningConfig, threshold: float) -> None:
        self._settings = settings
        self._threshold = threshold
        self._predictor = RefusalPredictor()
        self._openers = OpenerCalibration()
        # (guess, weight) of over-refusals: one that went through unseen stands for all those like it
        # that were held back.
        self._guessed: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._seen: deque[Opening] = deque(maxlen=RECENT)
        self._odds: deque[float] = deque(maxlen=RECENT)  # of the seen, by the present openers
        self._costs: deque[int] = deque(maxlen=RECENT)  # tokens of prompts that were sampled
        self._calibrated: Openers | None = None
        self._lately: deque[bool] = deque(maxlen=_LATELY)
        self._cut: float | None = 0.0  # None: to be found anew
        self._screen = Screen(blind=settings.blind)
        self._stale = False

    @property
    def screen(self) -> Screen:
        # Outcomes come many at a time; what they change is reckoned up when somebody asks.
        if self._stale:
            self._renew()
        return self._screen

    @property
    def pass_share(self) -> float:
        """Share of the latest proposals that were sampled, at least 1/8."""
        if len(self._lately) < _FEWEST_HITS:
            return 1.0
        return max(1.0 / _MOST_ASKED, sum(self._lately) / len(self._lately))

    def hear(self, outcome: Outcome) -> None:
        """Take note of how a proposal ended; not of one that was sampled again."""
        evaluation, failure = outcome.evaluation, outcome.failure
        if not outcome.assignment.parents and failure is not None:
            return
        if outcome.assignment.parents:
            self._lately.append(evaluation is not None)
        if isinstance(failure, ScreenedOut):
            self._see(failure.opening)
        if evaluation is not None:
            self._learn(outcome, evaluation)
        self._stale = True

    def _learn(self, outcome: Outcome, evaluation: Evaluation) -> None:
        rate = evaluation.score.refusal_rate
        if self._settings.predictor and outcome.embedding is not None:
            self._predictor.learn(outcome.embedding[None], [rate])
        if self._settings.opening and evaluation.opening is not None:
            self._openers.learn(evaluation.opening, _said(evaluation))
            self._see(evaluation.opening)
            self._costs.append(sum(s.sample.n_tokens for s in evaluation.samples))
        if rate >= self._threshold:
            self._note_hit(outcome)

    def _see(self, opening: Opening) -> None:
        self._seen.append(opening)
        if self._calibrated is not None:
            self._odds.append(self._calibrated.log_odds(opening))

    def _note_hit(self, outcome: Outcome) -> None:
        noted = outcome.screened
        if noted is not None and noted.guess is not None:
            was_held_back = noted.blind and noted.guess < self._find_cut()
            weight = 1.0 / self._settings.blind if was_held_back else 1.0
            self._guessed.append((noted.guess, weight))
            self._cut = None

    def _find_cut(self) -> float:
        if self._cut is None:
            self._cut = _quantile(self._guessed, self._settings.lost)
        return self._cut

    def _renew(self) -> None:
        self._stale = False
        openers = self._openers.openers
        if openers is not None:
            if openers is not self._calibrated:
                self._calibrated = openers
                self._odds = deque(map(openers.log_odds, self._seen), maxlen=RECENT)
            openers = replace(openers, floor=best_floor(openers, self._odds, self._costs))
        guess = self._predictor.guess if self._settings.predictor else None
        screen = Screen(guess, self._find_cut(), openers, self._settings.blind)
        if screen != self._screen:
            self._screen = screen


def _said(evaluation: Evaluation) -> list[tuple[str, float]]:
    """Text and P(refusal) of the scored samples, by the judge that decides."""
    return [
        (s.sample.text, p)
        for s in evaluation.samples
        if s.verdicts and (p := s.verdicts[0].p_refusal) is not None
    ]


def _quantile(hits: Collection[tuple[float, float]], lost: float) -> float:
    """The guess under which the share `lost` of the weight lies; 0 for too few hits."""
    if len(hits) < _FEWEST_HITS:
        return 0.0
    values, weights = np.array(hits).T
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    return float(values[order[int(np.searchsorted(below, lost, side="right"))]])
