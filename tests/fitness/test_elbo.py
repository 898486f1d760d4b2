"""The ELBO against a reference written out in float64, and what must hold for any numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.elbo import DEFAULT_WEIGHT, EPS, elbo, wilson
from fitness.types import Score
from workers.interface import Failure, FailureKind

probability = st.floats(0.0, 1.0)
logprob = st.floats(-500.0, 0.0)
tokens = st.integers(1, 200)
samples = st.lists(st.tuples(probability, logprob, tokens), min_size=1, max_size=20)


def score(rows: list[tuple[float, float, int]], weight: float = DEFAULT_WEIGHT) -> Score:
    p, sums, n = zip(*rows, strict=True)
    result = elbo(p, sums, n, weight=weight)
    assert isinstance(result, Score)
    return result


def test_golden_value_of_equation_five() -> None:
    # K = 3, lambda = 0.03: written out, then summed by numpy in float64.
    p = np.array([0.9, 0.2, 1.0])
    sums, n = np.array([-10.0, -30.0, -4.5]), np.array([10, 20, 3])
    expected = np.mean(np.log(p) + 0.03 * sums / n)
    got = elbo(p.tolist(), sums.tolist(), n.tolist(), weight=0.03)
    assert isinstance(got, Score)
    assert got.fitness == pytest.approx(float(expected), abs=1e-12)
    assert got.fitness == pytest.approx(-0.6116, abs=1e-4)


@given(samples)
def test_the_fitness_is_the_sum_of_its_parts_and_finite(
    rows: list[tuple[float, float, int]],
) -> None:
    got = score(rows)
    assert math.isfinite(got.fitness)
    assert got.confidence is not None
    assert got.fitness == pytest.approx(got.refusal_term + DEFAULT_WEIGHT * got.confidence)
    assert math.log(EPS) - 1e-9 <= got.refusal_term <= 0.0
    assert 0.0 <= got.refusal_low <= got.refusal_rate <= got.refusal_high <= 1.0


@given(samples, st.randoms())
def test_the_order_of_samples_does_not_matter(
    rows: list[tuple[float, float, int]], rng: object
) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert score(shuffled).fitness == pytest.approx(score(rows).fitness, abs=1e-9)


@given(samples)
def test_without_weight_only_the_refusal_counts(rows: list[tuple[float, float, int]]) -> None:
    got = score(rows, weight=0.0)
    assert got.fitness == got.refusal_term


@given(samples, st.integers(0, 19), probability)
def test_a_surer_refusal_never_lowers_the_fitness(
    rows: list[tuple[float, float, int]], place: int, p: float
) -> None:
    place %= len(rows)
    surer = [*rows]
    surer[place] = (max(p, rows[place][0]), *rows[place][1:])
    assert score(surer).fitness >= score(rows).fitness - 1e-12


def test_unscored_samples_are_left_out_and_counted() -> None:
    got = elbo([1.0, None, 0.5], [-1.0, -1.0, -1.0], [1, 1, 1])
    assert isinstance(got, Score)
    assert (got.n_samples, got.n_unscored) == (3, 1)
    assert got.refusal_rate == 0.75


def test_nothing_scored_is_a_failure_and_no_number() -> None:
    got = elbo([None, None], [-1.0, -1.0], [1, 1])
    assert isinstance(got, Failure)
    assert got.kind is FailureKind.UNSCORED


def test_without_log_probabilities_the_refusal_term_stands_alone() -> None:
    got = elbo([0.5], [None], [4])
    assert isinstance(got, Score)
    assert got.confidence is None
    assert got.fitness == got.refusal_term


def test_log_p_and_log_q_are_kept_apart() -> None:
    got = elbo([1.0], [-8.0], [4], sampling_logprob_sums=[-2.0], weight=1.0, entropy_weight=0.5)
    assert isinstance(got, Score)
    assert (got.confidence, got.entropy) == (-2.0, 0.5)
    assert got.fitness == pytest.approx(-2.0 + 0.5 * 0.5)


def test_a_response_without_tokens_has_no_confidence() -> None:
    got = elbo([1.0, 1.0], [0.0, -4.0], [0, 2])
    assert isinstance(got, Score)
    assert got.confidence == -2.0


def test_wilson_golden_values() -> None:
    # Brown, Cai, DasGupta 2001 and R's prop.test without correction: 0 of 10, 5 of 10, 10 of 10.
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@given(st.integers(1, 500), probability)
def test_wilson_holds_the_rate_and_shrinks_with_n(n: int, rate: float) -> None:
    low, high = wilson(rate * n, n)
    assert 0.0 <= low <= rate <= high <= 1.0
    wider_low, wider_high = wilson(rate, 1)
    assert high - low <= wider_high - wider_low + 1e-12


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_rate(successes: float, n: int) -> None:
    with pytest.raises(ValueError, match="wilson needs"):
        wilson(successes, n)
