"""What a first token says of a refusal: the log-odds, the tokens that are learned, the guess."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fitness.openers import OpenerCalibration, Openers, first_token, log_odds
from workers.interface import Opening

REFUSED, ANSWERED = "I'm sorry, I can't.", "Sure, press save."


def opening(p_sorry: float, *, noise: float = 0.0) -> Opening:
    """Begins with "I" at `p_sorry`, else with "Sure"; "The" takes the share `noise` of both."""
    shares = {"I": p_sorry * (1 - noise), "Sure": (1 - p_sorry) * (1 - noise), "The": noise}
    shown = {t: p for t, p in shares.items() if p > 0}
    return Opening(tuple(shown), tuple(math.log(p) for p in shown.values()), 9)


def learned(n: int, seed: int = 0) -> OpenerCalibration:
    """From n prompts whose samples are refused as often as their openings say."""
    rng, calibration = random.Random(seed), OpenerCalibration()
    for _ in range(n):
        p = rng.random()
        refused = [rng.random() < p for _ in range(6)]
        samples = [(REFUSED, 0.95) if r else (ANSWERED, 0.05) for r in refused]
        calibration.learn(opening(p), samples)
    return calibration


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.001, 1.0), min_size=1, max_size=8),
    st.data(),
)
def test_more_openers_never_lower_the_log_odds_and_they_are_bounded(
    shares: dict[str, float], data: st.DataObject
) -> None:
    total = sum(shares.values())
    shown = Opening(tuple(shares), tuple(math.log(p / total) for p in shares.values()), 9)
    some = data.draw(st.sets(st.sampled_from(sorted(shares))))
    more = some | data.draw(st.sets(st.sampled_from(sorted(shares))))
    fewer_odds, more_odds = log_odds(shown, frozenset(some)), log_odds(shown, frozenset(more))
    assert fewer_odds <= more_odds + 1e-9
    bound = math.log((1 + 1e-8) / 1e-8) + 1e-6
    assert -bound <= fewer_odds <= bound
    assert log_odds(shown, frozenset()) == pytest.approx(-bound, abs=1e-5)


@given(st.floats(0.01, 0.99))
def test_log_odds_are_those_of_the_probability(p: float) -> None:
    assert log_odds(opening(p), frozenset({"I"})) == pytest.approx(math.log(p / (1 - p)), abs=1e-4)


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_guess_is_a_probability_that_rises_with_the_openers_share(
    slope: float, intercept: float, one: float, other: float
) -> None:
    assume(slope > 0)
    openers = Openers(("I",), slope, intercept)
    low, high = sorted((one, other))
    assert 0.0 <= openers.guess(opening(low)) <= openers.guess(opening(high)) <= 1.0


def test_the_longest_shown_token_that_fits_is_the_first() -> None:
    shown = Opening(("I", " I'm", "Sure", " "), (-1.0, -1.0, -2.0, -3.0), 9)
    assert first_token("  I'm sorry", shown) == " I'm"
    assert first_token("It is", shown) == "I"
    assert first_token("Well", shown) is None
    assert first_token("", shown) is None


def test_nothing_is_learned_of_a_few_prompts_nor_where_nobody_refuses() -> None:
    assert learned(11).openers is None
    assert learned(12).openers is not None
    calibration = OpenerCalibration()
    for _ in range(40):
        calibration.learn(opening(0.1), [(ANSWERED, 0.02)])
    assert calibration.openers is None


def test_openings_that_are_all_but_sure_teach_a_slope_that_rises() -> None:
    """Whole Newton steps swing from side to side there, and end at a falling slope: nothing learned."""
    rng, calibration = random.Random(3), OpenerCalibration()
    for _ in range(60):
        p = rng.choice([1e-8, 1e-6, 1e-3, 0.02, 0.6, 0.99, 0.9995])
        refused = [rng.random() < p or rng.random() < 0.1 for _ in range(10)]
        calibration.learn(opening(p), [(REFUSED, 0.95) if r else (ANSWERED, 0.05) for r in refused])
    assert calibration.openers is not None
    assert calibration.openers.guess(opening(0.999)) > 0.8
    assert calibration.openers.guess(opening(1e-4)) < 0.3


def test_the_tokens_that_open_refusals_are_learned_and_their_guess_is_calibrated() -> None:
    openers = learned(300).openers
    assert openers is not None
    assert openers.tokens == ("I",)
    for p in (0.15, 0.5, 0.85):
        assert openers.guess(opening(p)) == pytest.approx(p, abs=0.1)
    assert openers.floor == -math.inf


def test_a_token_that_opens_answers_as_often_is_no_opener() -> None:
    rng, calibration = random.Random(1), OpenerCalibration()
    for _ in range(60):
        p = rng.random()
        samples = [(REFUSED, 0.95) if rng.random() < p else (ANSWERED, 0.05) for _ in range(4)]
        samples += [("The end.", 0.95), ("The end.", 0.05)]
        calibration.learn(opening(p, noise=0.2), samples)
    assert calibration.openers is not None
    assert calibration.openers.tokens == ("I",)


def test_the_same_prompts_in_the_same_order_give_the_same_openers() -> None:
    assert learned(80).openers == learned(80).openers


def test_samples_that_begin_otherwise_than_shown_and_prompts_without_any_do_no_harm() -> None:
    calibration = learned(11)
    calibration.learn(Opening((), (), 9), [(REFUSED, 0.95)])
    calibration.learn(opening(0.9), [])
    assert calibration.openers is None, "of eleven prompts and two that teach nothing"
    for _ in range(10):
        calibration.learn(opening(0.5), [("Well, no.", 1.0)])
    assert calibration.openers is not None
    assert calibration.openers.tokens == ("I",)
