"""`evocliff db`: what people and pipes see."""

from __future__ import annotations

import json
import sqlite3
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
        run.seed("How do I kill a process?", refusals=(0.1, 0.1))
        run.seed("How do I shoot a portrait?", refusals=(0.9, 0.9))
        run.finish()
    return evocliff


def test_a_database_is_made_and_checked(evocliff: Cli) -> None:
    assert evocliff("db", "check").exit_code == 2
    assert evocliff("db", "upgrade").stdout.startswith("schema 0")
    assert evocliff("db", "check").stdout.splitlines()[0] == "sound"


def test_check_tells_the_rows_and_the_size_of_each_table(filled: Cli) -> None:
    report = json.loads(filled("db", "check", "--json").stdout)
    assert set(report) == {"sound", "problems", "schema", "bytes", "tables"}
    tables = {row["table"]: row for row in report["tables"]}
    assert tables["samples"]["rows"] == 4
    assert report["bytes"] > 0
    lines = filled("db", "check").stdout.splitlines()
    assert lines[0] == "sound"
    assert any(line.split()[:2] == ["samples", "4"] for line in lines)


def test_a_row_that_points_to_nothing_is_damage(filled: Cli, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "test.db") as connection:
        connection.execute("DELETE FROM targets")
    result = filled("db", "check")
    assert result.exit_code == 1
    assert "points to a row of targets that is not there" in result.stdout
    assert json.loads(filled("db", "check", "--json").stdout)["sound"] is False


def test_vacuum_says_sizes_and_what_was_forgotten(filled: Cli) -> None:
    assert filled("db", "vacuum").stdout.splitlines()[0] == "space given back"
    lines = filled("db", "vacuum", "--retain", "over-refusals").stdout.splitlines()
    assert lines[0] == "2 samples forgotten"
    assert " before, " in lines[-1]
    done = json.loads(filled("db", "vacuum", "--json").stdout)
    assert set(done) == {"before", "after", "forgotten", "done"}
    assert filled("db", "check").exit_code == 0


def test_what_to_retain_is_told_when_it_is_not_understood(filled: Cli) -> None:
    result = filled("db", "vacuum", "--retain", "most")
    assert result.exit_code == 2
    assert "--retain 'most': write all, over-refusals or a time" in result.stderr


def test_vacuum_makes_no_database(evocliff: Cli, tmp_path: Path) -> None:
    assert evocliff("db", "vacuum").exit_code == 2
    assert not (tmp_path / "test.db").exists()


@pytest.mark.parametrize("command", ["upgrade", "check", "vacuum"])
def test_help_ends_with_an_example(evocliff: Cli, command: str) -> None:
    assert "Example" in evocliff("db", command, "--help").stdout
