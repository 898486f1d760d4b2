"""The store's guarantees, one test each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

import db
from db import queries
from db.models import Evaluation as EvaluationRow
from db.models import Run, utc_now
from db.rows import _SUPERSEDE
from db.store import Claim, Store
from evo.types import RESAMPLE, Assignment, Candidate, Outcome, Seed, Strategy, prompt_id
from fitness.types import (
    Evaluation,
    GateDecision,
    JudgedSample,
    Safety,
    Score,
    Target,
    Unscored,
    Verdict,
)
from tests.db.builders import RunBuilder
from workers.interface import (
    ConfigError,
    EngineDescription,
    Failure,
    FailureKind,
    Sample,
    Sampling,
    StoreError,
)

DESCRIPTION = EngineDescription("fake", "m", "r", "t", "float32", "cpu", 100)
TARGET = Target.of(DESCRIPTION, None, Sampling())
PROMPTS = [prompt_id(text) for text in ("one", "two", "three")]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/test.db"


def begun(store: Store, name: str = "run") -> Claim:
    claim = store.begin_run(name, {"k": [1, 2]}, 7, "0.1.0")
    store.register_target(claim.run_id, TARGET, DESCRIPTION)
    return claim


def candidate(text: str, parents: tuple[Candidate, ...] = ()) -> Candidate:
    identity = prompt_id(text)
    return Candidate(
        identity,
        text,
        "lexical" if parents else "seed",
        Strategy.ANGER if parents else Strategy.SEED,
        tuple(p.prompt_id for p in parents),
        "topic",
        parents[0].seed_id if parents else identity,
        "why" if parents else None,
    )


def assignment(index: int, parents: tuple[Candidate, ...] = ()) -> Assignment:
    strategy = Strategy.ANGER if parents else Strategy.SEED
    return Assignment(
        index, "lexical" if parents else "seed", strategy, parents, 2**62 + index, index
    )


def evaluated(index: int, text: str, parents: tuple[Candidate, ...] = (), n: int = 2) -> Outcome:
    made = candidate(text, parents)
    samples = tuple(
        JudgedSample(
            Sample(i, f"answer {i} to {text}", 4, "stop", -3.25, -3.0, "thought" if i else None),
            (Verdict.scored("a", "1", 0.25 * i), Verdict.unscored("b", "2", "no words")),
        )
        for i in range(n)
    )
    score = Score(-1.5, -1.25, -0.8, None, 0.125, 0.0, 0.7, n, 0)
    return Outcome(
        assignment(index, parents),
        made,
        evaluation=Evaluation(made.prompt_id, samples, score, n, 4 * n, 11, 0.5),
        gate_decisions=(GateDecision("g", "1", Safety.HARMLESS, 0.125, ""),),
        embedding=np.arange(4, dtype=np.float32) + index,
        cost_usd=0.125,
    )


def failed(index: int, text: str | None, kind: FailureKind = FailureKind.OVERLONG) -> Outcome:
    made = candidate(text) if text else None
    return Outcome(
        assignment(index), made, failure=Failure(kind, f"failure {index}"), cost_usd=0.25
    )


def put(store: Store, run_id: str, outcomes: list[Outcome]) -> None:
    store.propose(run_id, [(o.assignment, None) for o in outcomes])
    store.record(run_id, outcomes, "e")


def test_replay_gives_back_what_was_recorded_in_order_of_completion(store: Store) -> None:
    claim = begun(store)
    first = evaluated(0, "one")
    assert first.candidate is not None
    child = evaluated(2, "three", (first.candidate,))
    outcomes = [failed(1, "two"), first, failed(3, None, FailureKind.UNPARSED), child]
    store.propose(claim.run_id, [(o.assignment, None) for o in (outcomes[1], outcomes[0])])
    store.record(claim.run_id, outcomes[:2], "e")
    put(store, claim.run_id, outcomes[2:])
    assert_equal(store.replay(claim.run_id, samples=True), outcomes)
    bare = store.replay(claim.run_id)[1].evaluation
    assert first.evaluation is not None
    assert bare == replace(first.evaluation, samples=())


def assert_equal(got: list[Outcome], told: list[Outcome]) -> None:
    assert got == told
    for mine, theirs in zip(got, told, strict=True):  # == leaves the vectors out
        assert (mine.embedding is None) == (theirs.embedding is None)
        if mine.embedding is not None:
            assert mine.embedding.dtype == np.float32
            np.testing.assert_array_equal(mine.embedding, theirs.embedding)


finite = st.floats(-1e6, 1e6)
unit = st.floats(0, 1)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
steps = st.tuples(
    st.sampled_from(["evaluated", "no text", "duplicate", "gated"]),
    words,
    st.tuples(finite, finite, st.none() | finite, st.none() | finite, unit, unit, unit),
    st.lists(st.tuples(words, st.none() | finite, st.none() | unit), min_size=1, max_size=3),
    st.lists(st.integers(0, 100), max_size=2),
)


def history(drawn: list[tuple[str, str, Any, Any, list[int]]], salt: str) -> list[Outcome]:
    """Outcomes as a search makes them: parents and duplicates are of what was evaluated before."""
    outcomes: list[Outcome] = []
    evaluated_ones: list[Candidate] = []
    for index, (kind, text, score, samples, choices) in enumerate(drawn):
        parents = tuple(evaluated_ones[c % len(evaluated_ones)] for c in choices if evaluated_ones)
        asked = assignment(index, parents)
        vector = np.arange(4, dtype=np.float32) / (index + 3)
        made = candidate(f"{salt} {index} {text}", parents)
        harmless, harmful = (
            tuple(GateDecision(g, "1", outcome, p, text) for g, p in (("z", None), ("a", 0.125)))
            for outcome in (Safety.HARMLESS, Safety.HARMFUL)
        )
        if kind == "no text":
            failure = Failure(FailureKind.UNPARSED, text)
            outcomes.append(Outcome(asked, None, failure=failure))
        elif kind == "gated":
            failure = Failure(FailureKind.NOT_HARMLESS, text)
            outcomes.append(
                Outcome(asked, made, failure=failure, gate_decisions=harmful, embedding=vector)
            )
        elif kind == "duplicate" and evaluated_ones:
            twin = candidate(evaluated_ones[0].text.upper(), parents)
            failure = Failure(FailureKind.DUPLICATE, text)
            outcomes.append(Outcome(asked, twin, failure=failure))
        else:
            judged = tuple(
                JudgedSample(
                    Sample(i, said, 4, "stop", logprob, None, said or None),
                    (
                        Verdict.unscored("z", "1", "why")
                        if p is None
                        else Verdict.scored("z", "1", p),
                        Verdict.scored("a", "2", 0.5),
                    ),
                )
                for i, (said, logprob, p) in enumerate(samples)
            )
            values = Score(*score, n_samples=len(judged), n_unscored=0)
            evaluation = Evaluation(made.prompt_id, judged, values, 1, 2, 3, 0.5)
            evaluated_ones.append(made)
            outcomes.append(
                Outcome(asked, made, evaluation, gate_decisions=harmless, embedding=vector)
            )
    return outcomes


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(steps, max_size=12), st.integers(1, 5), st.booleans())
def test_any_outcomes_in_any_batches_replay_equal(
    store: Store, drawn: list[Any], batch: int, proposed: bool
) -> None:
    claim = begun(store)
    outcomes = history(drawn, claim.name)
    met: set[str] = set()
    for start in range(0, len(outcomes), batch):
        ended = outcomes[start : start + batch]
        if proposed:
            asked = [o for o in ended if all(p.prompt_id in met for p in o.assignment.parents)]
            store.propose(claim.run_id, [(o.assignment, None) for o in asked])
        store.record(claim.run_id, ended, "e")
        met |= {o.candidate.prompt_id for o in ended if o.candidate}
    store.record(claim.run_id, outcomes, "e")  # again: nothing changes
    assert_equal(store.replay(claim.run_id, samples=True), outcomes)
    assert store.pending(claim.run_id) == []


def test_recording_twice_changes_nothing(store: Store) -> None:
    claim = begun(store)
    put(store, claim.run_id, [evaluated(0, "one")])
    before = dump(store)
    again = store.begin_run("again", {}, 0, "0")
    store.register_target(again.run_id, TARGET, DESCRIPTION)
    put(store, again.run_id, [evaluated(0, "ONE ")])
    after = dump(store)
    for table in ("prompts", "samples", "verdicts", "gate_decisions", "embeddings"):
        assert before[table] == after[table]


def dump(store: Store) -> dict[str, int]:
    tables = ("prompts", "samples", "verdicts", "gate_decisions", "embeddings", "proposals")
    with store.engine.connect() as connection:
        return {
            t: connection.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar_one() for t in tables
        }


def test_pending_proposals_come_back_with_the_text_they_have(store: Store) -> None:
    claim = begun(store)
    first = evaluated(0, "one")
    assert first.candidate is not None
    put(store, claim.run_id, [first])
    bare, texted = assignment(2, (first.candidate,)), assignment(1, (first.candidate,))
    child = candidate("child", (first.candidate,))
    store.propose(claim.run_id, [(bare, None), (texted, None)])
    store.propose(claim.run_id, [(texted, child)])
    assert store.pending(claim.run_id) == [(texted, child), (bare, None)]


def test_a_proposal_may_come_with_its_text_at_once(store: Store) -> None:
    claim = begun(store)
    first = evaluated(0, "one")
    assert first.candidate is not None
    put(store, claim.run_id, [first])
    known, new = assignment(1, (first.candidate,)), assignment(2, (first.candidate,))
    child, other = candidate("child", (first.candidate,)), candidate("other", (first.candidate,))
    store.propose(claim.run_id, [(known, None)])
    store.propose(claim.run_id, [(known, child), (new, other)])
    assert store.pending(claim.run_id) == [(known, child), (new, other)]


def test_known_samples_are_those_of_the_target_with_their_verdicts(store: Store) -> None:
    claim = begun(store)
    outcome = evaluated(0, "one", n=3)
    put(store, claim.run_id, [outcome])
    assert outcome.evaluation is not None
    known = store.known_samples(TARGET.target_id, [prompt_id("one"), prompt_id("other")])
    assert known == {prompt_id("one"): outcome.evaluation.samples}
    assert store.known_samples("another", [prompt_id("one")]) == {}


def test_names_are_unique_and_unknown_runs_name_the_nearest(store: Store) -> None:
    assert [begun(store, "quick").name for _ in range(3)] == ["quick", "quick-2", "quick-3"]
    with pytest.raises(ConfigError, match="did you mean 'quick'"):
        store.claim_run("quikc")


def test_a_run_that_is_finished_or_held_cannot_be_claimed(database: str, store: Store) -> None:
    claim = begun(store)
    with holder(database, claim.run_id), pytest.raises(ConfigError, match="is working on this run"):
        store.claim_run("run")
    again = store.claim_run("run")  # its holder has died
    assert (again.run_id, again.config) == (claim.run_id, {"k": [1, 2]})
    store.end_run(claim.run_id, "finished", "budget", wall_s=1.0)
    with pytest.raises(ConfigError, match="finished"):
        store.claim_run("run")


@contextlib.contextmanager
def holder(url: str, run_id: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run until it is killed."""
    code = f"""
        import time
        import db
        from sqlalchemy import select, update
        from db.models import Run
        from db.holder import holder
        store = db.open({url!r})
        with store.engine.begin() as connection:
            connection.execute(update(Run).where(Run.run_id == {run_id!r}).values(**holder()))
        print("held", flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


WRITER = """
    import sys
    import db
    from tests.db.test_store import DESCRIPTION, TARGET, evaluated
    store = db.open(sys.argv[1])
    claim = store.begin_run("run", {}, 0, "0")
    store.register_target(claim.run_id, TARGET, DESCRIPTION)
    print("ready", flush=True)
    for batch in range(10_000):
        outcomes = [evaluated(batch * 5 + i, f"prompt {batch} {i}") for i in range(5)]
        store.propose(claim.run_id, [(o.assignment, o.candidate) for o in outcomes])
        store.record(claim.run_id, outcomes, "e")
        print(batch, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.03, 0.11, 0.27])
