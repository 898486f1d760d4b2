"""Traces that come with samples: stored with them, given back with them, of the run's probe alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from db import traces
from db.store import Store
from evo.types import Outcome, prompt_id
from fitness.types import CliffTrace, NoTrace, Unscored
from tests.db.test_store import DESCRIPTION, TARGET, evaluated, put
from tests.fake_tracer import NAME, VERSION, a_trace
from workers.interface import FailureKind

Trace = CliffTrace | NoTrace
TRACES = (a_trace(0.9, 0.2), NoTrace(NAME, VERSION, "no thought"))


def begun(store: Store, name: str = "run", version: str = VERSION) -> str:
    config = {"search": {"threshold": 0.5, "probe_version": version}}
    run_id = store.begin_run(name, config, 7, "0.1.0").run_id
    store.register_target(run_id, TARGET, DESCRIPTION)
    return run_id


def traced(outcome: Outcome, by: tuple[Trace | None, ...] = TRACES) -> Outcome:
    assert outcome.evaluation
    pairs = zip(outcome.evaluation.samples, by, strict=True)
    samples = tuple(replace(s, trace=trace) for s, trace in pairs)
    return replace(outcome, evaluation=replace(outcome.evaluation, samples=samples))


def known(store: Store, text: str, version: str | None = VERSION) -> list[Trace | None]:
    found = store.known_samples(TARGET.target_id, [prompt_id(text)], version)
    return [s.trace for s in found[prompt_id(text)]]


def test_known_samples_and_replays_have_the_traces_that_were_recorded(store: Store) -> None:
    run_id = begun(store)
    put(store, run_id, [traced(evaluated(0, "one"))])
    assert known(store, "one") == list(TRACES)
    (outcome,) = store.replay(run_id, samples=True)
    assert outcome.evaluation
    assert [s.trace for s in outcome.evaluation.samples] == list(TRACES)


def test_another_probe_s_traces_are_left_out(store: Store) -> None:
    put(store, begun(store), [traced(evaluated(0, "one"))])
    assert known(store, "one", "another") == [None, None]
    assert known(store, "one", None) == [None, None]
    second = begun(store, version="another")
    put(store, second, [traced(evaluated(0, "one"), (a_trace(0.5, 0.5, "another"),) * 2)])
    assert known(store, "one") == list(TRACES)
    assert known(store, "one", "another") == [a_trace(0.5, 0.5, "another")] * 2


def test_samples_of_a_run_without_a_probe_are_traced_later(store: Store) -> None:
    put(store, begun(store), [evaluated(0, "one")])
    assert known(store, "one") == [None, None]
    outcome = traced(evaluated(0, "one"))
    assert outcome.evaluation
    again = replace(outcome, evaluation=replace(outcome.evaluation, n_new=0))
    put(store, begun(store, "later"), [again])
    assert known(store, "one") == list(TRACES)


def test_samples_that_gave_no_trace_at_all_are_kept_with_the_reason(store: Store) -> None:
    outcome = traced(evaluated(0, "one"), (TRACES[1],) * 2)
    assert outcome.evaluation
    failure = Unscored(FailureKind.UNSCORED, "no trace", outcome.evaluation.samples, 2, 8)
    put(store, begun(store), [replace(outcome, evaluation=None, failure=failure)])
    assert known(store, "one") == [TRACES[1]] * 2
    assert traces.no_traces(store) == {"no thought": 2}


def test_a_trace_of_words_that_another_run_has_stored_otherwise_is_not_kept(store: Store) -> None:
    put(store, begun(store, "theirs"), [evaluated(0, "one")])
    mine = traced(evaluated(0, "one"))
    assert mine.evaluation
    first, second = mine.evaluation.samples
    other = replace(first, sample=replace(first.sample, text="other words"))
    put(
        store,
        begun(store, "mine"),
        [replace(mine, evaluation=replace(mine.evaluation, samples=(other, second)))],
    )
    assert known(store, "one") == [None, TRACES[1]]


def test_a_trace_without_its_scores_is_none(store: Store) -> None:
    put(store, begun(store), [traced(evaluated(0, "one"))])
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE cliffs SET scores = NULL, plateau_top = NULL")
    assert known(store, "one") == [None, TRACES[1]]


@pytest.mark.parametrize("n", [1, 700])
def test_many_prompts_are_read_at_once(store: Store, n: int) -> None:
    texts = [f"prompt {i}" for i in range(n)]
    put(store, begun(store), [traced(evaluated(i, text)) for i, text in enumerate(texts)])
    found = store.known_samples(TARGET.target_id, [prompt_id(t) for t in texts], VERSION)
    assert {tuple(s.trace for s in samples) for samples in found.values()} == {TRACES}
    assert len(found) == n
