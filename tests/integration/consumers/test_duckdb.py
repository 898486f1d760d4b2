"""DuckDB reads the Parquet of an exported folder with plain SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.integration.consumers.conftest import CONFIGS, lines


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def parquet(folder: Path, config: str) -> str:
    return f"{folder}/data/{config}/{CONFIGS[config].split}-*.parquet"


@pytest.mark.parametrize("config", CONFIGS)
def test_it_counts_what_the_lines_hold(
    connection: duckdb.DuckDBPyConnection, exported: Path, config: str
) -> None:
    counted = connection.execute(
        "SELECT count(*) FROM read_parquet(?)", [parquet(exported, config)]
    ).fetchone()
    assert counted == (len(lines(exported, config)),)
    assert counted != (0,)


def test_it_filters_by_refusal_rate_and_gate(
    connection: duckdb.DuckDBPyConnection, exported: Path
) -> None:
    rates = [row["refusal_rate"] for row in lines(exported, "test")]
    middle = sorted(rates)[len(rates) // 2]
    found = connection.execute(
        "SELECT instruction FROM read_parquet(?)"
        " WHERE refusal_rate >= ? AND list_contains(gates, 'g@1:harmless') ORDER BY instruction",
        [parquet(exported, "test"), middle],
    ).fetchall()
    expected = [r["instruction"] for r in lines(exported, "test") if r["refusal_rate"] >= middle]
    assert [text for (text,) in found] == sorted(expected)


def test_it_joins_two_configs_by_prompt(
    connection: duckdb.DuckDBPyConnection, exported: Path
) -> None:
    joined = connection.execute(
        "SELECT t.instruction, p.chosen[1].content, p.rejected[1].content"
        " FROM read_parquet(?) AS t JOIN read_parquet(?) AS p USING (prompt_id) ORDER BY 1",
        [parquet(exported, "test"), parquet(exported, "dpo")],
    ).fetchall()
    by_prompt = {row["prompt_id"]: row for row in lines(exported, "dpo")}
    assert joined == sorted(
        (
            row["instruction"],
            by_prompt[row["prompt_id"]]["chosen"][0]["content"],
            by_prompt[row["prompt_id"]]["rejected"][0]["content"],
        )
        for row in lines(exported, "test")
        if row["prompt_id"] in by_prompt
    )
    assert joined