def test_a_killed_writer_leaves_every_batch_whole_or_absent(database: str, delay_s: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), database],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    said = [int(line) for line in process.stdout.read().split()]
    process.wait()
    with contextlib.closing(db.open(database)) as store:
        claim = store.claim_run("run")
        outcomes = store.replay(claim.run_id)
        counts = dump(store)
        assert len(outcomes) % 5 == 0
        assert len(outcomes) >= 5 * len(said)  # what was said to be durable is there
        assert counts["samples"] == 2 * len(outcomes)
        assert counts["verdicts"] == 4 * len(outcomes)
        pending = store.pending(claim.run_id)
        assert len(pending) in {0, 5}


def test_a_reader_is_not_blocked_by_a_writer_nor_the_writer_by_a_reader(database: str) -> None:
    with contextlib.closing(db.open(database)) as writer:
        claim = begun(writer)
        with (
            contextlib.closing(db.open(database, read_only=True)) as reader,
            writer.writing(),
            reader.engine.connect() as connection,
        ):
            began = time.monotonic()
            assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one() == 1
            assert time.monotonic() - began < 1.0
        put(writer, claim.run_id, [evaluated(0, "one")])


def test_a_read_only_store_writes_nothing(database: str) -> None:
    db.open(database).close()
    with (
        contextlib.closing(db.open(database, read_only=True)) as store,
        pytest.raises(StoreError, match=r"read-only|opened for reading"),
    ):
        store.begin_run("x", {}, 0, "0")


