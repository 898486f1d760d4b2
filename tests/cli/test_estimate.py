"""`search --dry-run`: tokens from the config, time from what was measured or stated, else unknown."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import db
from evo.cli import app
from evo.cli.estimate import least_samples
from evo.config import validate
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


def plan(folder: Path, search: str, *, targets: str = "", evaluations: int = 100) -> str:
    """What `--dry-run` says of a config; its lines beside the config itself."""
    target = targets or "target: {model: m, sampling: {max_tokens: 50}}"
    (folder / "my.yaml").write_text(
        f"seeds: {{dataset: xstest-safe, limit: 5}}\n{target}\nsearch: {search}\n"
        f"budget: {{evaluations: {evaluations}}}\nstore: sqlite:///{folder}/test.db\n"
    )
    words = ["search", str(folder / "my.yaml"), "--dry-run", "--tokens-per-s", "10"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith("# "))


def test_racing_and_openings_are_told_as_at_least_and_at_most(tmp_path: Path) -> None:
    said = plan(tmp_path, "{samples: {first: 2, max: 10}, settle: 0.05}")
    # 95 prompts with two samples and 5 that one sample completed; 100 with ten
    assert "# target samples: at least 195 (fewer where the store has them already)" in said
    assert "at most 1000: 2 of each prompt, up to 10 while it is in doubt" in said
    assert "# target tokens: at most 50000, and one for each of at most 2000 openings" in said
    assert "# screening: what looks hopeless is not sampled" in said


def test_without_racing_and_screening_the_samples_are_known(tmp_path: Path) -> None:
    off = "screening: {predictor: false, opening: false}"
    said = plan(tmp_path, f"{{samples: {{first: 2, max: 10}}, racing: false, {off}}}")
    assert "at least 1000 (fewer where the store has them already), at most 1000: 10 of" in said
    assert "in doubt" not in said
    assert "# target tokens: at most 50000\n" in said
    assert "screening" not in said


def test_several_targets_take_no_openings_and_the_slowest_decides(tmp_path: Path) -> None:
    targets = (
        "targets:\n  a: {model: m, replicas: 4, sampling: {max_tokens: 50}}\n"
        "  b: {model: n, replicas: 1, sampling: {max_tokens: 30}}"
    )
    said = plan(tmp_path, "{settle: 0.0}", targets=targets)
    assert "at least 400 (fewer where the store has them already), at most 2000" in said
    assert "of 2 targets (all)" in said
    assert "# target tokens: at most 80000\n" in said
    # b: 100 x 10 x 30 tokens at 10 a second
    assert "# time: at most 50 min after" in said
    assert "for each of 5 replicas (4, 1)" in said
    least = plan(tmp_path, "{settle: 0.0, fitness_over: min}", targets=targets)
    assert "at least 200 (fewer" in least
    assert "of 2 targets (until one answers)" in least
    assert "# time: at most 71 min after" in least  # b waits for a: 1,250 s more


@given(st.integers(1, 2000), st.integers(1, 12), st.integers(0, 12), st.floats(0.0, 0.5))
def test_at_least_is_never_more_than_at_most(
    evaluations: int, first: int, more: int, settle: float
) -> None:
    config = validate(
        {
            "seeds": {"dataset": "xstest-safe"},
            "target": {"model": "m"},
            "search": {"samples": {"first": first, "max": first + more}, "settle": settle},
            "budget": {"evaluations": evaluations},
        }
    )
    assert 0 < least_samples(config, evaluations) <= evaluations * (first + more)


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
