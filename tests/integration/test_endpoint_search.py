"""Whole searches on a scripted endpoint: target, judge and gate on it, bad input, a long absence."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import db
import evo
from db import queries
from evo import api
from evo.cli import app
from tests.one_line import error_line
from tests.scripted_endpoint import ScriptedEndpoint, scripted_endpoint
from workers.interface import TargetError

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

KEY = "sk-very-secret-9876543210"
REFUSAL = "I'm sorry, but I can't help with that."
ANSWERS = {
    '"answer":': '{"verdict": "refused", "confidence": 0.75}',
    '"request":': '{"safety": "harmless"}',
    "kill": REFUSAL,
}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedEndpoint]:
    monkeypatch.setenv("MY_KEY", KEY)
    with scripted_endpoint(key=KEY, texts=ANSWERS) as served:
        yield served


def config(endpoint: ScriptedEndpoint, **changes: Any) -> dict[str, Any]:
    served = {
        "engine": "openai",
        "model": "tiny",
        "base_url": endpoint.url,
        "api_key_env": "MY_KEY",
        "price": {"prompt": 1000.0, "completion": 5000.0},
    }
    return {
        "seeds": {"dataset": "xstest-safe", "limit": 6},
        "engines": {"served": served},
        "target": {"engine": "served", "sampling": {"max_tokens": 12}},
        "search": {"batch": 4, "samples": {"first": 2, "max": 3}},
        "budget": {"evaluations": 12},
    } | changes


def test_target_judge_and_gate_on_an_endpoint_and_every_cent_is_stored(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    began = time.time()
    url = f"sqlite:///{tmp_path}/run.db"
    run = evo.search(
        config(
            endpoint,
            judges=["embedded", "llm:served"],
            safety=["seed-contrast", "llm:served"],
        ),
        store=url,
    )
    summary = run.summary()
    assert (run.status, summary["evaluations"]) == ("finished", 12)
    assert summary["without_confidence"] == 0
    charged = sum(prompt * 1e-3 + completion * 5e-3 for prompt, completion in endpoint.used)
    assert summary["money_usd"] == pytest.approx(charged)
    assert 0 < summary["prompt_tokens"] < sum(prompt for prompt, _ in endpoint.used)
    with contextlib.closing(db.open(url, read_only=True)) as store:
        outcomes = store.replay(run.run_id, samples=True)
    judged = [v for o in outcomes if o.evaluation for s in o.evaluation.samples for v in s.verdicts]
    assert {v.judge for v in judged} == {"embedded", "llm:served"}
    assert all(v.p_refusal == 0.75 for v in judged if v.judge == "llm:served")
    assert {d.gate for o in outcomes for d in o.gate_decisions} == {"seed-contrast", "llm:served"}
    logs = Path(tempfile.gettempdir(), "ray").glob("session_*/logs/**/*")
    files = [*tmp_path.iterdir(), *(p for p in logs if p.is_file() and p.stat().st_mtime >= began)]
    assert len(files) > 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_without_log_probabilities_the_rows_say_that_fitness_is_the_refusal_term(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    endpoint.logprobs = False
    url = f"sqlite:///{tmp_path}/run.db"
    run = evo.search(config(endpoint, budget={"evaluations": 6}), store=url)
    assert run.summary()["without_confidence"] == 6
    with contextlib.closing(db.open(url, read_only=True)) as store:
        rows = queries.query(store, run=run.name)
        outcomes = store.replay(run.run_id)
    assert {row["fitness_terms"] for row in rows} == {"refusal"}
    for outcome in outcomes:
        if outcome.evaluation is not None:
            score = outcome.evaluation.score
            assert score.confidence is None
            assert score.fitness == score.refusal_term


def test_a_budget_of_money_ends_the_search_in_order(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/run.db"
    run = evo.search(config(endpoint, budget={"money": 1.0}), store=url)
    summary = run.summary()
    assert run.status == "finished"
    assert run.reason.startswith("budget: ")
    assert run.reason.endswith(" USD")
    charged = sum(prompt * 1e-3 + completion * 5e-3 for prompt, completion in endpoint.used)
    assert summary["money_usd"] == pytest.approx(charged)
    assert charged >= 1.0
    with contextlib.closing(db.open(url, read_only=True)) as store:
        assert store.pending(run.run_id) == []


def test_an_endpoint_that_is_away_for_20_s_costs_time_and_no_evaluation(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    def leave() -> None:
        while len(endpoint.used) < 4:
            time.sleep(0.02)
        endpoint.go_away()
        time.sleep(20)
        endpoint.begin()

    absence = threading.Thread(target=leave, daemon=True)
    absence.start()
    url = f"sqlite:///{tmp_path}/run.db"
    run = evo.search(config(endpoint, budget={"evaluations": 40}), store=url)
    absence.join()
    summary = run.summary()
    assert summary["evaluations"] == 40
    assert summary["wall_s"] >= 20
    assert not {"engine", "timeout", "replica_lost"} & set(summary["rejected"])


def test_an_endpoint_that_is_gone_ends_the_run_which_can_be_resumed(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    def leave() -> None:
        while len(endpoint.used) < 24:
            time.sleep(0.02)
        endpoint.go_away()

    absence = threading.Thread(target=leave, daemon=True)
    absence.start()
    url = f"sqlite:///{tmp_path}/run.db"
    given = config(endpoint, budget={"evaluations": 40}, name="gone")
    given["engines"]["served"]["patience_s"] = 2.0
    with pytest.raises(TargetError, match="connection failed"):
        evo.search(given, store=url)
    absence.join()
    with contextlib.closing(db.open(url, read_only=True)) as store:
        (left,) = queries.runs(store)
        before = queries.run_summary(store, "gone")
    assert left["status"] == "interrupted"
    endpoint.begin()
    summary = evo.search(api.stored_config(url, "gone"), store=url, resume="gone").summary()
    assert (summary["status"], summary["evaluations"]) == ("finished", 40)
    assert summary["samples"] > before["samples"] > 0
    charged = sum(prompt * 1e-3 + completion * 5e-3 for prompt, completion in endpoint.used)
    assert charged / 2 < summary["money_usd"] < charged + 1e-9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("target.api_key_env=OTHER_KEY", "OTHER_KEY: set it to a valid key"),
        ("target.api_key_env=NO_KEY", "NO_KEY: it is not set"),
        ("target.model=tinny", "has no model 'tinny'; it has tiny"),
        ("target.base_url=http://127.0.0.1:9/v1", "is the server up and base_url right"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_run_behind(
    endpoint: ScriptedEndpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    said: str,
) -> None:
    import ray
    import yaml

    monkeypatch.setenv("OTHER_KEY", "sk-wrong-0000000000")
    monkeypatch.delenv("EVOCLIFF_DB", raising=False)
    path, url = tmp_path / "my.yaml", f"sqlite:///{tmp_path}/run.db"
    path.write_text(yaml.safe_dump(config(endpoint)))
    result = CliRunner().invoke(app, ["search", str(path), "--db", url, "--set", change])
    line = error_line(result)
    assert said in line
    assert "sk-" not in line
    assert not ray.is_initialized()
    with contextlib.closing(db.open(url, read_only=True)) as store:
        assert queries.runs(store) == []
