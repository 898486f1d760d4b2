"""How a stored run went: the record tells what the search itself saw."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from db import course, queries
from db.store import Store
from evo.api import _RunRecorder
from evo.run import Loop
from evo.types import RESAMPLE, Outcome, Screened, Strategy
from fitness.evaluate import Evaluator
from fitness.judges.prefix import PrefixJudge
from fitness.types import ScreenedOut, Target
from tests.db.builders import RunBuilder
from tests.fakes import ANSWER, REFUSAL, FakeEngine
from tests.loop_fakes import SEEDS, config, loop, unit_hash
from workers.interface import (
    Failure,
    FailureKind,
    GenerationRequest,
    Opening,
    Sampling,
)


def by_strategy(request: GenerationRequest, index: int) -> str:
    """Refuses as a rule where the prompt names anger, rarely elsewhere; each sample by its hash."""
    prompt = request.messages[-1].content
    share = 0.9 if "anger" in prompt else 0.15
    return REFUSAL if unit_hash(f"{prompt} {index}") < share else ANSWER


def searched(store: Store, **changes: Any) -> tuple[Loop, str]:
    """A whole run of the real loop, evaluator and store over a scripted engine."""
    settings = config(
        budget__evaluations=150,
        search__settle=0.1,
        search__screening={"predictor": True, "opening": True, "blind": 0.2, "lost": 0.3},
        **changes,
    )
    engine = FakeEngine(by_strategy)
    target = Target.of(engine.description, None, Sampling())
    claim = store.begin_run("run", settings.model_dump(mode="json"), 0, "test")
    target_id = store.register_target(claim.run_id, target, engine.description)
    store.register_seeds(SEEDS)
    running = loop(settings)
    running.evaluator = Evaluator(engine, [PrefixJudge()])
    running.recorder = _RunRecorder(store, claim.run_id, target_id, "hash")
    asyncio.run(running.run())
    return running, claim.run_id


def test_the_record_tells_what_the_search_saw(store: Store) -> None:
    running, run_id = searched(store)
    summary, progress = queries.run_summary(store, run_id), running.progress
    assert summary["screened"] == {
        "predictor": progress.screened["predictor"],
        "opening": progress.screened["opening"],
    }
    assert progress.screened["opening"] > 0
    assert sum(summary["screened"].values()) == summary["rejected"]["screened"]
    assert (summary["blind"], summary["looked_at"]) == (progress.blind, progress.looked_at)
    assert 0 < summary["blind"] < summary["looked_at"]
    assert summary["resampled"] == progress.resampled > 0
    seen = running.search.diversity
    assert seen is not None
    assert summary["effective_clusters"] == pytest.approx(seen.effective_clusters)
    assert (summary["collapses"], summary["collapsed"]) == (seen.collapses, seen.collapsed)
    openers = running.search.screening.screen.openers
    assert openers is not None
    assert summary["openers"]["tokens"] == list(openers.tokens) == ["I'm"]
    assert summary["openers"]["floor"] == pytest.approx(openers.floor)
    assert summary["openers"]["p_floor"] == pytest.approx(openers.p_refusal(openers.floor))
    arms = {(a["operator"], a["strategy"]): a for a in summary["strategies"]}
    assert {arm: a["proposals"] for arm, a in arms.items()} == {
        (operator, strategy.value): n for (operator, strategy), n in progress.proposed.items()
    }
    assert sum(a["over_refusals"] for a in arms.values()) == summary["over_refusals"]


def test_a_resumed_run_counts_as_if_it_had_not_stopped(store: Store) -> None:
    running, run_id = searched(store)
    again = loop(running.search.config)
    differing, _ = again.replay(store.replay(run_id, samples=True), [], 0.0)
    assert differing == 0
    screens = [each.search.screening.screen for each in (running, again)]
    assert screens[0].openers == screens[1].openers
    assert screens[0].cut == screens[1].cut
    for figure in ("screened", "blind", "looked_at", "resampled", "proposed", "hits"):
        assert getattr(again.progress, figure) == getattr(running.progress, figure), figure


def test_samples_of_a_prompt_are_counted_once_it_was_completed(store: Store) -> None:
    running, run_id = searched(store)
    summary = queries.run_summary(store, run_id)
    scores = sum(summary["sample_counts"].values())
    assert scores == summary["evaluations"] - summary["resampled"]
    drawn = sum(int(n) * times for n, times in summary["sample_counts"].items())
    assert summary["samples_per_evaluation"] == pytest.approx(drawn / scores)
    assert drawn == summary["samples"] == running.progress.samples
    assert set(summary["sample_counts"]) <= {"2", "3", "4", "7", "10"}


def test_without_openings_nothing_is_learned_of_them(store: Store) -> None:
    run = RunBuilder(store)
    run.evaluated("child", (run.seed("seed"),))
    assert queries.run_summary(store, run.run_id)["openers"] is None


def test_a_run_without_anything_has_a_course(store: Store) -> None:
    run = RunBuilder(store)
    summary = queries.run_summary(store, run.run_id)
    assert summary["screened"] == {"predictor": 0, "opening": 0}
    assert (summary["samples_per_evaluation"], summary["strategies"]) == (None, [])
    assert json.loads(json.dumps(summary)) == summary


def test_strategies_are_rated_by_all_their_proposals(store: Store) -> None:
    run = RunBuilder(store)
    seed = run.seed("seed", refusals=(1.0, 1.0))
    run.evaluated("hit", (seed,), strategy=Strategy.DESPAIR)
    run.evaluated("answered", (seed,), strategy=Strategy.DESPAIR, refusals=(0.0, 0.1))
    run.evaluated("not safe", (seed,), strategy=Strategy.DISGUST, gates={"g": "harmful"})
    run.turned_away("no", (seed,))
    arms = queries.run_summary(store, run.run_id)["strategies"]
    assert [(a["strategy"], a["proposals"], a["over_refusals"]) for a in arms] == [
        ("despair", 2, 1),
        ("anger", 1, 0),
        ("disgust", 1, 0),
    ]


def test_what_more_samples_disproved_is_no_success_but_was_diverse_when_found(
    store: Store,
) -> None:
    run = RunBuilder(store)
    lucky = run.evaluated("lucky", (run.seed("seed"),), refusals=(1.0, 1.0))
    run.evaluated("lucky", (lucky,), refusals=(1.0, 1.0, 0.0, 0.0, 0.0), operator=RESAMPLE)
    summary = queries.run_summary(store, run.run_id)
    assert [a["over_refusals"] for a in summary["strategies"]] == [0]
    assert summary["strategies"][0]["proposals"] == 1
    assert summary["effective_clusters"] == pytest.approx(1.0)
    assert summary["resampled"] == 1


def test_a_collapse_is_seen_in_the_record(store: Store) -> None:
    run = RunBuilder(store)
    seed = run.seed("seed", refusals=(0.0, 0.0))
    for number in range(60):
        run.evaluated(f"unlike {number}", (seed,))
    for number in range(190):
        run.evaluated(f"alike {number}", (seed,), vector=(1.0, *[0.0] * 63))
    summary = queries.run_summary(store, run.run_id)
    assert summary["collapsed"]
    assert summary["collapses"] == 1
    assert summary["effective_clusters"] < 30


def test_a_guess_is_told_from_an_opening_that_another_run_knows(store: Store) -> None:
    """The predictor's failure stays its own though the target's opening is stored."""

    def ended(run: RunBuilder, failure: Failure) -> None:
        made, assignment = run.proposal("doubtful", (seeds[run.run_id],))
        outcome = Outcome(assignment, made, failure=failure, screened=Screened(0.1, False))
        store.record(run.run_id, [outcome], "e")

    first, second = RunBuilder(store, "first"), RunBuilder(store, "second")
    seeds = {run.run_id: run.seed("seed") for run in (first, second)}
    opening = Opening(("Sure",), (-0.1,), 9)
    ended(first, ScreenedOut(FailureKind.SCREENED, "log-odds -4.00, floor 0.00", opening, 1))
    ended(second, Failure(FailureKind.SCREENED, "P(refusal) 0.100 by the predictor, cut 0.200"))
    assert isinstance(store.replay(first.run_id)[-1].failure, ScreenedOut)
    assert type(store.replay(second.run_id)[-1].failure) is Failure
    told = [queries.run_summary(store, name)["screened"] for name in ("first", "second")]
    assert told == [{"predictor": 0, "opening": 1}, {"predictor": 1, "opening": 0}]
    assert queries.run_summary(store, "second")["target_tokens"] == 15  # the seed's samples alone


def test_openers_of_a_long_run_are_those_of_its_latest_proposals(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = searched(store)
    with store.reading() as connection:
        whole = course.learn_openers(connection, run_id)
        monkeypatch.setattr(course, "_LATEST", 40)
        latest = course.learn_openers(connection, run_id)
    assert whole is not None
    assert latest is not None
    assert latest.tokens == whole.tokens
    assert latest.slope != whole.slope
