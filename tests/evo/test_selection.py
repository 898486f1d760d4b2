"""Selection, archive and bandit: pure parts, by properties and small worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evo.archive import Added, Archive, Member, Vectors
from evo.bandit import PAPER_SUCCESS, Bandit
from evo.budget import Spent, most_proposals, room, stop_reason
from evo.config import BudgetConfig
from evo.selection import distinct, novelty, ranks, tournament
from evo.types import MUTATIONS, Candidate, Strategy
from fitness.types import Score


def unit(*angles: float) -> NDArray[np.float32]:
    """Unit vectors in the plane, by their angles in degrees: (n, 2)."""
    radians = np.deg2rad(np.array(angles))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def member(name: str, fitness: float) -> Member:
    candidate = Candidate(name, name, "lexical", Strategy.ANGER, (), None, name)
    return Member(candidate, Score(fitness, fitness, None, None, 0.5, 0.0, 1.0, 4, 0))


def names(archive: Archive) -> list[str]:
    return [m.candidate.prompt_id for m in archive.members]


def test_novelty_is_the_mean_cosine_distance_to_the_nearest() -> None:
    vectors = unit(0, 90, 180)
    assert novelty(vectors, neighbours=1) == pytest.approx([1.0, 1.0, 1.0], abs=1e-6)
    assert novelty(vectors, neighbours=2) == pytest.approx([1.5, 1.0, 1.5], abs=1e-6)
    assert novelty(unit(10)) == pytest.approx([1.0])
    assert novelty(unit(10, 10)) == pytest.approx([0.0, 0.0], abs=1e-6)


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=20))
def test_ranks_keep_the_order_and_give_equals_the_same(values: list[int]) -> None:
    ranked = ranks(np.array(values, dtype=float))
    assert ((ranked >= 0) & (ranked <= 1)).all()
    for a, x in zip(values, ranked, strict=True):
        for b, y in zip(values, ranked, strict=True):
            assert (a < b) == (x < y)


def test_the_fitter_and_the_more_unlike_win_more_often() -> None:
    rng = np.random.default_rng(0)
    wins = np.bincount(
        [tournament(np.array([0.0, 1.0, 2.0, 3.0]), np.ones(4), rng) for _ in range(2000)]
    )
    assert list(np.argsort(wins)) == [0, 1, 2, 3]
    by_novelty = np.bincount(
        [tournament(np.ones(3), np.array([0.1, 0.5, 0.9]), rng) for _ in range(2000)]
    )
    assert list(np.argsort(by_novelty)) == [0, 1, 2]


@given(
    st.lists(st.tuples(st.floats(0, 360), st.floats(-9, 0)), min_size=1, max_size=25),
    st.floats(0.1, 0.99),
)
def test_a_distinct_subset_has_no_two_alike_and_leaves_nobody_without_a_like(
    points: list[tuple[float, float]], nearest: float
) -> None:
    vectors = unit(*(angle for angle, _ in points))
    fitness = np.array([f for _, f in points])
    chosen = distinct(vectors, fitness, nearest)
    cosines = vectors @ vectors.T
    for place in chosen:
        assert all(cosines[place, other] < nearest for other in chosen if other != place)
    for place in set(range(len(points))) - set(chosen):
        assert any(
            cosines[place, other] >= nearest and fitness[other] >= fitness[place]
            for other in chosen
        )
    assert fitness[chosen[0]] == fitness.max()


def test_a_newcomer_beside_a_member_competes_with_that_one_alone() -> None:
    archive = Archive(capacity=2, niche=0.9)
    east, near_east, north, west = unit(0, 5, 90, 180)
    assert archive.add(member("east", -2.0), east) is Added.NEW
    assert archive.add(member("weaker", -3.0), near_east) is Added.REJECTED
    assert archive.add(member("stronger", -1.0), near_east) is Added.REPLACED
    assert archive.add(member("north", -5.0), north) is Added.NEW
    assert names(archive) == ["stronger", "north"]
    # Full: elsewhere the least of all gives way, but only to a fitter one.
    assert archive.add(member("west", -6.0), west) is Added.REJECTED
    assert archive.add(member("fitter", -4.0), west) is Added.NEW
    assert names(archive) == ["stronger", "fitter"]
    assert archive.vectors.rows == pytest.approx(np.stack([near_east, west]))


def test_vectors_grow_and_answer_with_every_cosine() -> None:
    vectors = Vectors()
    assert vectors.similarities(unit(0)[0]).shape == (0,)
    angles = np.linspace(0, 179, 200)
    for vector in unit(*angles):
        vectors.add(vector)
    assert len(vectors) == 200
    found = vectors.similarities(unit(0)[0])
    assert found == pytest.approx(np.cos(np.deg2rad(angles)), abs=1e-5)


def test_a_bandit_starts_from_the_paper_and_learns_what_wins() -> None:
    assert set(PAPER_SUCCESS) == set(MUTATIONS)
    rng = np.random.default_rng(0)
    bandit = Bandit(dict.fromkeys("abc", 0.1))
    for _ in range(600):
        arm = bandit.choose(rng)
        bandit.learn(arm, won=rng.random() < {"a": 0.05, "b": 0.6, "c": 0.05}[arm])
    late = [bandit.choose(rng) for _ in range(200)]
    assert late.count("b") > 150
    bandit.learn("never heard of", won=True)


def test_a_bandit_forgets() -> None:
    rng = np.random.default_rng(1)
    bandit = Bandit(dict.fromkeys("ab", 0.5))
    for _ in range(300):
        bandit.learn("a", won=True)
        bandit.learn("b", won=False)
    for _ in range(600):  # the world has turned
        bandit.learn("a", won=False)
        bandit.learn("b", won=True)
    assert [bandit.choose(rng) for _ in range(100)].count("b") > 90


def test_each_budget_ends_the_run_with_its_reason() -> None:
    budget = BudgetConfig(evaluations=10, target_tokens=100, wall_clock=5.0, stall=7)
    assert stop_reason(budget, Spent(9, 99, 4.9, 6)) is None
    assert "10 evaluations" in str(stop_reason(budget, Spent(evaluations=10)))
    assert "100 target tokens" in str(stop_reason(budget, Spent(target_tokens=100)))
    assert "5 s of wall clock" in str(stop_reason(budget, Spent(wall_s=5.0)))
    assert "stall" in str(stop_reason(budget, Spent(stalled=7)))
    assert "200 proposals" in str(stop_reason(budget, Spent(proposals=200)))
    assert most_proposals(BudgetConfig(evaluations=10, proposals=12)) == 12
    assert most_proposals(BudgetConfig(wall_clock=1.0)) > 10**5


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_there_is_never_room_beyond_the_budget(done: int, under_way: int, wanted: int) -> None:
    free = room(BudgetConfig(evaluations=40), Spent(done, proposals=done), under_way, wanted)
    assert 0 <= free <= wanted
    assert free == 0 or done + under_way + free <= 40
