"""Screens, races and second samples in a whole run: who is turned away, what it costs, who is not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import db
from db import queries
from evo.run import Progress
from evo.types import RESAMPLE, Outcome, Strategy
from evo.view import View
from fitness.types import ScreenedOut
from tests.loop_fakes import SEEDS
from tests.replaying import CountingEngine, a_loop, begin, by_hash, live, settings
from workers.interface import FailureKind


@dataclass(frozen=True)
class Ended:
    outcomes: list[Outcome]
    progress: Progress
    shown: dict[str, object]
    over_refusals: int


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """One run that screens and completes."""
    folder = tmp_path_factory.mktemp("screened")
    chosen = settings(150)
    with contextlib.closing(db.open(f"sqlite:///{folder}/run.db")) as store:
        run_id = begin(store, chosen)
        loop, ended = live(store, run_id, chosen, CountingEngine(by_hash))
        assert ended
        shown = queries.run_summary(store, run_id)
        outcomes = store.replay(run_id, samples=True)
        yield Ended(outcomes, loop.progress, shown, loop.search.over_refusals)


def test_screened_proposals_are_counted_and_their_tokens_paid(run: Ended) -> None:
    away = [o.failure for o in run.outcomes if o.failure and o.failure.kind is FailureKind.SCREENED]
    assert run.progress.rejected["screened"] == len(away) > 0
    by_opening = [f for f in away if isinstance(f, ScreenedOut)]
    assert by_opening
    assert all(f.target_tokens == 1 for f in by_opening)
    paid = sum(o.evaluation.target_tokens for o in run.outcomes if o.evaluation)
    assert run.progress.spent.target_tokens == paid + len(by_opening)
    assert run.shown["target_tokens"] == run.progress.spent.target_tokens
    assert run.shown["rejected"] == run.progress.rejected


def test_blind_proposals_pass_and_seeds_are_never_screened(run: Ended) -> None:
    blind = [o for o in run.outcomes if o.screened and o.screened.blind]
    assert blind
    assert not [o for o in blind if o.failure and o.failure.kind is FailureKind.SCREENED]
    seeds = [o for o in run.outcomes if o.assignment.strategy is Strategy.SEED]
    assert len(seeds) == len(SEEDS)
    assert all(o.screened is None for o in seeds)


def test_a_prompt_that_was_sampled_again_has_a_round_more_and_is_no_new_find(
    run: Ended,
) -> None:
    again = [o for o in run.outcomes if o.assignment.operator == RESAMPLE]
    assert again
    newest: dict[str, float] = {}
    had: dict[str, int] = {}
    for o in run.outcomes:
        if not o.evaluation or not o.candidate or o.candidate.strategy is Strategy.SEED:
            continue
        name, indices = o.candidate.prompt_id, [s.sample.index for s in o.evaluation.samples]
        if o.assignment.operator == RESAMPLE:
            assert indices == list(range({2: 4, 4: 7, 7: 10}[had[name]]))
            assert o.evaluation.n_new <= len(indices) - had[name], "stored samples, drawn again"
        newest[name], had[name] = o.evaluation.score.refusal_rate, len(indices)
    assert {4, 7} <= {o.evaluation.score.n_samples for o in again if o.evaluation}
    assert run.over_refusals == sum(rate >= 0.5 for rate in newest.values())


def test_racing_spends_fewer_samples_than_all(run: Ended) -> None:
    counts = {
        o.evaluation.score.n_samples
        for o in run.outcomes
        if o.evaluation and o.assignment.operator != RESAMPLE
    }
    assert min(counts) == 2
    assert counts <= {2, 4, 7, 10}


def test_pending_proposals_get_back_the_views_under_which_they_were_asked(tmp_path: Path) -> None:
    chosen = settings(150)
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/run.db")) as store:
        run_id = begin(store, chosen)
        loop, ended = live(store, run_id, chosen, CountingEngine(by_hash, most=260))
        assert not ended
        pending = store.pending(run_id)
        asked: dict[int, View] = {}
        again = a_loop(store, run_id, chosen, CountingEngine(by_hash))
        differing, rebuilt = again.replay(store.replay(run_id, samples=True), pending, 0.0)
        assert differing == 0
        assert len(rebuilt) == len(pending) > 0
        for assignment, _ in rebuilt:
            assert assignment.view is not None
            asked[assignment.index] = assignment.view
        view = next(iter(asked.values()))
        told_to = View(loop.search._algorithm.bar(), loop.search.screening.screen)
        assert view.bar == told_to.bar
        assert view.screen.cut == told_to.screen.cut
        assert view.screen.openers == told_to.screen.openers
        vectors = again.embedder.embed(["one prompt", "another prompt"])
        assert view.screen.guess(vectors).tolist() == told_to.screen.guess(vectors).tolist()
