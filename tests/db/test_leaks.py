"""What must stay on one side of a split, and what a benchmark knows."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from db import leaks
from db.leaks import Match, Prompts, components, contaminated, split
from workers.interface import ConfigError


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clustered(n: int, seed: int, dim: int = 8, spread: float = 0.3) -> NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(max(1, n // 4), dim))
    return unit(
        centres[chance.integers(len(centres), size=n)] + spread * chance.normal(size=(n, dim))
    )


@st.composite
def sets(draw: st.DrawFn, least: int = 0) -> tuple[NDArray[np.float32], list[list[int]], float]:
    n = draw(st.integers(least, 40))
    lineage = draw(st.lists(st.lists(st.integers(0, 20), max_size=2), min_size=n, max_size=n))
    cosine = draw(st.floats(0.5, 1.0))
    return clustered(n, draw(st.integers(0, 99))), lineage, cosine


@given(sets())
def test_no_near_pair_and_no_lineage_lies_in_two_groups(
    given_: tuple[NDArray[np.float32], list[list[int]], float],
) -> None:
    vectors, lineage, cosine = given_
    groups = components(vectors, lineage, cosine)
    for i in range(len(vectors)):
        for j in range(i):
            exact = float(vectors[i].astype(float) @ vectors[j].astype(float))
            if exact >= cosine or set(lineage[i]) & set(lineage[j]):
                assert groups[i] == groups[j]


@given(sets())
def test_groups_are_no_larger_than_they_must_be_and_named_by_their_first_row(
    given_: tuple[NDArray[np.float32], list[list[int]], float],
) -> None:
    vectors, lineage, cosine = given_
    groups = components(vectors, lineage, cosine)
    reached = list(range(len(vectors)))  # the slow way: the smallest label spreads along the edges
    similar = vectors @ vectors.T >= cosine - 1e-5
    for _ in reached:
        for i in range(len(vectors)):
            for j in range(len(vectors)):
                if similar[i, j] or set(lineage[i]) & set(lineage[j]):
                    reached[i] = min(reached[i], reached[j])
    assert groups.tolist() == reached


@given(sets())
def test_tiles_and_unions_in_pieces_change_nothing(
    given_: tuple[NDArray[np.float32], list[list[int]], float],
) -> None:
    whole = components(*given_)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leaks, "_TILE", 7)
        patched.setattr(leaks, "_WAITING", 2)
        assert components(*given_).tolist() == whole.tolist()


def test_a_row_without_a_vector_is_near_to_none() -> None:
    vectors = np.zeros((3, 4), dtype=np.float32)
    assert components(vectors, [[], [], []], 0.9).tolist() == [0, 1, 2]


def test_twenty_thousand_rows_are_grouped_in_little_memory() -> None:
    vectors = clustered(20_000, 0, dim=32)
    tracemalloc.start()
    groups = components(vectors, [()] * len(vectors), 0.97)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(groups.tolist())) < len(vectors)
    assert peak < 300e6  # all cosines at once are 1.6 GB


def test_a_lineage_of_another_length_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="2 vectors, but the lineage of 1"):
        components(np.eye(2, dtype=np.float32), [["a"]], 0.9)


SHARES = [{"train": 0.9, "test": 0.1}, {"train": 0.6, "validation": 0.2, "test": 0.2}]


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=200),
    st.sampled_from(SHARES),
    st.integers(0, 2**63 - 1),
)
def test_every_row_is_on_one_side_with_its_group_and_no_side_is_empty(
    groups: list[int], shares: dict[str, float], seed: int
) -> None:
    if len(set(groups)) < len(shares):
        groups = [*groups, 100, 101, 102]
    sides = split(np.array(groups), shares, seed)
    assert len(sides) == len(groups)
    assert set(sides.tolist()) == set(range(len(shares)))
    assert len({(g, s) for g, s in zip(groups, sides.tolist(), strict=True)}) == len(set(groups))
    assert sides.tolist() == split(np.array(groups), shares, seed).tolist()


@given(st.integers(0, 1000), st.sampled_from(SHARES))
def test_the_shares_come_out_as_asked_where_groups_are_small(
    seed: int, shares: dict[str, float]
) -> None:
    groups = np.random.default_rng(seed).integers(300, size=1000)
    largest = max(Counter(groups.tolist()).values())
    sides = Counter(split(groups, shares, seed).tolist())
    for place, share in enumerate(shares.values()):
        assert abs(sides[place] - 1000 * share) <= largest


def test_a_large_group_may_come_to_the_small_side_too() -> None:
    groups = np.array([0] * 8 + list(range(8, 100)))
    sides = {int(split(groups, {"train": 0.9, "test": 0.1}, seed)[0]) for seed in range(60)}
    assert sides == {0, 1}


def test_another_seed_is_another_split() -> None:
    groups = np.arange(100)
    assert len({tuple(split(groups, SHARES[0], seed).tolist()) for seed in range(5)}) == 5


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({}, "a split into nothing"),
        ({"train": 0.9, "test": 0.2}, "add up to 1.1, not to 1"),
        ({"train": 1.0, "test": 0.0}, "every share must be above 0"),
        ({"train": float("nan"), "test": 0.5}, "every share must be above 0"),
        ({"a": 0.3, "b": 0.3, "c": 0.4}, "the 5 rows are 2 groups that cannot be cut"),
    ],
)
def test_a_split_that_cannot_be_made_says_why(shares: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        split(np.array([0, 0, 0, 0, 4]), shares, 0)


def test_a_benchmark_is_found_again_by_text_and_by_vector() -> None:
    rows = Prompts(["ＫＩＬＬ a\n process", "Stop it, please", "Fine"], unit(np.eye(3) + 0.01))
    benchmark = Prompts(
        ["other", "kill a process", "stop it"], unit(np.array([[0, 0, -1], [0, -1, 0], [0, 1, 0]]))
    )
    exact, near = contaminated(rows, benchmark, 0.95)
    assert (exact.row, exact.benchmark_row, exact.is_exact) == (0, 1, True)
    assert (near.row, near.benchmark_row, near.is_exact) == (1, 2, False)
    assert near.cosine == pytest.approx(0.9999, abs=1e-3)


def test_without_vectors_only_texts_are_compared() -> None:
    vectors = unit(np.ones((1, 4)))
    assert contaminated(Prompts(["a"], vectors), Prompts(["b"]), 0.9) == []
    assert contaminated(Prompts(["a"], vectors), Prompts(["A "]), 0.9) == [Match(0, 0, True, None)]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 99), st.floats(0.5, 1.0))
def test_contamination_equals_the_slow_way(n: int, m: int, seed: int, cosine: float) -> None:
    both = clustered(n + m, seed)
    rows, known = both[:n], both[n:]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leaks, "_TILE", 7)
        found = contaminated(
            Prompts([f"row {i}" for i in range(n)], rows),
            Prompts([f"known {i}" for i in range(m)], known),
            cosine,
        )
    similarity = rows @ known.T if m else np.zeros((n, 1))
    over = [i for i in range(n) if m and similarity[i].max() >= cosine - 1e-5]
    assert [match.row for match in found] == over
    for match in found:
        assert match.cosine == pytest.approx(similarity[match.row].max(), abs=1e-5)