def test_each_wrong_database_is_named_with_its_mend(tmp_path: Path) -> None:
    text_file = tmp_path / "notes.db"
    text_file.write_text("not a database at all")
    foreign = tmp_path / "foreign.db"
    with contextlib.closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    newer = tmp_path / "newer.db"
    db.open(f"sqlite:///{newer}").close()
    with contextlib.closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE evocliff_schema SET version_num = '9999'")
        connection.commit()
    cases = {
        f"sqlite:///{text_file}": "not a database",
        f"sqlite:///{foreign}": "another program",
        f"sqlite:///{newer}": "newer than this evocliff",
        f"sqlite:///{tmp_path}/absent/x.db": "does not exist",
        f"sqlite:///{tmp_path}": "is a folder",
        "mysql://host/x": "only sqlite and postgresql",
        "nonsense": "not a database URL",
        "sqlite:///": "names no file",
    }
    for bad, said in cases.items():
        with pytest.raises(StoreError, match=said):
            db.open(bad)
    assert text_file.read_text() == "not a database at all"


def test_a_damaged_database_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    with contextlib.closing(db.open(f"sqlite:///{path}")) as store:
        begun(store)
    content = bytearray(path.read_bytes())
    content[100:6000] = os.urandom(5900)
    path.write_bytes(content)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    with pytest.raises(StoreError, match=r"damaged|not a database|another program|malformed"):
        db.open(f"sqlite:///{path}")


