"""The head map: a mean that knows no batches, and its two ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.cliff.heads import Head, HeadMap, head_map


def _prompts(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3, 4)).astype(np.float32)


@given(st.integers(0, 99), st.integers(1, 20))
def test_the_map_is_the_float64_mean_whatever_the_order(seed: int, n: int) -> None:
    prompts = _prompts(seed, n)
    found = head_map(list(prompts))
    assert found.contributions == pytest.approx(prompts.astype(np.float64).mean(0), abs=1e-12)
    again = head_map(list(np.random.default_rng(1).permutation(prompts)))
    assert np.array_equal(found.contributions, again.contributions)


def test_the_ends_of_the_ranking_suppress_and_promote() -> None:
    found = HeadMap(np.array([[0.5, -2.0], [0.0, 3.0]]), 1)
    assert found.suppressing(3) == [Head(0, 1, -2.0)]
    assert found.promoting(2) == [Head(1, 1, 3.0), Head(0, 0, 0.5)]
    assert [head.contribution for head in found.ranked] == [-2.0, 0.0, 0.5, 3.0]


def test_what_is_no_map_is_said() -> None:
    with pytest.raises(ValueError, match="at least one"):
        head_map([])
    with pytest.raises(ValueError, match="alike"):
        head_map([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(ValueError, match="finite"):
        head_map([np.full((2, 3), np.nan)])
