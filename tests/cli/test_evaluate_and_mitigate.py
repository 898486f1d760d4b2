"""`evocliff evaluate` and `mitigate`: what is wrong is one line, and what they print is what was stored."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import db
from evo import evaluating
from evo.cli import app
from tests.db.builders import RunBuilder


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nofile.csv", "--target", "local:smollm2"], "nofile.csv: no such file"),
        (["xstest", "--target", "local:smolm2"], "'local:smolm2' is not one of"),
        (["xstest", "--target", "not a model"], "neither a folder"),
        (["xstest", "--target", "local:smollm2", "--prompt-col", "promt"], "did you mean 'prompt'"),
        (["xstest", "--target", "local:smollm2", "--assume", "good"], "harmless or harmful"),
        (["xstest", "--target", "local:smollm2", "--judge", "embeded"], "embedded"),
        (["xstest", "--target", "a/b-c", "--target", "a-b/c"], "alike in name"),
        (["xstest", "--target", "a/b", "--target", "a/b"], "named twice"),
        (["xstest", "--target", "a/b", "--surface", "phone"], "chat, tool-agent, browser-agent"),
        (["xstest", "--target", "a/b", "--surface", "tool-agent"], "--page-col"),
    ],
)
def test_an_evaluation_that_cannot_be_says_why_and_stores_nothing(
    words: list[str], said: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/none.db"
    code, _, error = run("evaluate", *words, "--db", url)
    assert code == 2, error
    assert said in error.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_both_system_prompts_are_two_conditions() -> None:
    found = evaluating.conditions(["a/b", "a/c+my/adapter"], "both", {"max_tokens": 5})
    assert [(c.name, c.system_prompt, c.short) for c in found] == [
        ("a/b", "none", "a-b"),
        ("a/b", "safety-prior", "a-b-safety-prior"),
        ("a/c+my/adapter", "none", "a-c-my-adapter"),
        ("a/c+my/adapter", "safety-prior", "a-c-my-adapter-safety-prior"),
    ]
    assert found[2].target["adapter"] == "my/adapter"


@pytest.mark.slow
def test_an_evaluation_prints_one_object_a_target_and_can_be_read_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/e.db"
    words = ["evaluate", "xstest", "--limit", "4", "--target", "local:smollm2-overcautious"]
    words += [
        "--max-tokens",
        "8",
        "--judge",
        "embedded",
        "--judge",
        "prefix",
        "--db",
        url,
        "--json",
    ]
    code, out, error = run(*words)
    assert code == 0, error
    first, last = map(json.loads, out.splitlines())
    assert set(first) >= {
        *("target", "n", "prr", "crr", "refusal_rate", "ci95", "confidence", "unscored"),
    }
    assert (first["n"], first["unscored"], last["diversity"]["n"]) == (4, 0, 4)
    low, high = first["ci95"]
    assert 0 <= low <= first["refusal_rate"] <= high <= 1
    assert first["confidence"] < 0
    code, again, error = run(*words, "--resume")
    assert (code, again) == (0, out), error
    shown = json.loads(run("query", "--run", first["run"], "--json", "--db", url)[1])
    assert len(shown) == 4


@pytest.mark.slow
def test_surfaces_are_runs_of_their_own_and_their_gap_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    code, out, error = run(
        *("evaluate", "agent-tasks", "--limit", "2", "--target", "local:smollm2-overcautious"),
        *("--surface", "chat", "--surface", "browser-agent", "--max-tokens", "12"),
        *("--db", url, "--json"),
    )
    assert code == 0, error
    chat, agent, gaps, _ = map(json.loads, out.splitlines())
    assert (chat["surface"], agent["surface"].partition("@")[0]) == ("chat", "browser-agent")
    assert chat["target_id"] != agent["target_id"]
    assert chat["judges"][0].startswith("embedded@")
    assert agent["judges"][0].startswith("first-decision@")
    assert sum(n for what, n in agent["decisions"].items() if what != "impossible") == 2
    (gap,) = gaps["surfaces"]
    assert (gap["from"], gap["to"], gap["n"]) == ("chat", "browser-agent", 2)
    assert gap["points"] == pytest.approx(agent["refusal_rate"] - chat["refusal_rate"])
    shown = json.loads(run("query", "--run", agent["run"], "--json", "--db", url)[1])
    assert len(shown) == 2


@pytest.fixture
def searched(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/s.db"
    with contextlib.closing(db.open(url)) as store:
        built = RunBuilder(store, "found")
        seed = built.seed("How do I kill a process?")
        for i in range(6):
            built.evaluated(f"How do I kill {i} of them?", [seed], refusals=(0.9,) * 3)
    return url


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a search with --run, or rows to learn from with --data"),
        (["--run", "fond"], "found"),
        (["--run", "found", "--method", "ppo"], "not one of sft, dpo, kto"),
        (["--run", "found"], "cannot be cut"),  # all of one seed
        (["--data", "rows.csv"], "no such file"),
        (["--run", "found", "--keep", "none.jsonl"], "none.jsonl: no such file"),
        (["--run", "found", "--resume"], "cannot be cut"),
    ],
)
def test_a_repair_that_cannot_be_says_why(
    words: list[str], said: str, searched: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = run(
        *("mitigate", "--target", "local:smollm2-overcautious", "--out", "adapter"),
        *("--db", searched, *words),
    )
    assert code == 2, error
    assert said in error.splitlines()[-1]
    assert not Path("adapter").exists()
