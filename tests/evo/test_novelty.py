"""The novelty memory: as exact as the product with every vector, bounded, forgetting the oldest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evo.novelty import NoveltyMemory


def units(n: int, dim: int, seed: int, spread: float = 1.0) -> NDArray[np.float32]:
    """Unit vectors around one direction; the smaller the spread, the more alike."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=dim) + spread * rng.normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 40),
    st.floats(0.01, 3.0),
    st.floats(-0.5, 1.0),
    st.integers(0, 99),
)
def test_it_finds_what_the_whole_product_finds(
    n: int, dim: int, spread: float, least: float, seed: int
) -> None:
    known, asked = units(n, dim, seed, spread), units(7, dim, seed + 1, spread)
    memory = NoveltyMemory()
    for vector in known:
        memory.add(vector)
    exact = (asked @ known.T).max(axis=1)
    found = memory.nearest(asked, least)
    clear = np.abs(exact - least) > 1e-5
    assert np.allclose(found[clear & (exact >= least)], exact[clear & (exact >= least)], atol=1e-5)
    assert (found[clear & (exact < least)] == -1.0).all()


def test_it_remembers_the_newest_and_its_memory_is_bounded() -> None:
    memory = NoveltyMemory(most=100)
    vectors = units(250, 16, seed=0)
    for vector in vectors:
        memory.add(vector)
    assert len(memory) == 100
    assert memory.nearest(vectors[150:], 0.999) == pytest.approx(1.0)
    assert memory._rows is not None
    assert memory._rows.shape == (100, 16)


def test_an_empty_memory_knows_nothing_near() -> None:
    assert NoveltyMemory().nearest(units(3, 8, 0), 0.5).tolist() == [-1.0] * 3
