"""Neighbours and the novelty memory: as exact as the product with every vector, bounded, forgetting the oldest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evo.neighbours import Neighbours
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
    assert (memory.nearest(vectors[:150], 0.999) == -1.0).all()


def test_an_empty_memory_knows_nothing_near() -> None:
    assert NoveltyMemory().nearest(units(3, 8, 0), 0.5).tolist() == [-1.0] * 3


@pytest.mark.parametrize("n", [200, 2100])  # before and after there are axes
@pytest.mark.parametrize("spread", [0.02, 0.5, 2.0])
def test_all_within_a_cosine_are_found_with_their_places_after_replacements(
    n: int, spread: float
) -> None:
    rows, news = units(n, 48, 1, spread), units(n, 48, 2, spread)
    neighbours = Neighbours()
    assert [neighbours.add(v) for v in rows] == list(range(n))
    for place in range(0, n, 3):
        neighbours.replace(place, news[place])
        rows[place] = news[place]
    asked = units(20, 48, 3, spread)
    cosines = asked @ rows.T
    for least in (0.0, 0.5, 0.9):
        nearest, best = neighbours.nearest(asked, least)
        for i, vector in enumerate(asked):
            places, found = neighbours.within(vector, least)
            sure = set(np.flatnonzero(cosines[i] >= least + 1e-5))
            assert sure <= set(places) <= set(np.flatnonzero(cosines[i] >= least - 1e-5))
            assert found == pytest.approx(cosines[i][places], abs=1e-5)
            if sure:
                assert best[i] == pytest.approx(cosines[i].max(), abs=1e-5)
                assert cosines[i][nearest[i]] == pytest.approx(best[i], abs=1e-5)


@pytest.mark.parametrize("n", [600, 2100])
def test_vectors_without_favoured_directions_get_a_head_that_tells_them_apart(n: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, 384), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    neighbours = Neighbours()
    for row in rows:
        neighbours.add(row)
    bounds = neighbours._bounds(rows[:20])
    assert bounds is not None
    assert (bounds >= 0.8).mean() < 0.05
    places, cosines = neighbours.nearest(rows[:20], 0.8)
    assert places.tolist() == list(range(20))
    assert cosines == pytest.approx(1.0, abs=1e-5)


def test_a_place_that_is_not_there_cannot_be_replaced() -> None:
    with pytest.raises(IndexError, match="place 0 of 0"):
        Neighbours().replace(0, units(1, 4, 0)[0])
