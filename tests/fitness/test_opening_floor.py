"""The opening's floor: the one under which sampling would have found the most for its tokens."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fitness.openers import Openers, best_floor

OPENERS = Openers(("I",), slope=1.0, intercept=0.0)

log_odds = st.lists(st.floats(-18.0, 18.0), min_size=12, max_size=60)
costs = st.lists(st.integers(1, 500), min_size=1, max_size=60)


def found_per_token(odds: list[float], floor: float, cost: float) -> float:
    """What the docstring's equation gives for one floor."""
    sampled = [OPENERS.p_refusal(o) for o in odds if o >= floor]
    return math.fsum(sampled) / (len(odds) + cost * len(sampled))


@given(log_odds, costs)
def test_no_other_floor_would_have_found_more(odds: list[float], costs: list[int]) -> None:
    cost = sum(costs) / len(costs)
    best = found_per_token(odds, best_floor(OPENERS, odds, costs), cost)
    assert all(found_per_token(odds, other, cost) <= best * (1 + 1e-9) for other in odds)


@given(log_odds, costs)
def test_the_likeliest_prompt_is_always_sampled(odds: list[float], costs: list[int]) -> None:
    assert best_floor(OPENERS, odds, costs) <= max(odds)


@given(st.lists(st.floats(-18.0, 18.0), max_size=11), costs)
def test_of_too_few_openings_nobody_is_turned_away(odds: list[float], costs: list[int]) -> None:
    assert best_floor(OPENERS, odds, costs) == -math.inf


def test_dear_samples_raise_the_floor() -> None:
    odds = [3.0] * 4 + [0.0] * 8
    assert best_floor(OPENERS, odds, [1]) == 0.0
    assert best_floor(OPENERS, odds, [200]) == 3.0


def test_no_floor_means_no_probability() -> None:
    assert OPENERS.p_refusal(OPENERS.floor) == 0.0
    assert OPENERS.p_refusal(0.0) == 0.5
