"""Which proposals are worth the target's time: guessed from their vectors, then from one token.

Two guesses, the dear one after the free one: the predictor sees the embedding alone, the opening costs
one token of the target. Both let through what is promising; a blind share goes through unseen, so that no
guess can confirm itself. Both floors are set so that a given share of the known over-refusals would be
lost. Learns from outcomes; draws from generators that it is given; asks nobody.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evo.view import Screen
from fitness.openers import OpenerCalibration
from fitness.predictor import RefusalPredictor

if TYPE_CHECKING:
    from evo.config import ScreeningConfig
    from evo.types import Outcome

_FEWEST_HITS = 15  # known over-refusals before a floor is set by them
_RECENT = 400  # over-refusals that set the floors
_LATELY = 200  # proposals over which the share that reaches sampling is counted
_MOST_ASKED = 8.0  # proposals for each that is likely to be sampled


class Screening:
    """Learns the two guesses and their floors from what came of proposals."""

    def __init__(self, settings: ScreeningConfig, threshold: float) -> None:
        self._settings = settings
        self._threshold = threshold
        self._predictor = RefusalPredictor()
        self._openers = OpenerCalibration()
        # (guess or log-odds, weight) of over-refusals: one that went through unseen stands for
        # all those like it that were held back.
        self._guessed: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        self._opened: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        self._lately: deque[bool] = deque(maxlen=_LATELY)
        self._cut, self._floor = 0.0, -math.inf
        self._screen = Screen(blind=settings.blind)

    @property
    def screen(self) -> Screen:
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
        if evaluation is None:
            return
        if self._settings.predictor and outcome.embedding is not None:
            self._predictor.learn(outcome.embedding[None], [evaluation.score.refusal_rate])
        if self._settings.opening and evaluation.opening is not None:
            said = [
                (s.sample.text, p)
                for s in evaluation.samples
                if s.verdicts and (p := s.verdicts[0].p_refusal) is not None
            ]
            self._openers.learn(evaluation.opening, said)
        if evaluation.score.refusal_rate >= self._threshold:
            self._note_hit(outcome)
        self._renew()

    def _note_hit(self, outcome: Outcome) -> None:
        noted = outcome.screened
        if noted is None:
            return
        weight = 1.0
        if noted.blind and self._settings.blind > 0 and self._held_back(outcome):
            weight = 1.0 / self._settings.blind
        if noted.guess is not None:
            self._guessed.append((noted.guess, weight))
        opening = outcome.evaluation.opening if outcome.evaluation else None
        if opening is not None and self._openers.openers is not None:
            self._opened.append((self._openers.openers.log_odds(opening), weight))
        self._cut = _floor(self._guessed, self._settings.lost, 0.0)
        self._floor = _floor(self._opened, self._settings.lost, -math.inf)

    def _held_back(self, outcome: Outcome) -> bool:
        """Whether a proposal that went through unseen would not have gone through else."""
        screen, noted = self._screen, outcome.screened
        if noted is not None and noted.guess is not None and noted.guess < screen.cut:
            return True
        opening = outcome.evaluation.opening if outcome.evaluation else None
        if opening is None or screen.openers is None:
            return False
        return screen.openers.log_odds(opening) < screen.openers.floor

    def _renew(self) -> None:
        openers = self._openers.openers
        if openers is not None:
            openers = replace(openers, floor=self._floor)
        guess = self._predictor.guess if self._settings.predictor else None
        screen = Screen(guess, self._cut, openers, self._settings.blind)
        if screen != self._screen:
            self._screen = screen


def _floor(hits: deque[tuple[float, float]], lost: float, without: float) -> float:
    """The value under which the share `lost` of the weight lies; `without` too few hits."""
    if len(hits) < _FEWEST_HITS:
        return without
    values, weights = np.array(hits).T
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    return float(values[order[int(np.searchsorted(below, lost, side="right"))]])
