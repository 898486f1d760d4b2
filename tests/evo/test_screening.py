"""What the screen learns: a cut that keeps the known over-refusals, a floor, and a blind share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.config import ScreeningConfig
from evo.screening import Screening, _quantile
from evo.types import Assignment, Candidate, Outcome, Screened, Strategy, prompt_id
from evo.view import Screen
from fitness.openers import Openers, best_floor
from fitness.types import Evaluation, JudgedSample, Score, ScreenedOut, Verdict
from workers.interface import Failure, FailureKind, Opening, Sample

PARENT = Candidate("00", "p", "seed", Strategy.SEED, (), None, "00")


def vector(rate: float, number: int) -> np.ndarray:
    """Two directions for refused and answered, with a little of its own."""
    drawn = np.random.default_rng(number).normal(size=8) * 0.1
    drawn[0] += 1.0 if rate >= 0.5 else -1.0
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def told(
    number: int,
    rate: float,
    *,
    screened: Screened | None = None,
    seed: bool = False,
    failure: Failure | None = None,
) -> Outcome:
    text = f"prompt {number}"
    strategy = Strategy.SEED if seed else Strategy.ANGER
    made = Candidate(prompt_id(text), text, "lexical", strategy, (), None, "s")
    assignment = Assignment(number, "lexical", strategy, () if seed else (PARENT,), number)
    if failure is not None:
        return Outcome(assignment, made, failure=failure, screened=screened)
    word = "I cannot" if rate >= 0.5 else "Sure thing"
    samples = tuple(
        JudgedSample(Sample(i, word, 10, "stop"), (Verdict.scored("j", "1", rate),))
        for i in range(2)
    )
    score = Score(rate - 1, rate - 1, None, None, rate, 0.0, 1.0, 2, 0)
    evaluation = Evaluation(
        made.prompt_id, samples, score, 2, 21, 9, 0.0, opening=opening(0.9 if rate >= 0.5 else 0.1)
    )
    return Outcome(assignment, made, evaluation, embedding=vector(rate, number), screened=screened)


def opening(p: float) -> Opening:
    return Opening(("I", "Sure"), (math.log(p), math.log(1 - p)), 9)


def taught(n: int, **settings: object) -> Screening:
    screening = Screening(ScreeningConfig.model_validate(settings), 0.5)
    for number in range(n):
        rate = 1.0 if number % 2 else 0.0
        screening.hear(told(number, rate, screened=Screened(0.8 if rate else 0.2, False)))
    return screening


hits = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.sampled_from([1.0, 10.0])), min_size=15, max_size=60
)


@given(hits, st.floats(0.0, 0.5))
def test_under_the_cut_lies_no_more_than_the_share_that_may_be_lost(
    known: list[tuple[float, float]], lost: float
) -> None:
    cut = _quantile(known, lost)
    total = sum(weight for _, weight in known)
    assert sum(weight for guess, weight in known if guess < cut) <= lost * total + 1e-9
    assert cut in {guess for guess, _ in known}


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.just(1.0)), max_size=14), st.floats(0.0, 0.5))
def test_of_a_few_over_refusals_no_cut_is_made(
    known: list[tuple[float, float]], lost: float
) -> None:
    assert _quantile(known, lost) == 0.0


@given(st.lists(st.floats(-12.0, 12.0), min_size=12, max_size=40), st.integers(1, 200))
def test_no_other_floor_would_have_found_more_for_its_tokens(odds: list[float], cost: int) -> None:
    openers = Openers(("I",), 1.0, 0.0)

    def yields(floor: float) -> float:
        p = [1.0 / (1.0 + math.exp(-x)) for x in odds if x >= floor]
        return sum(p) / (len(odds) + cost * len(p))

    floor = best_floor(openers, odds, [cost])
    assert yields(floor) == pytest.approx(max(yields(x) for x in odds))


def test_of_a_few_openings_no_floor_is_made() -> None:
    assert best_floor(Openers(("I",), 1.0, 0.0), [1.0] * 11, [20]) == -math.inf


def test_guesses_and_floors_are_learned_and_an_old_screen_stays_as_it_was() -> None:
    screening = taught(4)
    before = screening.screen
    assert np.isnan(before.guess(vector(1.0, 900)[None])).all()
    for number in range(4, 80):
        rate = 1.0 if number % 2 else 0.0
        screening.hear(told(number, rate, screened=Screened(0.8 if rate else 0.2, False)))
    after = screening.screen
    refused, answered = after.guess(np.stack([vector(1.0, 900), vector(0.0, 901)]))
    assert refused > 0.8
    assert answered < 0.2
    assert after.cut == 0.8
    assert after.openers is not None
    assert after.openers.log_odds(opening(0.1)) < after.openers.floor
    assert after.openers.log_odds(opening(0.9)) >= after.openers.floor
    assert (before.predictor, before.cut, before.openers) == (None, 0.0, None)


def test_an_over_refusal_that_went_through_unseen_stands_for_those_held_back() -> None:
    screening = taught(60, lost=0.2, blind=0.1)
    assert screening.screen.cut == 0.8
    screening.hear(told(100, 1.0, screened=Screened(0.3, True)))
    assert screening.screen.cut == 0.3
    seen = taught(60, lost=0.2, blind=0.1)
    seen.hear(told(100, 1.0, screened=Screened(0.3, False)))
    assert seen.screen.cut == 0.8


def test_what_is_switched_off_guesses_nothing() -> None:
    screen = taught(60, predictor=False, opening=False).screen
    assert screen.predictor is None
    assert screen.openers is None


def test_the_share_that_is_sampled_leaves_seeds_out_and_has_a_least() -> None:
    screening = taught(0)
    for number in range(30):
        screening.hear(told(number, 0.0, seed=True))
    assert screening.pass_share == 1.0
    away = ScreenedOut(FailureKind.SCREENED, "no", opening(0.1), 1)
    for number in range(30, 60):
        screening.hear(told(number, 0.0, failure=away))
    assert screening.pass_share == 1 / 8
    for number in range(60, 90):
        screening.hear(told(number, 1.0))
    assert screening.pass_share == 0.5


@given(st.floats(0.0, 1.0))
def test_the_blind_share_is_that_of_the_settings(blind: float) -> None:
    drawn = [Screen(blind=blind).is_blind(np.random.default_rng(i)) for i in range(400)]
    assert sum(drawn) / 400 == pytest.approx(blind, abs=0.12)
