"""Kill it anywhere, resume, same result: with a scripted target exactly, with a real one in numbers."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.killable_search import EVALUATIONS, live

ROOT = Path(__file__).parents[2]


def ended(path: Path) -> list[tuple[Any, ...]]:
    """How each proposal of the one run ended, in order of completion."""
    with sqlite3.connect(path) as connection:
        return connection.execute(
            "SELECT completed_order, proposal_index, proposals.prompt_id, text, failure_kind,"
            " fitness, refusal_rate FROM proposals"
            " LEFT JOIN evaluations USING (run_id, proposal_index) ORDER BY completed_order"
        ).fetchall()


def count(path: Path, query: str) -> int:
    with sqlite3.connect(path) as connection:
        (number,) = connection.execute(query).fetchone()
    return int(number)


# How long what a killed driver started asks for its dead head before it ends; Ray's own is a minute.
_ASKS_S = "5"


def start(*words: str, file_bytes: int | None = None) -> subprocess.Popen[str]:
    """A Python process; no file that it writes may grow over `file_bytes`."""

    def limit() -> None:
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=limit,
        env={**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": _ASKS_S},
    )


@pytest.mark.parametrize("dice", range(4))
def test_killed_anywhere_and_resumed_is_the_run_that_nobody_disturbed(
    tmp_path: Path, dice: int
) -> None:
    live(f"sqlite:///{tmp_path}/whole.db", False, 0.0)
    url, rng = f"sqlite:///{tmp_path}/killed.db", random.Random(dice)
    for life in range(3):
        process = start(
            "-m", "tests.integration.killable_search", url, "resume" if life else "new", "0.2"
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stdout.read()
        time.sleep(rng.uniform(0.0, 0.8))
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.communicate()
    live(url, True, 0.0)
    whole, killed = ended(tmp_path / "whole.db"), ended(tmp_path / "killed.db")
    assert sum(row[5] is not None for row in whole) == EVALUATIONS
    assert killed == whole


def test_a_disk_that_fills_up_ends_the_run_with_one_clear_error_and_loses_nothing(
    tmp_path: Path,
) -> None:
    live(f"sqlite:///{tmp_path}/whole.db", False, 0.0)
    url = f"sqlite:///{tmp_path}/full.db"
    script = "tests.integration.killable_search"
    process = start("-m", script, url, "new", "0.0", file_bytes=600_000)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1, output
    assert output.startswith("ready\n"), "the disk was full before the search began"
    assert "free some space and resume the run" in output.splitlines()[-1]
    before = ended(tmp_path / "full.db")
    assert 0 < sum(row[0] is not None for row in before) < EVALUATIONS
    live(url, True, 0.0)
    assert ended(tmp_path / "full.db") == ended(tmp_path / "whole.db")


QUICK = """
name: killed
seeds: {dataset: xstest-safe, limit: 12}
target: {model: local:smollm2-overcautious, sampling: {max_tokens: 12}}
search:
  {batch: 6, in_flight: 2, samples: {first: 2, max: 4}, settle: 0, screening: {predictor: false, opening: false}}
budget: {evaluations: 60}
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_real_search_killed_three_times_ends_with_all_its_evaluations(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text(QUICK)
    path, rng = tmp_path / "killed.db", random.Random()
    children: list[psutil.Process] = []
    db = ["--db", f"sqlite:///{path}"]
    first = ["search", str(tmp_path / "quick.yaml")]
    for life in range(3):
        process = start(
            "-m", "evo.cli", *(["search", "--resume", "killed"] if life else first), *db
        )
        before = sampled(path)
        deadline = time.monotonic() + 120
        while sampled(path) <= before:  # something new has been paid for
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 1.0))
        assert process.poll() is None, "it ended before it could be killed"
        children += psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    last = start("-m", "evo.cli", "search", "--resume", "killed", "--json", *db)
    output, _ = last.communicate(timeout=600)
    assert last.returncode == 0, output
    summary = json.loads(output.splitlines()[-1])
    assert summary["status"] == "finished"
    assert summary["evaluations"] == count(path, "SELECT count(*) FROM evaluations") == 60
    assert summary["samples"] == count(path, "SELECT count(*) FROM samples")
    # No sample twice: every prompt has as many as its one evaluation counted, and no more than 4.
    per_prompt = "SELECT count(*) n FROM samples GROUP BY target_id, prompt_id"
    assert count(path, f"SELECT max(n) FROM ({per_prompt})") <= 4
    assert count(path, "SELECT sum(n_samples) FROM evaluations") == summary["samples"]
    assert count(path, "SELECT count(*) FROM (SELECT 1 FROM evaluations GROUP BY prompt_id)") == 60
    # Ray's agents ask for their dead head for a while before they end.
    _, alive = psutil.wait_procs(children, timeout=200)
    assert not alive, f"left behind: {alive}"


def sampled(path: Path) -> int:
    try:
        return count(path, "SELECT count(*) FROM samples")
    except sqlite3.OperationalError:
        return 0


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_resume(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text(QUICK)
    path = tmp_path / "stopped.db"
    db = ["--db", f"sqlite:///{path}"]
    process = start("-m", "evo.cli", "search", str(tmp_path / "quick.yaml"), *db)
    deadline = time.monotonic() + 120
    while not sampled(path):
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "interrupted: " in output
    assert f"evocliff search --resume killed --db sqlite:///{path}" in output
    assert "Traceback" not in output
    # Nothing is left half done: what had been asked has ended.
    assert count(path, "SELECT count(*) FROM proposals WHERE completed_order IS NULL") == 0
    last = start("-m", "evo.cli", "search", "--resume", "killed", "--json", *db)
    output, _ = last.communicate(timeout=600)
    assert last.returncode == 0, output
    assert json.loads(output.splitlines()[-1])["evaluations"] == 60
