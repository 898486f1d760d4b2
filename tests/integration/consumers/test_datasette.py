"""Datasette serves the SQLite file as JSON while the store has it open."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import db
from tests.db.two_runs import PROMPTS, REFUSAL

pytestmark = pytest.mark.slow

_START_S = 120.0
VIEWS = (
    "v_prompts",
    "v_over_refusals",
    "v_samples",
    "v_transfer",
    "v_boundary_pairs",
    "v_strategies",
    "v_cliffs",
)


@pytest.fixture(scope="module")
def served(database: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "datasette", "serve", str(database)]
    with contextlib.closing(db.open(f"sqlite:///{database}")):  # a search may be running
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            try:
                _wait(client, process)
                yield client
            finally:
                process.terminate()
                process.wait(timeout=30)


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            client.get("/-/versions.json").raise_for_status()
            return
        assert process.poll() is None, "datasette ended"
        assert time.monotonic() < until, "datasette does not answer"
        time.sleep(0.2)


def rows(client: httpx.Client, path: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = client.get(path, params={"_shape": "array", **parameters}, timeout=60)
    answer.raise_for_status()
    return list(answer.json())


def test_it_serves_the_over_refusals(served: httpx.Client) -> None:
    found = rows(served, "/found/v_over_refusals.json", run="bare", _sort_desc="fitness")
    assert [row["prompt"] for row in found] == list(PROMPTS)
    assert all(row["refusal_rate"] >= row["threshold"] for row in found)


def test_it_filters_and_pages(served: httpx.Client) -> None:
    some = {"refusal_rate__gte": 0.5, "safety": "harmless", "_size": 4}
    answer = served.get("/found/v_prompts.json", params=some, timeout=60).json()
    assert (len(answer["rows"]), answer["filtered_table_rows_count"]) == (4, len(PROMPTS) + 1)
    assert answer["next"]


def test_it_serves_transfer_and_samples(served: httpx.Client) -> None:
    answered = rows(served, "/found/v_transfer.json", transfers=0)
    assert {row["prompt"] for row in answered} == set(PROMPTS)
    (first, *_) = PROMPTS
    responses = rows(served, "/found/v_samples.json", prompt=first, p_refusal__gt=0.5)
    assert {row["response"] for row in responses} == {REFUSAL, f"{REFUSAL} Try something else."}


def test_what_a_view_counts_is_found_by_its_number(served: httpx.Client) -> None:
    (found,) = rows(served, "/found/v_strategies.json", run="bare", over_refusals=4)
    assert found["strategy"] == "violent_words"


@pytest.mark.parametrize("view", VIEWS)
def test_it_serves_every_view(served: httpx.Client, view: str) -> None:
    assert isinstance(rows(served, f"/found/{view}.json", _size=1), list)


def test_it_answers_sql_of_ones_own(served: httpx.Client) -> None:
    sql = "SELECT strategy, over_refusals FROM v_strategies WHERE run = :run ORDER BY 2 DESC, 1"
    found = rows(served, "/found.json", sql=sql, run="bare")
    assert found[0] == {"strategy": "violent_words", "over_refusals": 4}


def test_it_changes_nothing(served: httpx.Client) -> None:
    answer = served.get("/found.json", params={"sql": "DELETE FROM verdicts"}, timeout=60)
    assert answer.status_code == 400
