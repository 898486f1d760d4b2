"""`doctor` and `models`: what a user asks before the first search."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evo.cli import app, doctor

NAMES = {"smollm2", "smollm2-overcautious", "all-minilm-l6-v2"}


def findings(*words: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(app, ["doctor", "--json", *words])
    return result.exit_code, {f["check"]: f for f in json.loads(result.stdout)}


@pytest.mark.slow
def test_doctor_looks_at_everything_that_a_search_needs(tmp_path: Path) -> None:
    code, found = findings("--db", f"sqlite:///{tmp_path}/none.db")
    assert code == 0
    assert list(found) == [
        "python",
        "packages",
        "device",
        "memory",
        "disk",
        "models",
        "database",
        "ray",
    ]
    assert all(f["status"] in {"ok", "warning"} for f in found.values())
    assert not (tmp_path / "none.db").exists()


def test_doctor_ends_with_1_and_the_mend_when_something_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = doctor.Finding("ray", "ok", "not looked at")
    monkeypatch.setattr(doctor, "_ray", lambda address, nodes: fine)
    (tmp_path / "text.db").write_text("this is a diary, not a database")
    code, found = findings("--db", f"sqlite:///{tmp_path}/text.db")
    assert code == 1
    assert found["database"]["status"] == "broken"
    assert "not a database" in found["database"]["mend"]


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DISTRIBUTIONS", ("torch", "no-such-thing"))
    finding = doctor._packages()
    assert (finding.status, finding.found) == ("broken", "missing: no-such-thing")
    assert finding.mend


def test_doctor_leaves_a_database_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    assert doctor._database(f"sqlite:///{path}").status == "broken"
    assert path.read_bytes() == before


def test_models_list_names_every_model_and_whether_it_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOCLIFF_CACHE", str(tmp_path))
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["name"] for row in rows} == NAMES
    assert not any(row["prepared"] for row in rows)
    plain = CliRunner().invoke(app, ["models", "list"]).stdout
    assert all(f"local:{name}" in plain for name in NAMES)
    assert plain.count("not prepared") == len(NAMES)


def test_preparing_a_model_that_does_not_exist_names_those_that_do() -> None:
    result = CliRunner().invoke(app, ["models", "prepare", "smolm2"])
    assert result.exit_code == 2
    assert "smollm2" in result.stderr
    assert len(result.stderr.splitlines()) == 2  # the progress line, then the error
