"""Killed and resumed, a run decides as the undisturbed one, its answers replayed from the store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

import db
from db import queries
from db.models import Cliff, Sample, Untraced
from db.store import Store
from evo.asktell import Search
from evo.config import validate
from evo.types import RESAMPLE
from fitness.types import CliffTrace, NoTrace, ScreenedOut
from tests.fake_tracer import VERSION, FakeTracer
from tests.loop_fakes import SEEDS
from tests.real_replaying import RealParts
from tests.replaying import CountingEngine, a_loop, begin, by_hash, decisions, live, settings
from workers.interface import FailureKind


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/replay.db")) as opened:
        yield opened


def test_a_killed_run_decides_as_the_undisturbed_one_whose_answers_the_store_replays(
    store: Store,
) -> None:
    chosen = settings()
    first = begin(store, chosen)
    _, ended = live(store, first, chosen, CountingEngine(by_hash))
    assert ended
    undisturbed = decisions(store.replay(first, samples=True))
    kinds = {o.failure.kind for o in undisturbed if o.failure}
    gated = {FailureKind.NOT_NOVEL, FailureKind.NOT_HARMLESS}
    assert {FailureKind.SCREENED, *gated} <= kinds, "a gate or screen that this says nothing of"
    assert any(o.assignment.operator == RESAMPLE for o in undisturbed)

    # Everything is known: a second run asks the engine nothing, and decides the same.
    second, unasked = begin(store, chosen), CountingEngine(by_hash, most=0)
    _, ended = live(store, second, chosen, unasked)
    assert ended
    assert unasked.asked == 0
    assert decisions(store.replay(second, samples=True)) == undisturbed


@pytest.mark.parametrize("after", [[1, 90], [150, 7, 60]])
def test_killed_anywhere_it_ends_as_if_nobody_had_disturbed_it(
    store: Store, tmp_path: Path, after: list[int]
) -> None:
    chosen = settings(150)
    whole = begin(store, chosen)
    live(store, whole, chosen, CountingEngine(by_hash, fails=0.1))
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/killed.db")) as other:
        killed = begin(other, chosen)
        for most in after:
            loop, ended = live(other, killed, chosen, CountingEngine(by_hash, most=most, fails=0.1))
            assert not ended, "it ended before it could be killed"
        loop, ended = live(other, killed, chosen, CountingEngine(by_hash, fails=0.1))
        assert ended
        assert decisions(other.replay(killed, samples=True)) == decisions(
            store.replay(whole, samples=True)
        )
        shown = queries.run_summary(other, killed)
        spent = loop.progress.spent
        assert shown["target_tokens"] == spent.target_tokens
        assert shown["evaluations"] == spent.evaluations
        assert shown["over_refusals"] == loop.progress.over_refusals
        assert shown["best_fitness"] == loop.progress.best_fitness
        assert shown["rejected"] == loop.progress.rejected
        assert "screened" in shown["rejected"], "nothing was screened"
        # A life after the last one knows the same.
        again = a_loop(other, killed, chosen, CountingEngine(by_hash))
        again.replay(other.replay(killed, samples=True), [], 0.0)
        assert again.progress.spent.target_tokens == spent.target_tokens
        assert again.progress.spent.stalled == spent.stalled
        assert again.progress.rejected == loop.progress.rejected


def test_a_second_run_is_killed_while_the_store_answers_for_the_engine(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings()
    whole = begin(store, chosen)
    live(store, whole, chosen, CountingEngine(by_hash))
    second = begin(store, chosen)
    write, calls = store.write, 0

    def dying(run_id: str, proposals: Any, outcomes: Any, embedder: str = "") -> None:
        """Dies before, or after, so many writes are on disk."""
        nonlocal calls
        calls += 1
        if calls % 9 == 5:
            raise RuntimeError("killed before the write")
        write(run_id, proposals, outcomes, embedder)
        if calls % 9 == 0:
            raise RuntimeError("killed after the write")

    monkeypatch.setattr(store, "write", dying)
    lives, unasked = 0, CountingEngine(by_hash, most=0)
    while True:
        lives += 1
        try:
            _, ended = live(store, second, chosen, unasked)
        except RuntimeError:
            continue
        break
    assert ended
    assert lives > 3
    assert decisions(store.replay(second, samples=True)) == decisions(
        store.replay(whole, samples=True)
    )


def test_with_more_in_flight_the_stored_order_replays_without_a_differing_choice(
    store: Store,
) -> None:
    chosen = settings(in_flight=3)
    run_id = begin(store, chosen)
    _, ended = live(store, run_id, chosen, CountingEngine(by_hash, most=150, wait_s=0.01))
    assert not ended
    _, ended = live(store, run_id, chosen, CountingEngine(by_hash, wait_s=0.01))
    assert ended
    outcomes = store.replay(run_id, samples=True)
    order = [o.assignment.index for o in outcomes]
    assert order != sorted(order), "every batch ended in the order in which it was begun"
    differing, _ = Search(chosen, SEEDS).replay(outcomes, [])
    assert differing == 0
    # The screens that it rebuilds are those by which the stored proposals were turned away.
    assert any(isinstance(o.failure, ScreenedOut) for o in outcomes)


@pytest.mark.parametrize("fitness", ["cliff", "inverse-cliff"])
def test_a_search_after_cliffs_is_killed_anywhere_and_decides_as_the_undisturbed_one(
    store: Store, tmp_path: Path, fitness: str
) -> None:
    chosen = settings(
        100, search__fitness=fitness, search__probe="p", search__probe_version=VERSION
    )
    whole, tracer = begin(store, chosen), FakeTracer(thoughtless=0.1)
    _, ended = live(store, whole, chosen, CountingEngine(by_hash), tracer)
    assert ended
    undisturbed = decisions(store.replay(whole, samples=True))
    assert any(o.failure and "no trace" in o.failure.message for o in undisturbed)
    assert any(o.assignment.operator == RESAMPLE for o in undisturbed)
    read = [s.trace for o in undisturbed if o.evaluation for s in o.evaluation.samples]
    assert {type(trace) for trace in read} == {CliffTrace, NoTrace}
    with store.reading() as connection:
        stored = [connection.scalar(select(func.count()).select_from(t)) for t in (Cliff, Untraced)]
        drawn = connection.scalar(select(func.count()).select_from(Sample))
    assert tracer.asked == sum(stored) == drawn, "a sample was read twice, or never"

    # The store answers for the model and for the probe.
    second, unasked = begin(store, chosen), FakeTracer(thoughtless=0.1)
    _, ended = live(store, second, chosen, CountingEngine(by_hash, most=0), unasked)
    assert ended
    assert unasked.asked == 0
    assert decisions(store.replay(second, samples=True)) == undisturbed

    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/killed.db")) as other:
        killed = begin(other, chosen)
        for most in (1, 70, 25, 40):
            engine = CountingEngine(by_hash, most=most)
            _, ended = live(other, killed, chosen, engine, FakeTracer(thoughtless=0.1))
            assert not ended, "it ended before it could be killed"
        engine = CountingEngine(by_hash)
        _, ended = live(other, killed, chosen, engine, FakeTracer(thoughtless=0.1))
        assert ended
        assert decisions(other.replay(killed, samples=True)) == undisturbed


def test_what_is_climbed_decides_what_is_searched_next(store: Store) -> None:
    found = {}
    for fitness in ("elbo", "inverse-cliff"):
        probe = {"search__probe": "p", "search__probe_version": VERSION}
        chosen = settings(80, search__fitness=fitness, **(probe if fitness != "elbo" else {}))
        run_id = begin(store, chosen)
        live(store, run_id, chosen, CountingEngine(by_hash), FakeTracer())
        found[fitness] = [o.candidate.prompt_id for o in store.replay(run_id) if o.candidate]
    assert found["elbo"] != found["inverse-cliff"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_real_target_s_answers_are_replayed_from_the_store_in_killed_lives(store: Store) -> None:
    chosen = validate(
        {
            "seeds": {"dataset": "xstest-safe", "limit": 12},
            "target": {"model": "local:smollm2-overcautious", "sampling": {"max_tokens": 12}},
            "search": {"batch": 6, "in_flight": 1, "samples": {"first": 2, "max": 4}},
            "budget": {"evaluations": 40},
        }
    )
    parts = RealParts.of(chosen)
    whole = parts.begin(store)
    assert parts.live(store, whole)
    undisturbed = decisions(store.replay(whole, samples=True))
    assert any(o.evaluation and o.evaluation.opening for o in undisturbed)

    second = parts.begin(store)
    parts.engine.calls_left = 0  # the store answers for the model
    lives = 1
    while not parts.live(store, second, batches=2):
        lives += 1
    assert lives > 2
    assert decisions(store.replay(second, samples=True)) == undisturbed
