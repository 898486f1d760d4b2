"""Centroids, cosines and projections against scipy and float64; the four signatures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine as scipy_cosine_distance

from fitness.directions import (
    Centroids,
    Signature,
    centroid,
    cosine,
    delta,
    projection,
    scores,
    signature_of_answers,
    signature_of_states,
)


def _states(seed: int, n: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    # Uneven scales and a large offset, as hidden states have them.
    scale = rng.lognormal(0.0, 2.0, size=(1, 5, 32))
    return (rng.normal(size=(n, 5, 32)) * scale + 3.0).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scipy_in_float64(seed: int) -> None:
    states, first = _states(seed), np.arange(40) % 3 == 0
    found = scores(states, Centroids.of(states, first))
    exact = states.astype(np.float64)
    mu_1, mu_2 = exact[first].mean(axis=0), exact[~first].mean(axis=0)
    for i in range(40):
        for layer in range(5):
            h = exact[i, layer]
            wanted = scipy_cosine_distance(h, mu_2[layer]) - scipy_cosine_distance(h, mu_1[layer])
            assert found[i, layer] == pytest.approx(wanted, abs=1e-5)
    assert delta(states, Centroids.of(states, first)) == pytest.approx(
        found.mean(axis=1), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_projection_and_a_centroid_are_those_of_float64(seed: int) -> None:
    states = _states(seed)
    way = _states(seed + 100, 1)[0]  # (5, 32)
    exact, exact_way = states.astype(np.float64), way.astype(np.float64)
    wanted = (exact * exact_way).sum(-1) / np.sqrt((exact_way**2).sum(-1))
    assert projection(states, way) == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    assert centroid(states) == pytest.approx(np.add.reduce(exact) / 40, rel=1e-7)


def test_a_centroid_is_summed_in_float64() -> None:
    states = np.full((100_000, 1, 1), 0.1, dtype=np.float16)
    assert centroid(states)[0, 0] == pytest.approx(float(np.float16(0.1)), abs=1e-9)


def test_a_zero_vector_has_cosine_zero_and_no_nan() -> None:
    states = np.zeros((2, 3, 4), dtype=np.float32)
    states[1] = 1.0
    centroids = Centroids(np.ones((3, 4)), np.zeros((3, 4)))
    assert scores(states, centroids).tolist() == [[0.0] * 3, [1.0] * 3]
    assert projection(states, np.zeros(4)).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("scale", [1e-9, 1e30, 1e200])
def test_the_cosine_of_huge_or_tiny_vectors_is_that_of_ordinary_ones(scale: float) -> None:
    a, b = np.array([1.0, 2.0, -3.0]), np.array([0.5, -1.0, 2.0])
    assert cosine(a * scale, b * scale) == pytest.approx(cosine(a, b), abs=1e-12)


def test_centroids_need_both_groups() -> None:
    with pytest.raises(ValueError, match="centroid"):
        Centroids.of(_states(0), np.ones(40, dtype=bool))
    with pytest.raises(ValueError, match="mask"):
        Centroids.of(_states(0), np.ones(39, dtype=bool))
    broken = _states(0)
    broken[3, 1, 4] = np.nan
    with pytest.raises(ValueError, match="finite"):
        centroid(broken)


@pytest.mark.parametrize(
    ("harmful", "refuse", "wanted"),
    [
        (-0.1, 0.1, Signature.OVER_REFUSED),
        (0.1, 0.1, Signature.RIGHTLY_REFUSED),
        (-0.1, -0.1, Signature.RIGHTLY_ANSWERED),
        (0.1, -0.1, Signature.SUPPRESSED),
        (0.0, 0.0, Signature.SUPPRESSED),  # harmful from alpha on, refusing above 0 alone
    ],
)
def test_each_pair_of_signs_has_its_signature(
    harmful: float, refuse: float, wanted: Signature
) -> None:
    assert signature_of_states(harmful, refuse) is wanted


@given(st.floats(-2, 2), st.floats(0, 1))
def test_belief_and_deed_each_decide_one_half_of_a_signature(harmful: float, rate: float) -> None:
    found = signature_of_answers(harmful, rate)
    assert (found in (Signature.RIGHTLY_REFUSED, Signature.SUPPRESSED)) == (harmful >= 0)
    assert (found in (Signature.RIGHTLY_REFUSED, Signature.OVER_REFUSED)) == (rate >= 0.5)
