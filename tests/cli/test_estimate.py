"""`search --dry-run`: tokens from the config, time from what was measured or stated, else unknown."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import db
from evo.cli import app
from tests.db.builders import RunBuilder

CONFIG = """
name: test
seeds: {{dataset: xstest-safe, limit: 5}}
target: {{model: {model}, replicas: 2, sampling: {{max_tokens: 50}}}}
search: {{samples: {{first: 2, max: 10}}}}
budget: {budget}
store: sqlite:///{folder}/test.db
"""


@pytest.fixture(autouse=True)
def prepared_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.local_models.resolve", lambda model: Path(model))


def time_line(
    folder: Path, *options: str, budget: str = "{evaluations: 100}", model: str = "m"
) -> str:
    (folder / "my.yaml").write_text(CONFIG.format(folder=folder, budget=budget, model=model))
    done = CliRunner().invoke(app, ["search", str(folder / "my.yaml"), "--dry-run", *options])
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("# time: ")]
    return line.removeprefix("# time: ")


def test_time_is_unknown_until_something_was_measured(tmp_path: Path) -> None:
    said = time_line(tmp_path)
    assert said.startswith("unknown: no run of this target is in the store")
    assert "--tokens-per-s" in said
    assert not (tmp_path / "test.db").exists()


def test_a_stated_rate_gives_the_time(tmp_path: Path) -> None:
    # 100 evaluations x 10 samples x 50 tokens over 2 replicas at 25 tokens/s
    said = time_line(tmp_path, "--tokens-per-s", "25")
    assert said.startswith(
        "at most 17 min after the models have loaded, at 25 tokens/s for each of 2"
    )
    assert "(as stated)" in said


def test_the_smaller_budget_counts_and_a_time_budget_is_named(tmp_path: Path) -> None:
    budget = "{evaluations: 100, target_tokens: 1000, wall_clock: 3600}"
    said = time_line(tmp_path, "--tokens-per-s", "10", budget=budget)
    assert said.startswith("at most 50 s after")
    assert said.endswith("; the budget ends it after 60 min")
    assert time_line(tmp_path, budget="{wall_clock: 100}") == "the budget ends it after 100 s"
    assert "nothing new is found" in time_line(tmp_path, budget="{stall: 100}")


def test_a_former_run_of_the_same_target_is_the_measure(tmp_path: Path) -> None:
    from evo.config import load

    time_line(tmp_path)  # writes the config
    stored = load(tmp_path / "my.yaml")
    with contextlib.closing(db.open(stored.store)) as store:
        run = RunBuilder(store, "former", hosted=stored.target.model_dump(mode="json"))
        seed = run.seed("a seed")
        run.evaluated("child", (seed,))
        run.finish()
    said = time_line(tmp_path)
    assert "measured in run 'former'" in said
    assert said.startswith("at most ")
    assert "unknown" in time_line(tmp_path, model="another")


def test_a_rate_that_is_none_is_bad_input(tmp_path: Path) -> None:
    time_line(tmp_path)
    words = ["search", str(tmp_path / "my.yaml"), "--dry-run", "--tokens-per-s", "0"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "--tokens-per-s 0.0: a rate is greater than 0" in done.stderr
