"""How many samples a prompt is worth: bounds, and when each of the two questions is settled."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from fitness.elbo import terms
from fitness.racing import place_is_open, side_is_open, wanted

rates = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)
bars = st.one_of(st.just(-math.inf), st.floats(-10.0, 0.0))
guesses = st.one_of(st.none(), st.floats(0.0, 1.0))


@settings(deadline=None)  # the first call loads scipy
@given(rates, st.integers(1, 6), st.integers(0, 8), st.floats(0.05, 1.0), bars, guesses)
def test_what_is_wanted_lies_between_what_is_there_and_the_most(
    p: list[float], first: int, more: int, threshold: float, bar: float, guess: float | None
) -> None:
    most, n = first + more, len(p)
    count = wanted(
        p,
        terms(p, [None] * n, [1] * n),
        n=n,
        first=first,
        most=most,
        threshold=threshold,
        bar=bar,
        guess=guess,
    )
    assert count >= min(n, most)
    assert count <= max(n, most)
    if n >= most:
        assert count == n
    elif n < first:
        assert count == first


@settings(deadline=None)
@given(st.floats(0.0, 1.0), guesses)
def test_a_race_that_is_open_all_along_takes_two_four_seven_and_ten(
    p: float, guess: float | None
) -> None:
    counts, n = [], 0
    while True:
        # The bar lies where the mean is: the second question never ends.
        said = [p] * n
        mean = math.log(max(p, 1e-4))
        n_next = wanted(
            said, [mean] * n, n=n, first=2, most=10, threshold=0.5, bar=mean, guess=guess
        )
        if n_next == n:
            break
        counts.append(n := n_next)
    assert counts == [2, 4, 7, 10]


def test_samples_that_agree_end_the_race_and_samples_that_do_not_go_on() -> None:
    assert not side_is_open([1.0] * 4, 0.5, None)
    assert not side_is_open([0.0] * 4, 0.5, None)
    assert side_is_open([1.0, 0.0, 1.0, 0.0], 0.5, None)


@settings(deadline=None)
@given(st.integers(2, 10), st.floats(0.2, 0.8))
def test_what_all_samples_say_is_no_question_whatever_the_bar_far_away(
    n: int, threshold: float
) -> None:
    assert wanted([0.0] * n, [-9.2] * n, n=n, first=2, most=10, threshold=threshold, bar=0.0) == n


def test_a_guess_closes_a_race_that_samples_alone_leave_open_or_opens_a_closed_one() -> None:
    assert side_is_open([1.0, 0.0], 0.5, None)
    assert not side_is_open([1.0, 0.0], 0.5, 0.02)
    assert not side_is_open([1.0, 1.0], 0.5, None)
    assert side_is_open([1.0, 1.0], 0.5, 0.1)


@settings(deadline=None)
@given(rates, st.floats(0.1, 0.9))
def test_a_guess_that_says_what_the_samples_say_never_reopens_the_race(
    p: list[float], threshold: float
) -> None:
    for sure in (0.0, 1.0):
        if not side_is_open([sure] * len(p), threshold, None):
            assert not side_is_open([sure] * len(p), threshold, sure)


@settings(deadline=None)
@given(st.lists(st.floats(-9.5, 0.0), min_size=1, max_size=10), st.floats(0.0, 100.0))
def test_a_place_is_open_only_near_the_bar(values: list[float], away: float) -> None:
    mean = math.fsum(values) / len(values)
    assert place_is_open(values, mean)
    assert not place_is_open(values, -math.inf)
    # 0.67 spreads at most of the widest spread that values in [-9.5, 0] have.
    assert not place_is_open(values, mean + 7.0 + away)


def test_without_scored_samples_no_place_is_won() -> None:
    assert not place_is_open([], -1.0)


@settings(deadline=None)
@given(st.integers(1, 9), st.floats(-3.0, -0.1))
def test_more_samples_of_a_kind_close_what_fewer_leave_open(n: int, mean: float) -> None:
    beside = mean + 0.3
    if not place_is_open([mean] * n, beside):
        assert not place_is_open([mean] * (n + 1), beside)
