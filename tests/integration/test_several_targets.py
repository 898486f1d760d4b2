"""Several targets at once: scripted ones that disagree, killed and resumed; and two real ones."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest

import db
import evo
from db import queries
from evo.types import Outcome
from tests.integration.killable_search import EVALUATIONS, live
from tests.integration.test_kill import start


def stored(path: Path) -> list[Outcome]:
    with contextlib.closing(db.open(f"sqlite:///{path}", read_only=True)) as store:
        return store.replay(queries.find_run(store, "search"), samples=True)


def test_over_two_targets_a_killed_search_resumes_as_if_nobody_had_disturbed_it(
    tmp_path: Path,
) -> None:
    live(f"sqlite:///{tmp_path}/whole.db", False, 0.0, several=True)
    url, rng = f"sqlite:///{tmp_path}/killed.db", random.Random(3)
    for life in range(2):
        word = "resume" if life else "new"
        process = start("-m", "tests.integration.killable_search", url, word, "0.2", "several")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stdout.read()
        time.sleep(rng.uniform(0.2, 0.8))
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.communicate()
    live(url, True, 0.0, several=True)
    whole = stored(tmp_path / "whole.db")
    assert stored(tmp_path / "killed.db") == whole
    evaluations = [o.evaluation for o in whole if o.evaluation]
    assert len(evaluations) == EVALUATIONS
    assert all(len(e.by_target) == 2 for e in evaluations)
    rates = [[part.score.refusal_rate for _, part in e.by_target] for e in evaluations]
    assert any(abs(one - other) > 0.5 for one, other in rates), "the targets agree"
    assert [e.score.refusal_rate for e in evaluations] == pytest.approx(
        [sum(both) / 2 for both in rates]
    )


TWO = {
    "name": "two",
    "seeds": {"dataset": "xstest-safe", "limit": 4},
    "targets": {
        "plain": {
            "model": "local:smollm2-overcautious",
            "system_prompt": "none",
            "sampling": {"max_tokens": 8},
        },
        "warned": {
            "model": "local:smollm2-overcautious",
            "system_prompt": "safety-prior",
            "sampling": {"max_tokens": 8},
        },
    },
    "search": {"batch": 4, "samples": {"first": 1, "max": 2}, "fitness_over": "mean"},
    "budget": {"evaluations": 8},
}


@pytest.mark.slow
def test_two_real_targets_are_asked_and_each_keeps_its_own_samples(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/two.db"
    run = evo.search(TWO, store=url)
    assert run.status == "finished"
    summary = run.summary()
    assert summary["evaluations"] >= 8
    plain, warned = summary["targets"]
    assert plain["evaluations"] == warned["evaluations"] == summary["evaluations"]
    assert {plain["system_prompt"] is None, warned["system_prompt"] is None} == {True, False}
    assert summary["target_tokens"] == plain["target_tokens"] + warned["target_tokens"] > 0
    assert {r["pool"] for r in summary["replicas"]} == {"target-plain", "target-warned"}
    with contextlib.closing(db.open(url, read_only=True)) as store:
        outcomes = store.replay(run.run_id, samples=True)
        scored = [o.evaluation for o in outcomes if o.evaluation]
        assert all(part.samples for e in scored for _, part in e.by_target)
        rows = queries.query(store, run="two", target=warned["target"])
    assert len(rows) == summary["evaluations"]
