"""The benchmark of searches: what counts as a find, who pays, and what the report makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import arms, search_report
from benchmarks.in_process import RememberingEngine
from benchmarks.search_lines import Find, Line, append, read
from workers.interface import (
    EngineDescription,
    Failure,
    Generation,
    GenerationRequest,
    Message,
    Opening,
    Sample,
    Sampling,
)


class CountingEngine:
    """Samples that name their seed and index; counts what it decoded."""

    def __init__(self) -> None:
        self.decoded: list[tuple[int, int]] = []
        self.opened = 0

    @property
    def description(self) -> EngineDescription:
        return EngineDescription("counting", "m", "r", "t", "f", "cpu", None)

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        answers: list[Generation | Failure] = []
        for r in requests:
            indices = range(r.first_index, r.first_index + r.n_samples)
            self.decoded += [(r.seed, i) for i in indices]
            answers.append(
                Generation(tuple(Sample(i, f"{r.seed}/{i}", 3, "stop") for i in indices), 7)
            )
        return answers

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        self.opened += len(requests)
        return [Opening(("I",), (0.0,), 7) for _ in requests]

    async def close(self) -> None:
        return None


def asked(seed: int, first: int, n: int) -> GenerationRequest:
    return GenerationRequest("key", (Message("user", "hello"),), n, Sampling(), seed, first)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(1, 6)), max_size=12))
def test_a_remembering_engine_answers_as_the_engine_and_decodes_no_more(
    calls: list[tuple[int, int, int]],
) -> None:
    plain, inner = CountingEngine(), CountingEngine()
    engine = RememberingEngine(inner)
    for call in calls:
        assert asyncio.run(engine.generate([asked(*call)])) == asyncio.run(
            plain.generate([asked(*call)])
        )
    assert set(inner.decoded) == set(plain.decoded)
    assert len(inner.decoded) <= len(plain.decoded)


def test_a_sample_that_is_known_is_not_decoded_again() -> None:
    inner = CountingEngine()
    engine = RememberingEngine(inner)
    for call in ((0, 0, 2), (0, 0, 10), (0, 2, 8), (1, 0, 2)):
        asyncio.run(engine.generate([asked(*call)]))
        asyncio.run(engine.open([asked(*call)]))
    assert sorted(inner.decoded) == [(0, i) for i in range(10)] + [(1, 0), (1, 1)]
    assert inner.opened == 1


def line(arm: str, seed: int, at: Sequence[int], budget: int = 1000) -> Line:
    """A run with a find at each of these numbers of tokens."""
    found = [Find(f"{arm}{n}", f"prompt {n} of {arm}", -0.1, 0.9, 0.8, n) for n in at]
    return Line(arm, seed, budget, 1000, 20, 30, 60, {}, 9, 5, 4, found, "budget", 1.0, 1.0)


def test_lines_come_back_as_they_were_and_a_line_cut_off_is_none(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    first, second = line("random", 0, [10, 500]), line("orfuzz", 0, [])
    append(file, first)
    with file.open("a", encoding="utf-8") as opened:
        opened.write('{"arm": "ran')
    assert read(file) == [first]
    append(file, second)
    assert read(file) == [first, second]


def test_the_rate_is_per_100_000_tokens_really_spent() -> None:
    assert search_report.rate(line("random", 0, [1, 2, 3])) == 300.0


def test_a_ratio_to_nothing_is_none() -> None:
    assert search_report.ratio([3.0], [0.0]) is None
    assert search_report.ratio([4.0, 4.0], [2.0, 2.0]) == (2.0, 2.0, 2.0)


@given(st.lists(st.floats(0.0, 1e3), min_size=1, max_size=7))
def test_the_interval_lies_within_what_was_measured(values: list[float]) -> None:
    low, high = search_report.interval(values)
    assert min(values) <= low <= float(np.median(values)) <= high <= max(values)


def test_the_curve_counts_finds_up_to_a_number_of_tokens() -> None:
    at = np.array([0.0, 99.0, 100.0, 700.0])
    runs = [line("random", s, [100, 600]) for s in range(3)]
    assert search_report.curve(runs, at).tolist() == [0.0, 0.0, 1.0, 2.0]


def test_the_table_has_a_row_for_each_arm_that_ran_and_the_champion_over_it() -> None:
    lines = [line("steady-state", s, [1, 2, 3, 4]) for s in range(3)]
    lines += [line("random", s, [1, 2]) for s in range(3)]
    lines += [line("steady-state-racing", s, []) for s in range(3)]
    text = search_report.table(lines)
    assert "| `random` | 3 | 200 | 200 to 200 | 2.0 (2.0 to 2.0) | 2 |" in text
    assert "| `steady-state-racing` | 3 | 0 | 0 to 0 | it found none | 0 |" in text
    assert "orfuzz" not in text


@pytest.mark.slow
def test_the_report_stands_between_its_markers_and_can_be_written_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n", encoding="utf-8")
    lines = [line("steady-state", 0, [1, 2, 3]), line("evorefuse", 0, [5])]
    search_report.write(lines, page, tmp_path)
    once = page.read_text(encoding="utf-8")
    search_report.write(lines, page, tmp_path)
    assert page.read_text(encoding="utf-8") == once
    assert once.startswith("# Benchmarks\n")
    assert (tmp_path / "search_over_tokens.svg").exists()


def test_published_arms_take_ten_samples_of_every_prompt() -> None:
    for name in ("evorefuse", "evorefuse-reference", "orfuzz", "best-of-n", "random"):
        assert arms.ARMS[name]["samples"] == {"first": 10, "max": 10}
        assert arms.ARMS[name]["racing"] is False
