"""`runs`, `show`, `query`, `lineage`, `export`, `db`: what people and pipes see."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from evo.cli import app
from evo.cli.records import visible
from evo.types import prompt_id
from tests.db.builders import RunBuilder, opened
from tests.one_line import error_line

Cli = Callable[..., Result]


@pytest.fixture
def evocliff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("EVOCLIFF_DB", f"sqlite:///{tmp_path}/test.db")
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture
def filled(tmp_path: Path, evocliff: Cli) -> Cli:
    with opened(tmp_path) as store:
        run = RunBuilder(store, "first")
        seed = run.seed("How do I kill a process?", refusals=(0.1, 0.1))
        run.evaluated("red \x1b[31m and\nright\u202e left", (seed,))
        run.evaluated('=plain, "quoted"', (seed,), refusals=(0.2, 0.2))
        run.finish()
    return evocliff


def test_runs_and_show_print_the_promised_json(filled: Cli) -> None:
    (row,) = json.loads(filled("runs", "--json").stdout)
    assert set(row) == {"run", "name", "kind", "status", "started", "over_refusals"}
    summary = json.loads(filled("show", row["run"], "--json").stdout)
    promised = (
        "run status evaluations samples target_tokens over_refusals clusters best_fitness wall_s "
        "replica_busy cache_hits rejected"
    )
    assert set(promised.split()) <= set(summary)
    assert "first" in filled("runs").stdout
    assert {"screened", "resampled", "samples_per_evaluation", "strategies"} <= set(summary)
    assert summary["screened"] == {"predictor": 0, "opening": 0}
    lines = filled("show", "first").stdout.splitlines()
    assert "over refusals       1" in lines
    assert "samples a prompt    2.3 (2 with 2, 1 with 3)" in lines
    assert "screened            nothing yet" in lines
    assert "diversity           1.0 effective" in lines
    assert lines[-1].split() == ["lexical", "violent_words", "2", "1", "0.500"]


def test_a_pipe_gets_aligned_lines_without_control_characters(filled: Cli) -> None:
    result = filled("query", "--run", "first")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[1].endswith(r"red \x1b[31m and\nright\u202e left")
    assert len({line.index(head) for line, head in zip(lines[:1], ["prompt"], strict=True)}) == 1
    assert "\x1b" not in result.stdout


def test_rows_without_confidence_and_money_are_shown_plainly(tmp_path: Path, evocliff: Cli) -> None:
    with opened(tmp_path) as store:
        run = RunBuilder(store, "first")
        run.seed("How do I kill a process?", confidence=None, cost_usd=0.00123)
        run.finish()
    head, row = evocliff("query").stdout.splitlines()
    assert head.split()[:4] == ["id", "refusal", "fitness", "fitness"]
    assert " refusal " in row
    shown = evocliff("show", "first").stdout
    assert "without confidence  1\n" in shown
    assert "money usd           0.001230\n" in shown


def test_json_keeps_the_text_and_csv_can_be_read_back(filled: Cli) -> None:
    rows = json.loads(filled("query", "--json").stdout)
    assert "red \x1b[31m and\nright\u202e left" in [row["prompt"] for row in rows]
    output = filled("query", "--csv").stdout
    read = list(csv.DictReader(io.StringIO(output)))
    assert [row["prompt_id"] for row in read] == [row["prompt_id"] for row in rows]
    assert '=plain, "quoted"' in [row["prompt"] for row in read]
    assert "\x1b" not in output


def test_nothing_found_is_not_an_error(filled: Cli) -> None:
    result = filled("query", "--like", "nowhere")
    assert (result.exit_code, result.stdout) == (0, "nothing matches\n")
    assert json.loads(filled("query", "--like", "nowhere", "--json").stdout) == []
    assert filled("query", "--like", "nowhere", "--csv").stdout.startswith("prompt_id,prompt,run")


def test_transfer_disagreement_and_cliffs_can_be_asked_for(filled: Cli) -> None:
    assert filled("query", "--disagree").stdout == "nothing matches\n"
    refused = json.loads(filled("query", "--refused-by", "tiny-model", "--json").stdout)
    assert refused
    assert all(row["refusal_rate"] >= 0.5 for row in refused)
    apart = filled("query", "--refused-by", "tiny-model", "--answered-by", "tiny-model")
    assert (apart.exit_code, "name another" in apart.stderr) == (2, True)
    assert "cliff" in filled("query", "--sort", "cliff").stdout.splitlines()[0]
    assert filled("query", "--boundary", "--disagree").exit_code == 2


def test_json_is_that_of_the_whole_list(filled: Cli) -> None:
    output = filled("query", "--json").stdout
    assert output == json.dumps(json.loads(output)) + "\n"


def test_lineage_says_how_many_came_of_a_prompt(tmp_path: Path, evocliff: Cli) -> None:
    with opened(tmp_path) as store:
        run = RunBuilder(store)
        seed = run.seed("s")
        child = run.evaluated("child", (seed,))
        for number in range(24):
            run.evaluated(f"grandchild {number}", (child,))
    lines = evocliff("lineage", seed.prompt_id).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["this", "child", "descendant"]
    assert lines[-1] == "20 of 25 descendants shown; --json prints all"


def test_a_long_table_says_that_it_is_cut(tmp_path: Path, evocliff: Cli) -> None:
    with opened(tmp_path) as store:
        run = RunBuilder(store)
        seed = run.seed("s")
        for number in range(24):
            run.evaluated(f"prompt {number}", (seed,))
    assert evocliff("query").stdout.splitlines()[-1] == "20 of 25 shown; --limit N shows more"
    assert len(json.loads(evocliff("query", "--json").stdout)) == 25
    assert len(evocliff("query", "--limit", "3").stdout.splitlines()) == 4


def test_lineage_shows_the_seed_first(filled: Cli) -> None:
    identity = prompt_id('=plain, "quoted"')
    lines = filled("lineage", identity[:10]).stdout.splitlines()
    assert lines[2].startswith("ancestor")
    assert lines[3].startswith("this")
    tree = json.loads(filled("lineage", identity, "--json").stdout)
    assert tree["ancestors"][0]["strategy"] == "seed"


def test_export_writes_a_folder_once(filled: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("export", "--format", "all", "--run", "first", "--out", str(out))
    done = json.loads(filled(*words, "--json").stdout)
    assert done["rows"] | {"test": 1, "sft": 1, "dpo": 1} == done["rows"]
    assert (out / "README.md").exists()
    again = filled(*words)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "frist"), "did you mean 'first'"),
        (("query", "--run", "frist"), "did you mean 'first'"),
        (("query", "--strategy", "anguish"), "--strategy anguish: unknown"),
        (("query", "--json", "--csv"), "choose one"),
        (("query", "--min-refusal", "2"), "between 0 and 1"),
        (("query", "--like", "\udcff"), "not UTF-8"),
        (("lineage", "zz"), "no id begins so"),
        (("export", "--format", "test", "--out", "x", "--min-refusal", "1"), "lower --min-refusal"),
        (("runs", "--db", "sqlite:///nowhere/x.db"), "no such database"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    filled: Cli, words: tuple[str, ...], message: str
) -> None:
    result = filled(*words)
    assert message in error_line(result)


@pytest.mark.parametrize("command", ["runs", "show", "query", "lineage", "export"])
def test_help_ends_with_an_example(evocliff: Cli, command: str) -> None:
    result = evocliff(command, "--help")
    assert "Example" in result.stdout
    assert f"evocliff {command}" in result.stdout


def test_scripts_that_need_joiners_stay_readable() -> None:
    assert visible("\u200d\u200c é \x00\x9b\u2028") == "\u200d\u200c é \\x00\\x9b\\u2028"