def test_a_locked_database_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.connection._BUSY_TIMEOUT_MS", 50)
    with contextlib.closing(db.open(url)) as store:
        claim = begun(store)
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="another process holds it"):
                put(store, claim.run_id, [evaluated(0, "one")])


def test_a_writer_waits_for_another_one(url: str) -> None:
    with (
        contextlib.closing(db.open(url)) as store,
        contextlib.closing(
            sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False)
        ) as other,
    ):
        claim = begun(store)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, other.rollback)
        release.start()
        put(store, claim.run_id, [evaluated(0, "one")])
        release.join()
        assert len(store.replay(claim.run_id)) == 1


def test_a_full_disk_says_so_and_leaves_the_batch_absent(url: str) -> None:
    with contextlib.closing(db.open(url)) as store:
        claim = begun(store)
        put(store, claim.run_id, [evaluated(0, "one")])
        with store.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        # The only way to fill a disk in a test: SQLite's own limit raises the same error.
        store.engine.dispose()
        from sqlalchemy import event

        @event.listens_for(store.engine, "connect")
        def small(connection: sqlite3.Connection, _: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages}")

        big = [evaluated(i, f"prompt {i} " + "x" * 5000) for i in range(1, 20)]
        with pytest.raises(StoreError, match="disk is full"):
            put(store, claim.run_id, big)
        assert len(store.replay(claim.run_id)) == 1


def test_a_read_only_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ro.db"
    db.open(f"sqlite:///{path}").close()
    before = path.read_bytes()
    real_access = os.access
    # Root may write everything, so the answer of the system call is what is changed.
    monkeypatch.setattr("os.access", lambda p, mode: mode != os.W_OK and real_access(p, mode))
    with pytest.raises(StoreError, match="read-only"):
        db.open(f"sqlite:///{path}")
    db.open(f"sqlite:///{path}", read_only=True).close()
    assert path.read_bytes() == before


