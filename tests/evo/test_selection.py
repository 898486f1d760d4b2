"""Selection, archive and bandit: pure parts, by properties and small worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evo.archive import Added, Archive, Member
from evo.bandit import PAPER_SUCCESS, Bandit, Uniform
from evo.budget import Spent, most_proposals, room, stop_reason
from evo.collapse import WINDOW, CollapseWatch, effective_clusters
from evo.config import BudgetConfig
from evo.islands import Islands
from evo.mating import pool
from evo.selection import determinantal, distinct, novelty, ranks, tournament
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


def test_a_distinct_subset_over_many_blocks_is_that_of_one_by_one() -> None:
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(300, 16))
    vectors = centres[chance.integers(300, size=1_500)] + 0.3 * chance.normal(size=(1_500, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    fitness = chance.normal(size=1_500)
    one_by_one: list[int] = []
    for place in np.argsort(-fitness).tolist():
        if not one_by_one or (vectors[one_by_one] @ vectors[place]).max() < 0.9:
            one_by_one.append(place)
    assert 256 < len(one_by_one) < 1_500
    assert distinct(vectors, fitness, 0.9) == one_by_one


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


def test_the_bar_is_that_of_the_weakest_once_the_archive_is_full() -> None:
    archive = Archive(capacity=2)
    assert archive.bar() == -np.inf
    for name, fitness, vector in zip("ab", (-3.0, -1.0), unit(0, 90), strict=True):
        archive.add(member(name, fitness), vector)
    assert archive.bar() == -3.0
    assert archive.rescore("a", member("a", -0.5).score)
    assert archive.bar() == -1.0
    assert not archive.rescore("nobody", member("a", -0.5).score)


@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(5, 80))
def test_an_archive_keeps_its_books(seed: int, capacity: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    archive, best = Archive(capacity), -np.inf
    for i in range(n):
        vector = rng.normal(size=4)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        topic, fitness = "abc"[rng.integers(3)], float(rng.normal())
        candidate = Candidate(str(i), "", "lexical", Strategy.ANGER, (), topic, "")
        bar = archive.bar()
        added = archive.add(Member(candidate, member("", fitness).score), vector)
        best = max(best, fitness)
        assert added is not Added.NEW or fitness > bar
    assert len(archive) <= capacity
    assert archive.fitness.max() == best
    assert archive.fitness.tolist() == [m.score.fitness for m in archive.members]
    by_topic = {t: sorted(archive.places(t)) for t in archive.topics}
    assert sorted(p for places in by_topic.values() for p in places) == list(range(len(archive)))
    assert all(archive.members[p].candidate.topic == t for t, ps in by_topic.items() for p in ps)
    assert max(cell.elite.score.fitness for cell in archive.cells.values()) == best
    assert sum(cell.seen for cell in archive.cells.values()) == n
    # Never under the exact mean distance to the nearest five, where none is farther than CROWD.
    cosines = archive.vectors.rows @ archive.vectors.rows.T
    np.fill_diagonal(cosines, 0.0)
    nearest = np.sort(np.maximum(np.pad(cosines, ((0, 0), (0, 5))), 0.8), axis=1)[:, -5:]
    exact = 1.0 - nearest.mean(axis=1)
    kept = archive.novelty(np.arange(len(archive)))
    assert (kept >= exact - 1e-5).all()
    if capacity >= n and len(archive) == n:  # nobody left
        assert kept == pytest.approx(exact, abs=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 5))
def test_a_determinantal_choice_is_the_greedy_one_of_brute_force(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    q = np.exp(rng.normal(size=n))
    kernel = q[:, None] * (rows @ rows.T + 1e-3 * np.eye(n)) * q
    chosen = determinantal(rows.astype(np.float32), q, k)
    assert len(set(chosen)) == len(chosen) == min(k, n)

    def volume(subset: list[int]) -> float:
        return float(np.linalg.det(kernel[np.ix_(subset, subset)]))

    for step in range(len(chosen)):
        best = max(volume([*chosen[:step], i]) for i in range(n) if i not in chosen[:step])
        assert volume(chosen[: step + 1]) == pytest.approx(best, rel=1e-3)


def test_a_determinantal_choice_takes_the_best_of_unlike_and_leaves_a_double_for_last() -> None:
    assert determinantal(unit(0, 90), np.array([1.0, 2.0]), 2) == [1, 0]
    assert determinantal(unit(0, 0, 90), np.array([3.0, 2.9, 0.5]), 3) == [0, 2, 1]
    assert determinantal(unit(), np.array([]), 3) == []
    with pytest.raises(ValueError, match="positive"):
        determinantal(unit(0), np.array([0.0]), 1)


def test_a_pool_has_parents_of_its_topics_alone_each_once() -> None:
    archive, rng = Archive(500), np.random.default_rng(0)
    for i in range(400):
        vector = rng.normal(size=32)
        candidate = Candidate(str(i), "", "lexical", Strategy.ANGER, (), "ab"[i % 2], "")
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        archive.add(Member(candidate, member("", float(rng.normal())).score), vector)
    found = pool(archive, ["a"], {}, rng)
    assert {p.topic for p in found.parents} == {"a"}
    assert len({p.prompt_id for p in found.parents}) == len(found.parents) == 16
    one = found.parents[0].prompt_id
    assert all(p and p.prompt_id != one for p in (found.draw(rng, one) for _ in range(50)))


def test_an_island_that_yields_is_chosen_more_and_no_other_is_given_up() -> None:
    islands, rng = Islands(), np.random.default_rng(0)
    for i in range(300):
        islands.learn("rich", i % 2 == 0)
        islands.learn("poor", False)
    chosen = [islands.choose(["rich", "poor"], rng) for _ in range(500)]
    assert chosen.count("rich") > 400
    assert chosen.count("poor") > 20


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_effective_clusters_are_between_one_and_their_number(sizes: list[int]) -> None:
    assert 1 - 1e-9 <= effective_clusters(sizes) <= len(sizes) + 1e-9
    assert effective_clusters([3] * len(sizes)) == pytest.approx(len(sizes))


def test_a_collapse_is_seen_counted_once_and_over_when_there_is_variety_again() -> None:
    watch = CollapseWatch()
    for i in range(WINDOW):
        watch.note(i)
    assert watch.effective == pytest.approx(WINDOW)
    for _ in range(150):
        watch.note(0)
    assert (watch.collapsed, watch.collapses) == (True, 1)
    for i in range(WINDOW):
        watch.note(1000 + i)
    assert (watch.collapsed, watch.collapses) == (False, 1)


def test_a_collapse_that_lasts_becomes_the_measure() -> None:
    watch = CollapseWatch()
    for i in range(WINDOW):
        watch.note(i)
    for i in range(4 * WINDOW):
        watch.note(i % 3)
    assert (watch.collapsed, watch.collapses) == (False, 1)
    assert watch.best < 10


def test_without_the_bandit_all_arms_are_alike() -> None:
    rng, arms = np.random.default_rng(0), Uniform(["a", "b", "c"])
    for _ in range(100):
        arms.learn("a", won=True)
    drawn = [arms.choose(rng) for _ in range(900)]
    assert min(drawn.count(arm) for arm in "abc") > 240
    assert "a" not in {arms.choose(rng, frozenset("a")) for _ in range(50)}
    assert "a" not in {Bandit({"a": 0.9, "b": 0.1}).choose(rng, frozenset("a")) for _ in range(50)}


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


def test_descendants_of_a_seed_that_has_given_much_are_drawn_less() -> None:
    rng = np.random.default_rng(3)
    archive = Archive(64)
    for n in range(40):
        vector = rng.normal(size=32).astype(np.float32)
        vector /= np.linalg.norm(vector)
        origin = "rich" if n % 2 else "poor"
        name = f"{n:032x}"
        candidate = Candidate(name, str(n), "lexical", Strategy.ANGER, (), "a", origin)
        archive.add(Member(candidate, Score(-1.0, -1.0, None, None, 0.4, 0.0, 1.0, 2, 0)), vector)

    def share(given: dict[str, int]) -> float:
        drawn = [pool(archive, ["a"], given, rng).draw(rng) for _ in range(300)]
        return sum(d is not None and d.seed_id == "rich" for d in drawn) / len(drawn)

    assert share({"rich": 30, "poor": 1}) < 0.25 < 0.4 < share({})
