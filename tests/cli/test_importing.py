"""`evocliff import` and seeds out of the store: what people and pipes see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from evo.cli import app

Cli = Callable[..., Result]
XSTEST = str(Path("evo/seeds/xstest_prompts.csv").absolute())


@pytest.fixture
def evocliff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVOCLIFF_DB", f"sqlite:///{tmp_path}/test.db")
    return lambda *words: CliRunner().invoke(app, list(words))


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert result.stdout == ""
    return line


def test_an_import_says_what_it_read_and_what_became_of_it(evocliff: Cli) -> None:
    shown = evocliff("import", XSTEST).stdout
    for line in (
        f"{XSTEST}: xstest, prompt from 'prompt', label from 'label', category from 'type'",
        "licence    CC-BY-4.0",
        "read       450",
        "new        450",
        "skipped    0",
        "labels     safe 250, unsafe 200",
    ):
        assert line in shown.splitlines()
    again = json.loads(evocliff("import", XSTEST, "--json").stdout)
    assert (again["new"], again["linked"], again["source"]) == (0, 450, "xstest")


def test_a_dry_run_makes_no_database(evocliff: Cli, tmp_path: Path) -> None:
    result = evocliff("import", XSTEST, "--dry-run")
    assert "new        450" in result.stdout
    assert result.stdout.endswith("dry run: nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_makes_no_database(evocliff: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("promt\nx\n")
    assert "name the column of the prompts with --prompt-col; it has promt" in refused(
        evocliff("import", "a.csv")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_what_was_left_out_or_changed_is_told_with_its_first_place(
    evocliff: Cli, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("prompt,label\nx,\x1b[31mred\n,\n ,\na\x00b,\n")
    shown = evocliff("import", "a.csv").stdout
    assert "skipped    2  (empty 2, first a.csv:3)" in shown
    assert (
        "changed    1  (NUL or half a surrogate pair 1, first a.csv:5), stored as U+FFFD" in shown
    )
    assert r"labels     \x1b[31mred 1" in shown
    assert "licence    not stated; --licence L keeps one" in shown


def test_a_broken_line_is_one_line_and_nothing_is_stored(evocliff: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    assert "a.jsonl:2: not JSON" in refused(evocliff("import", "a.jsonl"))
    assert json.loads(evocliff("import", XSTEST, "--json").stdout)["new"] == 450


CONFIG = """\
seeds: {{store: {source}}}
target: {{model: local:smollm2}}
budget: {{evaluations: 100}}
"""


def test_a_config_starts_from_what_was_imported(evocliff: Cli, tmp_path: Path) -> None:
    evocliff("import", XSTEST)
    (tmp_path / "run.yaml").write_text(CONFIG.format(source="xstest"))
    result = evocliff("search", "run.yaml", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "# seeds: 250" in result.stdout
    (tmp_path / "run.yaml").write_text(CONFIG.format(source="xtest"))
    line = refused(evocliff("search", "run.yaml", "--dry-run"))
    assert "seeds.store: nothing was imported from 'xtest'" in line
    assert "did you mean 'xstest'?" in line


def test_seeds_come_from_one_place(evocliff: Cli, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG.format(source="xstest, dataset: xstest-safe"))
    line = refused(evocliff("search", "run.yaml", "--dry-run"))
    assert "name one of 'dataset', 'path' and 'store'" in line
