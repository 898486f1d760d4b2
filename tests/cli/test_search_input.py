"""Whatever is wrong with what `search` is given: one clear line, exit code 2, nothing lost."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from click.testing import Result
from typer.testing import CliRunner

import db
from evo.cli import app
from tests.one_line import error_line

CONFIG = """
name: test
seeds: {{path: {folder}/seeds.jsonl}}
target: {{model: local:smollm2}}
budget: {{evaluations: 4}}
store: sqlite:///{folder}/test.db
"""
Search = Callable[..., Result]


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    monkeypatch.delenv("EVOCLIFF_DB", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seeds.jsonl").write_text('{"prompt": "How do I kill a process?"}\n')
    (tmp_path / "my.yaml").write_text(CONFIG.format(folder=tmp_path))
    return lambda *words: CliRunner().invoke(app, ["search", *words])


def refused(result: Result) -> str:
    """The one line of an error, and nothing else was printed."""
    line = error_line(result)
    assert result.stdout == ""
    return line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("budget.evaluation=5", "did you mean 'evaluations'"),
        ("buget.evaluations=5", "did you mean 'budget'"),
        ("budget.evaluations=0", "budget.evaluations"),
        ("budget.wall_clock=0", "budget.wall_clock"),
        ("seeds.path=none.jsonl", "none.jsonl: no such file"),
        ("seeds.column=text", "has no 'text'; it has prompt"),
        ("target.model=smolm2", "local: name (smollm2, smollm2-overcautious"),
        ("target.model=local:smolm2", "smollm2"),
        ("target.engine=transformer", "transformers"),
        ("judges=[embeded]", "embedded"),
        ("safety=[seed-contrst]", "seed-contrast"),
        ("search.algorithm=steady", "steady-state"),
        ("proposer.operators=[lexicle]", "lexical"),
        ("store=sqlite:///no/such/folder/x.db", "no/such/folder"),
        ("store=nonsense", "nonsense"),
    ],
)
def test_a_wrong_value_is_named_with_its_mend(search: Search, change: str, said: str) -> None:
    assert said in refused(search("my.yaml", "--set", change))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no prompt"),
        ('{"prompt": 7}\n', "is not text but int"),
        ('{"prompt": \n', "not JSON"),
    ],
)
def test_a_wrong_seed_file_is_named(
    search: Search, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "seeds.jsonl").write_text(content)
    line = refused(search("my.yaml"))
    assert said in line
    assert "seeds.jsonl" in line
    assert not (tmp_path / "test.db").exists()


def test_a_file_that_is_no_config_is_named(search: Search, tmp_path: Path) -> None:
    assert "none.yaml: no such config file" in refused(search("none.yaml"))
    assert "name a config file" in refused(search())


def test_each_wrong_database_is_named(search: Search, tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    path.write_bytes(b"this is a text file, and no database at all\n" * 50)
    assert "test.db" in refused(search("my.yaml"))
    assert path.read_bytes().startswith(b"this is a text file")
    path.unlink()
    db.open(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE evocliff_schema SET version_num = '9999'")
    assert "newer" in refused(search("my.yaml"))


def test_a_locked_database_is_named(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connection._BUSY_TIMEOUT_MS", 50)
    db.open(f"sqlite:///{tmp_path}/test.db").close()
    holder = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    holder.execute("PRAGMA journal_mode=DELETE")  # a lock that shuts readers out too
    holder.execute("BEGIN EXCLUSIVE")
    assert "locked" in refused(search("my.yaml"))
    holder.close()


def test_a_run_that_cannot_be_resumed_is_named(search: Search, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/test.db"
    assert "no such database" in refused(search("--resume", "x", "--db", "sqlite:///none.db"))
    stored = {
        "seeds": {"path": str(tmp_path / "seeds.jsonl")},
        "target": {"model": "local:smollm2"},
        "budget": {"evaluations": 4},
    }
    store = db.open(url)
    store.begin_run("held", stored, 0, "0.1.0")
    other = psutil.Process(os.getppid())  # a process that is not this one, and lives
    with sqlite3.connect(tmp_path / "test.db") as connection:
        connection.execute(
            "UPDATE runs SET pid = ?, process_started = ?", (other.pid, other.create_time())
        )
    done = store.begin_run("done", stored, 0, "0.1.0")
    store.end_run(done.run_id, "finished", "budget: 4 evaluations", wall_s=1.0)
    assert "did you mean 'held'" in refused(search("--resume", "hled", "--db", url))
    assert "finished" in refused(search("--resume", "done", "--db", url))
    line = refused(search("--resume", "held", "--db", url))
    assert "held" in line
    assert "process" in line
    change = ("--set", "seed=3")
    assert "budget.*" in refused(search("--resume", "held", "--db", url, *change))
    store.close()


def test_a_dry_run_starts_nothing(search: Search, tmp_path: Path) -> None:
    result = search("my.yaml", "--dry-run")
    assert result.exit_code == 0
    assert "evaluations" in result.stdout
    assert not (tmp_path / "test.db").exists()
