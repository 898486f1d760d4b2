"""`evocliff query --near`: what people and pipes see."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from typer.testing import CliRunner

from evo.cli import app
from tests.db.builders import RunBuilder, opened
from workers import embedders

Cli = Callable[..., Result]


class FirstLetters:
    """An embedder by the letters that words begin with."""

    def __init__(self, model: str) -> None:
        self.name = model

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                counts[row, ord(word[0]) % 64] += 1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture
def evocliff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setattr(embedders, "SentenceTransformerEmbedder", FirstLetters)
    monkeypatch.setenv("EVOCLIFF_DB", f"sqlite:///{tmp_path}/test.db")
    with opened(tmp_path) as store:
        run = RunBuilder(store, "first")
        for text, refusals in (
            ("kill a python process", (0.1, 0.1)),
            ("kick a purple parrot", (0.9, 0.9)),
            ("shoot some portraits", (0.9, 0.1)),
        ):
            vector = FirstLetters("e").embed([text])[0].tolist()
            run.seed(text, refusals=refusals, vector=vector)
        run.finish()
    return lambda *words: CliRunner().invoke(app, list(words))


def test_the_nearest_come_first_with_their_cosine(evocliff: Cli) -> None:
    rows = json.loads(evocliff("query", "--near", "keep a python pet", "--json").stdout)
    assert [row["prompt"] for row in rows][-1] == "shoot some portraits"
    assert rows[0]["cosine"] == pytest.approx(1.0)
    assert [row["cosine"] for row in rows] == sorted((r["cosine"] for r in rows), reverse=True)
    table = evocliff("query", "--near", "shoot", "--limit", "1").stdout.splitlines()
    assert "cosine" in table[0].split()
    assert "shoot some portraits" in table[1]
    head = next(csv.reader(io.StringIO(evocliff("query", "--near", "shoot", "--csv").stdout)))
    assert "cosine" in head


def test_other_filters_hold_beside_it(evocliff: Cli) -> None:
    words = ("query", "--near", "keep a python pet", "--min-refusal", "0.5", "--json")
    assert [row["prompt"] for row in json.loads(evocliff(*words).stdout)] == [
        "kick a purple parrot", "shoot some portraits",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--near", " "), "--near: give a text"),
        (("--near", "x", "--embedder", "other"), "embedder 'other': the prompts of"),
        (("--near", "x", "--sort", "novelty"), "--near: puts the nearest first"),
        (("--near", "x", "--boundary"), "--boundary: goes with"),
    ],
)
def test_bad_input_is_one_line(evocliff: Cli, words: tuple[str, ...], message: str) -> None:
    result = evocliff("query", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_database_without_vectors_says_so(evocliff: Cli, tmp_path: Path) -> None:
    evocliff("db", "upgrade", "--db", f"sqlite:///{tmp_path}/empty.db")
    result = evocliff("query", "--near", "x", "--db", f"sqlite:///{tmp_path}/empty.db")
    assert result.exit_code == 2
    assert "no prompt is embedded yet" in result.stderr
