"""`export` at the command line: splits, benchmarks, and what is wrong with an option."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from evo.cli import app
from tests.db.builders import RunBuilder, opened

Cli = Callable[..., Result]


@pytest.fixture
def evocliff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("EVOCLIFF_DB", f"sqlite:///{tmp_path}/test.db")
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture
def filled(tmp_path: Path, evocliff: Cli) -> Cli:
    with opened(tmp_path) as store:
        run = RunBuilder(store, "first")
        for n in range(4):
            run.evaluated(f"child {n}", (run.seed(f"seed {n}", refusals=(0.1,)),))
    return evocliff


def test_a_split_is_told_side_by_side(filled: Cli, tmp_path: Path) -> None:
    words = ("export", "--format", "dpo", "--split", "train=0.5,test=0.5")
    out = tmp_path / "a"
    lines = filled(*words, "--out", str(out)).stdout.splitlines()
    assert lines[0] == "dpo          4 rows: train 2, test 2"
    done = json.loads(filled(*words, "--out", str(tmp_path / "b"), "--json").stdout)
    assert done["splits"] == {"dpo": {"train": 2, "test": 2}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--split", "train"), "--split train: 'train' is not NAME=SHARE"),
        (("--split", "a=0.5,b=0.4"), "the shares add up to 0.9, not to 1"),
        (
            ("--against", "nowhere"),
            "--against nowhere: neither a source in this database nor a file",
        ),
        (("--drop-contaminated",), "--drop-contaminated: goes with --against"),
        (("--like", "nothing"), "no evaluated prompt matches --like nothing; relax it"),
        (("--format", "cliff"), "no probe has traced these prompts yet"),
        (("--format", "dop"), "--format dop: not one of test, sft, dpo"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    filled: Cli, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = filled("export", "--format", "test", "--out", str(tmp_path / "out"), *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_refused(filled: Cli, tmp_path: Path) -> None:
    result = filled("export", "--format", "sftt", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "sharegpt" in result.stderr
