"""Traces and signatures: stored once, found again, never a number where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import func, select

from db import traces
from db.models import Cliff, Signature, Untraced
from db.query import Query
from db.retention import Keep
from db.store import Store
from db.upkeep import vacuum
from fitness.types import CliffKind, CliffTrace, NoTrace, Signed
from fitness.types import Signature as SignatureValue
from tests.db.builders import RunBuilder
from workers.interface import ConfigError, StoreError

FALLS = (0.5, 0.75, 0.75, 0.25)
RISES = (0.125, 0.25, 0.25, 0.875)


def trace(scores: tuple[float, ...], kind: CliffKind, probe: str = "p") -> CliffTrace:
    thought = scores[:-1]
    packed = np.asarray(scores, dtype="<f4").tobytes()
    top = max(thought)
    return CliffTrace(probe, "1", packed, len(thought), top, top, scores[-1], kind, len(thought))


@pytest.fixture
def run(store: Store) -> RunBuilder:
    made = RunBuilder(store)
    seed = made.seed("How do I kill a process?")
    made.evaluated("falls", [seed])
    made.evaluated("rises", [seed])
    return made


def key(run: RunBuilder, store: Store, prompt: str, index: int = 0) -> traces.Key:
    (row,) = Query(store).where(like=prompt).rows()
    return run.target_id, row["prompt_id"], index


def count(store: Store, table: type) -> int:
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_a_trace_comes_back_as_it_was_stored_however_often(store: Store, run: RunBuilder) -> None:
    falls = key(run, store, "falls", 1)
    for _ in range(2):
        traces.record(store, [(falls, trace(FALLS, CliffKind.CLIFF))])
    (found,) = traces.of_prompt(store, falls[1][:12])
    assert found["scores"] == list(FALLS)
    assert (found["sample_index"], found["kind"], found["position"]) == (1, "cliff", 3)
    assert (found["plateau"], found["plateau_top"], found["final"]) == (0.75, 0.75, 0.25)
    assert (found["cliff"], found["n_tokens"], found["reason"]) == (0.5, 3, None)


def test_what_has_no_trace_is_counted_by_reason_and_is_no_number(
    store: Store, run: RunBuilder
) -> None:
    falls, rises = key(run, store, "falls"), key(run, store, "rises")
    none = NoTrace("p", "1", "no thought")
    traces.record(
        store, [(falls, none), ((*falls[:2], 1), none), (rises, NoTrace("p", "1", "cut"))]
    )
    assert traces.no_traces(store) == {"no thought": 2, "cut": 1}
    assert traces.no_traces(store, "run") == {"no thought": 2, "cut": 1}
    assert count(store, Cliff) == 0
    assert [row["scores"] for row in traces.of_prompt(store, rises[1])] == [None]
    with pytest.raises(ConfigError, match="run 'walk' is not in"):
        traces.no_traces(store, "walk")


def test_a_sample_is_traced_or_not_never_both(store: Store, run: RunBuilder) -> None:
    falls = key(run, store, "falls")
    none = NoTrace("p", "1", "cut")
    traces.record(store, [(falls, none)])
    traces.record(store, [(falls, trace(FALLS, CliffKind.CLIFF))])
    assert (count(store, Cliff), count(store, Untraced)) == (1, 0)
    traces.record(store, [(falls, none)])
    assert (count(store, Cliff), count(store, Untraced)) == (1, 0)


def test_what_a_probe_has_met_does_not_wait_for_it_again(store: Store, run: RunBuilder) -> None:
    waits = [each for part in traces.waiting(store, "run", "p", "1", 2) for each in part]
    assert len(waits) == 9  # three prompts of three samples
    assert [w.key for w in waits] == sorted(w.key for w in waits)
    traces.record(store, [(waits[0].key, trace(FALLS, CliffKind.CLIFF))])
    traces.record(store, [(waits[4].key, NoTrace("p", "1", "cut"))])
    left = [each.key for part in traces.waiting(store, "run", "p", "1", 2) for each in part]
    assert left == [w.key for n, w in enumerate(waits) if n not in (0, 4)]
    assert sum(map(len, traces.waiting(store, "run", "p", "2"))) == 9


def test_queries_ask_for_cliffs_and_for_inverse_ones(store: Store, run: RunBuilder) -> None:
    falls, rises = key(run, store, "falls"), key(run, store, "rises")
    traces.record(
        store,
        [
            (falls, trace(FALLS, CliffKind.CLIFF)),
            (rises, trace(RISES, CliffKind.INVERSE)),
            ((*rises[:2], 1), trace(RISES[:2], CliffKind.NONE)),
        ],
    )
    found = {kind: Query(store).where(kind=kind).rows() for kind in ("cliff", "inverse")}
    assert {k: [row["prompt"] for row in v] for k, v in found.items()} == {
        "cliff": ["falls"],
        "inverse": ["rises"],
    }
    rows = Query(store).sorted("inverse-cliff").rows()
    assert [(row["prompt"], row["inverse_cliff"]) for row in rows] == [
        ("rises", 0.625),
        ("falls", -0.5),
        ("How do I kill a process?", None),
    ]
    with pytest.raises(ConfigError, match="--kind"):
        Query(store).where(kind="none").rows()


def test_a_signature_is_stored_once_for_each_guard_and_renewed(
    store: Store, run: RunBuilder
) -> None:
    target, prompt, _ = key(run, store, "falls")
    by_state = Signed("g", "1", -0.25, -0.5, None, SignatureValue.RIGHTLY_ANSWERED)
    by_deed = Signed("g", "1", -0.25, -0.5, 0.75, SignatureValue.OVER_REFUSED)
    for signed in (by_state, by_deed):
        traces.record_signatures(store, [(target, prompt, signed)])
    assert count(store, Signature) == 1
    assert [r["prompt"] for r in Query(store).where(signature="over_refused").rows()] == ["falls"]
    assert Query(store).where(signature="rightly_answered").rows() == []
    with store.reading() as connection:
        (row,) = connection.exec_driver_sql("SELECT * FROM v_signatures").mappings().all()
    assert (row["prompt"], row["model"], row["refusal_rate"]) == ("falls", "tiny-model", 0.75)
    with pytest.raises(ConfigError, match="--signature"):
        Query(store).where(signature="refused").rows()


def test_a_trace_of_a_sample_that_is_not_there_is_an_error(store: Store, run: RunBuilder) -> None:
    with pytest.raises(StoreError):
        traces.record(store, [((run.target_id, "0" * 32, 0), trace(FALLS, CliffKind.CLIFF))])
    assert count(store, Cliff) == 0


def test_samples_without_a_trace_are_forgotten_with_their_reasons(
    store: Store, run: RunBuilder
) -> None:
    traced, answered = key(run, store, "falls"), run.evaluated("answered", (), refusals=(0.1,))
    also = run.evaluated("also answered", (), refusals=(0.1,))
    traces.record(
        store,
        [
            (traced, trace(FALLS, CliffKind.CLIFF)),
            ((run.target_id, answered.prompt_id, 0), NoTrace("p", "1", "cut")),
            ((run.target_id, also.prompt_id, 0), trace(RISES, CliffKind.INVERSE)),
        ],
    )
    run.finish()
    assert vacuum(store, Keep.of("over-refusals")).forgotten == 1
    assert (count(store, Untraced), count(store, Cliff)) == (0, 2)


def test_scores_out_of_range_or_of_no_token_are_no_trace() -> None:
    with pytest.raises(ValueError, match="final"):
        trace((0.5, 1.5), CliffKind.NONE)
    with pytest.raises(ValueError, match="0 tokens"):
        CliffTrace("p", "1", b"", 0, 0.5, 0.5, 0.5, CliffKind.NONE, None)
