"""`evocliff replay`: a run chooses again what it chose, or says how often it does not."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import db
from evo.cli import app
from tests.loop_fakes import SEEDS
from tests.replaying import CountingEngine, begin, by_hash, live, settings

Cli = Callable[..., Result]


@pytest.fixture
def evocliff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """With the one run of a whole search, called `search`."""
    url, seeds = f"sqlite:///{tmp_path}/test.db", tmp_path / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"prompt": s.text}) + "\n" for s in SEEDS))
    chosen = settings(40, seeds={"path": str(seeds), "column": "prompt"})
    with contextlib.closing(db.open(url)) as store:
        _, ended = live(store, begin(store, chosen), chosen, CountingEngine(by_hash))
    assert ended
    monkeypatch.setenv("EVOCLIFF_DB", url)
    return lambda *words: CliRunner().invoke(app, list(words))


def _index_of_one_with_a_parent(path: Path) -> tuple[int, str]:
    """The last proposal, and a prompt that is not its parent."""
    with sqlite3.connect(path) as connection:
        index, parent = connection.execute(
            "SELECT proposal_index, parent_prompt_id FROM lineage"
            " ORDER BY proposal_index DESC, position"
        ).fetchone()
        other: str = connection.execute(
            "SELECT prompt_id FROM evaluations WHERE prompt_id != ? ORDER BY proposal_index",
            (parent,),
        ).fetchone()[0]
    return index, other


def test_a_stored_run_is_chosen_again_without_a_difference(evocliff: Cli, tmp_path: Path) -> None:
    result = evocliff("replay", "search")
    assert result.exit_code == 0, result.output
    assert "0 of them pending" in result.stdout
    assert result.stdout.endswith(" 0 choices differ\n")
    done = json.loads(evocliff("replay", "search", "--json").stdout)
    with sqlite3.connect(tmp_path / "test.db") as connection:
        (proposals,) = connection.execute("SELECT count(*) FROM proposals").fetchone()
    assert done == {"run": done["run"], "proposals": proposals, "pending": 0, "differing": 0}


def test_a_choice_that_no_search_would_make_is_counted_and_the_exit_code_says_so(
    evocliff: Cli, tmp_path: Path
) -> None:
    index, other = _index_of_one_with_a_parent(tmp_path / "test.db")
    with sqlite3.connect(tmp_path / "test.db") as connection:
        connection.execute(
            "UPDATE lineage SET parent_prompt_id = ? WHERE proposal_index = ? AND position = 0",
            (other, index),
        )
    result = evocliff("replay", "search", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["differing"] == 1


def test_what_had_not_ended_is_chosen_again_too(evocliff: Cli, tmp_path: Path) -> None:
    whole = json.loads(evocliff("replay", "search", "--json").stdout)
    with sqlite3.connect(tmp_path / "test.db") as connection:
        (last,) = connection.execute("SELECT max(completed_order) FROM proposals").fetchone()
        connection.execute(
            "DELETE FROM evaluations WHERE proposal_index IN"
            " (SELECT proposal_index FROM proposals WHERE completed_order = ?)",
            (last,),
        )
        connection.execute(
            "UPDATE proposals SET status = 'pending', completed_order = NULL, failure_kind = NULL"
            " WHERE completed_order = ?",
            (last,),
        )
    done = json.loads(evocliff("replay", "search", "--json").stdout)
    assert done == whole | {"pending": 1}


def test_an_unknown_run_is_one_line_that_says_how_to_mend_it(evocliff: Cli) -> None:
    result = evocliff("replay", "saerch")
    assert result.exit_code == 2
    assert "did you mean 'search'?" in result.output
    assert "evocliff replay quickstart" in evocliff("replay", "--help").stdout
