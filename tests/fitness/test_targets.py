"""Several targets, one score."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.elbo import elbo
from fitness.targets import Over, combine, combined_score, of_config
from fitness.types import Evaluation, Score

numbers = st.floats(-20, 1, allow_subnormal=False)
several = st.lists(numbers, min_size=1, max_size=6)
shares = st.floats(0, 1)
overs = st.one_of(
    st.just(Over("mean")), st.just(Over("min")), shares.map(lambda q: Over("quantile", q))
)


def score_of(rates: list[float]) -> Score:
    made = elbo(rates, [-2.0] * len(rates), [4] * len(rates))
    assert isinstance(made, Score)
    return made


scores = st.lists(st.floats(0, 1), min_size=1, max_size=5).map(score_of)


@given(several, overs)
def test_the_statistic_lies_between_the_least_and_the_greatest(
    values: list[float], over: Over
) -> None:
    assert min(values) <= over.of(values) <= max(values)


@given(several, shares, shares)
def test_a_quantile_grows_with_its_share_from_the_minimum_to_the_maximum(
    values: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert Over("quantile", 0.0).of(values) == Over("min").of(values)
    assert Over("quantile", low).of(values) <= Over("quantile", high).of(values) + 1e-9
    assert Over("quantile", 1.0).of(values) == max(values)


@given(numbers, numbers, st.floats(0, 0.5))
def test_of_two_targets_a_lower_quantile_is_between_minimum_and_mean(
    one: float, other: float, share: float
) -> None:
    middle = Over("quantile", share).of([one, other])
    assert Over("min").of([one, other]) <= middle <= Over("mean").of([one, other]) + 1e-9


@given(several, st.randoms(use_true_random=False), overs)
def test_the_order_of_targets_says_nothing(values: list[float], dice, over: Over) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(values)
    dice.shuffle(shuffled)
    assert over.of(shuffled) == over.of(values)


@given(several, st.integers(0, 5), st.floats(0, 3), overs)
def test_no_target_that_refuses_more_lowers_the_fitness(
    values: list[float], place: int, more: float, over: Over
) -> None:
    raised = list(values)
    raised[place % len(values)] += more
    assert over.of(raised) >= over.of(values) - 1e-9


@given(st.lists(scores, min_size=1, max_size=4), overs)
def test_a_combined_score_is_a_score_whose_rate_lies_in_its_interval(
    parts: list[Score], over: Over
) -> None:
    whole = combined_score(parts, over)
    assert 0.0 <= whole.refusal_low <= whole.refusal_rate <= whole.refusal_high <= 1.0
    assert whole.n_samples == sum(p.n_samples for p in parts)


@given(scores, overs)
def test_one_target_alone_keeps_its_score(score: Score, over: Over) -> None:
    assert combined_score([score], over) == score


def test_confidence_is_unknown_unless_every_target_has_one() -> None:
    known = score_of([1.0])
    assert combined_score([known, replace(known, confidence=None)], Over()).confidence is None


def test_costs_add_up_and_each_target_keeps_what_is_its_own() -> None:
    one = Evaluation("p", (), score_of([1.0]), 1, 10, 20, 0.5, 0.25)
    other = Evaluation("p", (), score_of([0.0, 0.0]), 2, 30, 40, 1.5, 0.5)
    whole = combine({"b": one, "a": other}, Over("min"))
    assert whole.by_target == (("a", other), ("b", one))
    assert (whole.n_new, whole.target_tokens, whole.prompt_tokens) == (3, 40, 60)
    assert (whole.engine_s, whole.cost_usd) == (2.0, 0.75)
    assert whole.score.refusal_rate == 0.0


def test_no_other_statistic_is_taken() -> None:
    with pytest.raises(ValueError, match="median"):
        Over("median")
    assert of_config({"targets": {}}) is None
    assert of_config({"targets": {"a": {}}, "search": {"fitness_over": "min"}}) == Over("min")
