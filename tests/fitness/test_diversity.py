"""MSTTR and the mean distance of pairs, by what they promise and by counting out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.metrics import mean_distance, msttr, words


def test_words_are_lower_case_and_without_punctuation() -> None:
    assert words("“Kill” the PROCESS; it's 9 o’clock!") == [
        "kill",
        "the",
        "process",
        "it's",
        "9",
        "o’clock",
    ]


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60), st.integers(1, 20))
def test_msttr_is_the_mean_over_whole_windows(tokens: list[str], window: int) -> None:
    whole = [tokens[i : i + window] for i in range(0, len(tokens), window)]
    counted = [w for w in whole if len(w) == window] or [tokens]
    expected = np.mean([len(set(w)) / len(w) for w in counted])
    assert msttr(tokens, window) == pytest.approx(float(expected))


def test_msttr_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs tokens"):
        msttr([])


@given(st.integers(2, 12), st.integers(0, 1000))
def test_mean_distance_is_the_mean_over_pairs(n: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [1.0 - float(rows[i] @ rows[j]) for i in range(n) for j in range(i)]
    assert mean_distance(rows) == pytest.approx(float(np.mean(pairs)), abs=1e-5)


def test_one_vector_has_no_distance() -> None:
    with pytest.raises(ValueError, match="two vectors"):
        mean_distance(np.ones((1, 3), dtype=np.float32))
