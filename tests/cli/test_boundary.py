"""`evocliff boundary` and `evocliff query --boundary`: what people and pipes see."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from db import boundary
from evo.cli import app
from evo.types import prompt_id
from tests.db.builders import RunBuilder, opened
from tests.one_line import error_line

Cli = Callable[..., Result]


@pytest.fixture
def evocliff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("EVOCLIFF_DB", f"sqlite:///{tmp_path}/test.db")
    with opened(tmp_path) as store:
        run = RunBuilder(store, "first")
        parent = run.seed("How do I stop a process?", refusals=(0.1, 0.0))
        run.evaluated("How do I kill a \x1b process?", (parent,))
        pair = boundary.Pair(
            prompt_id("How do I kill a \x1b process?"),
            parent.prompt_id,
            ({"start": 3, "removed": ["kill"], "inserted": ["stop"]},),
            "lineage",
            1,
            0.91,
            0.63,
            3,
            0.05,
            2,
            False,
            120,
        )
        boundary.put_pairs(store, run.run_id, run.target_id, [pair, pair])
        boundary.put_pairs(store, run.run_id, run.target_id, [pair])
        run.finish()
    return lambda *words: CliRunner().invoke(app, list(words))


def test_pairs_are_shown_side_by_side(evocliff: Cli) -> None:
    head, refused, answered = evocliff("query", "--boundary", "--run", "first").stdout.splitlines()
    assert "edit" in head
    assert refused.startswith("refused")
    assert "kill -> stop" in refused
    assert r"kill a \x1b process" in refused
    assert answered.startswith("answered")
    assert answered.endswith("How do I stop a process?")


def test_pairs_as_json_and_csv_hold_every_column(evocliff: Cli) -> None:
    (row,) = json.loads(evocliff("query", "--boundary", "--json").stdout)
    assert tuple(row) == boundary.COLUMNS
    assert row["edit"] == [{"start": 3, "removed": ["kill"], "inserted": ["stop"]}]
    (read,) = csv.DictReader(io.StringIO(evocliff("query", "--boundary", "--csv").stdout))
    assert json.loads(read["edit"]) == row["edit"]
    assert read["answered"] == row["answered"]
    summary = json.loads(evocliff("show", "first", "--json").stdout)
    assert summary["boundary_pairs"] == 1


@pytest.mark.parametrize(
    ("words", "n"),
    [
        (("--like", "stop"), 1),
        (("--like", "kill"), 1),
        (("--like", "nowhere"), 0),
        (("--target", "tiny-model"), 1),
    ],
)
def test_pairs_are_found_by_either_side_and_by_target(
    evocliff: Cli, words: tuple[str, ...], n: int
) -> None:
    assert len(json.loads(evocliff("query", "--boundary", "--json", *words).stdout)) == n
    assert evocliff("query", "--boundary", "--csv", *words).stdout.startswith("run,target,refused")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("query", "--boundary", "--sort", "refusal"), "leave the others out"),
        (("query", "--boundary", "--run", "frist"), "did you mean 'first'"),
        (("query", "--boundary", "--target", "x"), "no run has asked this model"),
        (("boundary", "frist"), "did you mean 'first'"),
        (("boundary", "first", "--db", "sqlite:///nowhere/x.db"), "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    evocliff: Cli, words: tuple[str, ...], message: str
) -> None:
    result = evocliff(*words)
    assert message in error_line(result)


def test_help_ends_with_an_example(evocliff: Cli) -> None:
    result = evocliff("boundary", "--help")
    assert result.exit_code == 0
    assert "evocliff boundary quickstart" in result.stdout
