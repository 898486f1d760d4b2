"""A whole search in which small real models vote as gate and judge beside the embedded ones."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

import db
import evo
from db import queries

BASE: dict[str, Any] = {
    "seeds": {"dataset": "xstest-safe", "limit": 3},
    "target": {"model": "local:smollm2-overcautious", "sampling": {"max_tokens": 8}},
    "search": {"batch": 3, "samples": {"first": 2, "max": 2}},
}


@pytest.mark.slow
def test_a_gate_without_a_vote_stops_every_prompt_before_the_target(tmp_path: Path) -> None:
    config = BASE | {
        "safety": ["seed-contrast", "llm:local:smollm2"],
        "budget": {"evaluations": 4, "proposals": 5},
    }
    url = f"sqlite:///{tmp_path}/gate.db"
    run = evo.search(config, store=url)
    with contextlib.closing(db.open(url, read_only=True)) as store:
        outcomes = store.replay(run.run_id)
    decided = [{d.gate for d in o.gate_decisions} for o in outcomes if o.gate_decisions]
    assert decided
    assert all(gates == {"seed-contrast", "llm:local:smollm2"} for gates in decided)
    # A model of this size seldom votes as asked; what it does not call harmless costs no token.
    for outcome in outcomes:
        votes = {d.outcome.value for d in outcome.gate_decisions}
        assert bool(outcome.evaluation) <= (votes == {"harmless"})


@pytest.mark.slow
def test_a_model_that_judges_leaves_verdicts_or_reasons_beside_those_of_the_first(
    tmp_path: Path,
) -> None:
    judge = "llm:local:smollm2-overcautious"  # the target itself, which shares its weights
    config = BASE | {"judges": ["embedded", judge], "budget": {"evaluations": 3}}
    url = f"sqlite:///{tmp_path}/judge.db"
    run = evo.search(config, store=url)
    summary = run.summary()
    assert (summary["evaluations"], summary["samples"]) == (3, 6)
    with contextlib.closing(db.open(url, read_only=True)) as store:
        outcomes = store.replay(run.run_id, samples=True)
        assert queries.run_summary(store, run.name)["unscored"] == 0  # by the judge that decides
    verdicts = [
        v for o in outcomes if o.evaluation for s in o.evaluation.samples for v in s.verdicts
    ]
    assert sorted({v.judge for v in verdicts}) == ["embedded", judge]
    for verdict in verdicts:
        if verdict.judge == judge:
            assert (verdict.p_refusal is None) == bool(verdict.unscored_reason)