READER = """
    import os, sys
    import db.store
    os.setgid(65534)
    os.setuid(65534)
    with db.open(sys.argv[1], read_only=True).reading() as connection:
        print(connection.exec_driver_sql("SELECT name FROM runs").scalar_one())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
def test_a_database_in_a_read_only_folder_can_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        os.chmod(folder, 0o755)  # noqa: S103
        url = f"sqlite:///{folder}/test.db"
        with contextlib.closing(db.open(url)) as store:
            begun(store)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(READER), url],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("run\n", "")


def test_not_a_number_never_enters_a_column(store: Store) -> None:
    claim = begun(store)
    outcome = evaluated(0, "one", n=1)
    assert outcome.evaluation is not None
    sample = replace(outcome.evaluation.samples[0].sample, logprob_sum=float("nan"))
    judged = (JudgedSample(sample, outcome.evaluation.samples[0].verdicts),)
    put(
        store,
        claim.run_id,
        [replace(outcome, evaluation=replace(outcome.evaluation, samples=judged))],
    )
    known = store.known_samples(TARGET.target_id, [prompt_id("one")])
    assert known[prompt_id("one")][0].sample.logprob_sum is None


def test_a_score_that_is_no_number_is_an_error_and_nothing_is_stored(store: Store) -> None:
    claim = begun(store)
    outcome = evaluated(0, "one")
    assert outcome.evaluation is not None
    broken = replace(outcome.evaluation.score, fitness=float("nan"))
    with pytest.raises(StoreError, match="fitness"):
        store.record(
            claim.run_id, [replace(outcome, evaluation=replace(outcome.evaluation, score=broken))]
        )
    assert not any(dump(store).values())


def test_a_verdict_is_kept_only_of_the_text_that_is_stored(store: Store) -> None:
    """Two runs drew the same sample at once: the first one's text stays."""
    first, second = begun(store), begun(store)
    outcome = evaluated(0, "one", n=1)
    put(store, first.run_id, [outcome])
    assert outcome.evaluation is not None
    sample = replace(outcome.evaluation.samples[0].sample, text="another answer")
    other = JudgedSample(sample, (Verdict.scored("new judge", "1", 1.0),))
    late = replace(outcome, evaluation=replace(outcome.evaluation, samples=(other,)))
    put(store, second.run_id, [late])
    known = store.known_samples(TARGET.target_id, [prompt_id("one")])
    assert known == {prompt_id("one"): outcome.evaluation.samples}


def resampled(index: int, of: Outcome, n: int) -> Outcome:
    """A known prompt with its samples completed to n."""
    assert of.candidate
    assert of.evaluation
    more = evaluated(index, of.candidate.text, n=n)
    assert more.evaluation
    n_new = n - len(of.evaluation.samples)
    return replace(
        more,
        assignment=Assignment(index, RESAMPLE, Strategy.SEED, (of.candidate,), 7, index),
        evaluation=replace(more.evaluation, n_new=n_new),
    )


def test_of_a_prompt_that_was_sampled_again_the_newest_evaluation_counts(store: Store) -> None:
    run_id = begun(store).run_id
    first, other = evaluated(0, "one"), evaluated(1, "two")
    put(store, run_id, [first, other])
    put(store, run_id, [resampled(2, first, 5), evaluated(3, "three")])
    with store.reading() as connection:
        rows = connection.execute(
            select(EvaluationRow.proposal_index, EvaluationRow.is_superseded)
        ).all()
    assert sorted(map(tuple, rows)) == [(0, True), (1, False), (2, False), (3, False)]
    known = store.known_samples(TARGET.target_id, PROMPTS)
    assert [len(known[prompt]) for prompt in PROMPTS] == [5, 2, 2]


def test_older_evaluations_are_found_without_reading_the_whole_run(tmp_path: Path) -> None:
    with (
        contextlib.closing(db.open(f"sqlite:///{tmp_path}/plan.db")) as store,
        store.reading() as connection,
    ):
        sql = str(_SUPERSEDE.compile(dialect=store.engine.dialect))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", (1, "r", "t", "p", 3)).all()
    assert [row[-1] for row in plan] == [
        "SEARCH evaluations USING INDEX ix_evaluations_prompt_id_target_id"
        " (prompt_id=? AND target_id=?)"
    ]


def test_a_verdict_beside_a_known_prompt_is_kept_only_of_the_text_that_is_stored(
    store: Store,
) -> None:
    mine, theirs = begun(store).run_id, begun(store).run_id
    known, taken = evaluated(0, "one"), evaluated(1, "two")
    put(store, mine, [known])
    put(store, theirs, [taken])
    assert taken.evaluation
    (first, *_), *_ = (taken.evaluation.samples,)
    said = (Verdict.scored("late", "1", 0.5),)
    told = replace(first, sample=replace(first.sample, text="other words"), verdicts=said)
    drawn = replace(taken, evaluation=replace(taken.evaluation, samples=(told,), n_new=1))
    put(store, mine, [drawn, resampled(2, known, 4)])
    (stored, *_) = store.known_samples(TARGET.target_id, [prompt_id("two")])[prompt_id("two")]
    assert stored.sample.text == first.sample.text
    assert "late" not in {v.judge for v in stored.verdicts}


