"""`evocliff cliff`: what people and pipes see, with a white box that is read off the text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from evo import looking
from evo.cli import app
from tests.db.builders import RunBuilder, opened
from tests.evo.test_cliffs import items
from tests.fake_white_box import FakeWhiteBox
from tests.one_line import error_line

Cli = Callable[..., Result]
MODEL = ("--model", "tiny-model", "--judge", "prefix")


@pytest.fixture
def evocliff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVOCLIFF_DB", f"sqlite:///{tmp_path}/test.db")
    monkeypatch.setattr(looking, "white_box", lambda settings: FakeWhiteBox())
    with opened(tmp_path) as store:
        RunBuilder(store, "run", hosted={"model": "tiny-model"}).seed("a seed")
        RunBuilder(store, "far", hosted={"engine": "vllm", "model": "m"}).seed("a seed")
    rows = [{"prompt": i.prompt, "topic": i.topic, "harmful": i.harmful} for i in items()]
    Path("labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("plain.txt").write_text("Some plain text.\nAnd more.\n")
    return lambda *words: CliRunner().invoke(app, ["cliff", *words])


@pytest.fixture
def probe(evocliff: Cli) -> str:
    made = evocliff("train", "labelled.jsonl", *MODEL, "--out", "probe", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["layer"] == 2
    return "probe"


def test_a_probe_is_trained_and_traces_a_file(evocliff: Cli, probe: str) -> None:
    done = evocliff("trace", probe, "--data", "labelled.jsonl", "--model", "tiny-model", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["kind"] for row in rows} == {"cliff", "inverse", "none"}
    assert len(rows) == len(items())


def test_a_run_is_traced_and_what_has_no_trace_is_counted(evocliff: Cli, probe: str) -> None:
    done = evocliff("trace", probe, "--run", "run", "--json")
    told = json.loads(done.stdout)
    assert (told["no trace"], told["cliff"]) == (3, 0)


def test_heads_are_named_and_what_taking_them_out_does(evocliff: Cli, probe: str) -> None:
    done = evocliff(
        "heads", probe, "--data", "labelled.jsonl", *MODEL, "--ablate", "1", "--plain", "plain.txt"
    )
    assert done.exit_code == 0, done.output
    assert "layer   0 head   1  -2.0000" in done.stdout
    assert "without suppressing: harmful refused 100%" in done.stdout


def test_a_selection_is_a_dataset_that_loads(evocliff: Cli, probe: str) -> None:
    words = ("--data", "labelled.jsonl", "--model", "tiny-model", "--out", "chosen", "--json")
    told = json.loads(evocliff("select", probe, *words, "--fraction", "0.1").stdout)
    assert (told["rows"], told["traced"]) == (4, 48)
    import datasets

    loaded = datasets.load_dataset(str(Path("chosen").resolve()), split="train")
    assert set(loaded["kind"]) == {"cliff"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("trace", "nowhere", "--run", "run"), "holds no probe"),
        (("trace", "probe"), "either --run RUN or --data FILE"),
        (("trace", "probe", "--run", "rum"), "run"),
        (("trace", "probe", "--run", "far"), "target.engine: 'vllm' shows no hidden states"),
        (("trace", "probe", "--data", "labelled.jsonl"), "--data: needs --model"),
        (("select", "--run", "run", "--out", "o"), "no harmless prompt of it has a trace"),
        (("select", "--run", "run", "--out", "o", "--fraction", "2"), "--fraction 2"),
        (("select", "--data", "labelled.jsonl", "--out", "o"), "needs a PROBE"),
        (("train", "labelled.jsonl", *MODEL, "--out", "probe"), "exists already"),
        (("train", "plain.txt", *MODEL, "--out", "o"), "nobody said whether it is harmful"),
        (("train", "absent.jsonl", *MODEL, "--out", "o"), "no such file"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    evocliff: Cli, probe: str, words: tuple[str, ...], says: str
) -> None:
    assert says in error_line(evocliff(*words))
    assert not Path("o").exists()