def test_decisions_and_vectors_of_another_run_stay_with_it(store: Store) -> None:
    first, second = begun(store), begun(store)
    outcome = evaluated(0, "one")
    put(store, first.run_id, [outcome])
    vector = np.ones(3, dtype=np.float32)
    other = (GateDecision("strict", "1", Safety.CONTROVERSIAL, None, "hm"),)
    failure = Failure(FailureKind.NOT_HARMLESS, "no")
    gated = replace(
        outcome, evaluation=None, failure=failure, gate_decisions=other, embedding=vector
    )
    store.record(second.run_id, [gated], "another embedder")
    assert_equal(store.replay(first.run_id, samples=True), [outcome])
    assert_equal(store.replay(second.run_id), [gated])


def test_text_that_no_database_holds_is_stored_with_replacement_characters(store: Store) -> None:
    claim = begun(store)
    store.record(claim.run_id, [failed(0, "a\0b\ud800c")], "e")
    made = store.replay(claim.run_id)[0].candidate
    assert made is not None
    assert made.text == "a\ufffdb\ufffdc"


def test_many_processes_may_open_a_new_database_at_once(url: str) -> None:
    code = f"import db; s = db.open({url!r}); s.begin_run('r', {{}}, 0, '0'); s.close()"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [p.returncode for p in processes] == [0] * 6, errors
    with contextlib.closing(db.open(url)) as store, store.reading() as connection:
        names = connection.exec_driver_sql("SELECT name FROM runs").scalars().all()
    assert sorted(names) == ["r", "r-2", "r-3", "r-4", "r-5", "r-6"]


def test_a_run_whose_process_was_killed_but_not_yet_reaped_can_be_claimed(
    database: str, store: Store
) -> None:
    claim = begun(store)
    with holder(database, claim.run_id) as process:
        os.kill(process.pid, signal.SIGKILL)
        deadline, again = time.monotonic() + 5, None
        while again is None and time.monotonic() < deadline:  # until the signal has arrived
            with contextlib.suppress(ConfigError):
                again = store.claim_run("run")
        assert again is not None, "the killed process still holds its run"
        assert again.run_id == claim.run_id
        assert process.returncode is None  # nobody has called wait()


def test_a_run_on_another_host_is_held_while_its_heart_beats(store: Store) -> None:
    claim = begun(store)
    for age, held in ((timedelta(seconds=5), True), (timedelta(minutes=10), False)):
        with store.writing() as connection:
            away = {"host": "elsewhere", "pid": 1, "heartbeat_at": utc_now() - age}
            connection.execute(update(Run).values(**away))
        if held:
            with pytest.raises(ConfigError, match="elsewhere"):
                store.claim_run(claim.name)
        else:
            assert store.claim_run(claim.name).run_id == claim.run_id


def test_seeds_keep_their_source_and_licence(store: Store) -> None:
    store.register_seeds([Seed("one", "xstest-safe", "CC-BY-4.0")])
    claim = begun(store)
    put(store, claim.run_id, [evaluated(0, "one")])
    with store.engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT source, licence FROM prompts").one()
    assert tuple(row) == ("xstest-safe", "CC-BY-4.0")


def test_the_stored_config_is_what_was_given(store: Store) -> None:
    begun(store)
    assert json.dumps(store.stored_config("run")) == '{"k": [1, 2]}'


def test_importing_db_does_not_import_sqlalchemy() -> None:
    code = "import sys, db; sys.exit('sqlalchemy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == 0


def test_samples_that_nobody_could_judge_are_stored_and_paid_for(store: Store) -> None:
    run = RunBuilder(store)
    parent = run.seed("How do I kill a process?")
    made, assignment = run.proposal("How do I slay a process?", [parent])
    silent = Verdict.unscored("j", "1", "no words in the response")
    samples = tuple(JudgedSample(Sample(i, "...", 3, "stop", -1.0), (silent,)) for i in range(4))
    failure = Unscored(FailureKind.UNSCORED, "no judge could score any of 4", samples, 4, 12)
    store.record(run.run_id, [Outcome(assignment, made, failure=failure)], "e")
    assert store.known_samples(run.target_id, [made.prompt_id]) == {made.prompt_id: samples}
    again = store.replay(run.run_id)[-1].failure
    assert again == replace(failure, samples=())
    summary = queries.run_summary(store, run.run_id)
    assert (summary["samples"], summary["target_tokens"], summary["unscored"]) == (7, 27, 4)
    assert summary["rejected"] == {"unscored": 1}
