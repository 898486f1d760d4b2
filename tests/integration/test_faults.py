"""Faults: whatever dies, every evaluation is stored once and as many as without the fault."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration import faults
from tests.integration.faults import Stored, search, stored
from tests.integration.test_kill import ROOT, ended
from workers import cluster

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(300)]

WHOLE = Stored(evaluations=faults.EVALUATIONS, duplicates=0, pending=0, quarantined=0)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with cluster.connect("local"):
        yield


def test_a_killed_replica_costs_no_evaluation_and_the_others_never_wait(
    ray_here: None, tmp_path: Path
) -> None:
    run = search(tmp_path / "killed.db", faults.kill_replica)
    assert stored(tmp_path / "killed.db") == WHOLE
    assert run.restarts == 1
    assert run.recovery_s is not None
    assert run.others_busy is not None
    assert run.others_busy > 0.8


def test_an_engine_that_dies_is_replaced_and_the_run_is_the_undisturbed_one(
    ray_here: None, tmp_path: Path
) -> None:
    """One replica with one batch in flight: repeatable, so compared row by row."""
    exact = partial(search, replicas=1, in_flight=1, evaluations=40)
    exact(tmp_path / "whole.db")
    run = exact(tmp_path / "died.db", once=tmp_path / "once")
    assert run.restarts == 1
    assert ended(tmp_path / "died.db") == ended(tmp_path / "whole.db")


def test_a_poisoned_prompt_is_quarantined_and_its_batch_mates_are_evaluated(
    ray_here: None, tmp_path: Path
) -> None:
    run = search(tmp_path / "poisoned.db", faults.nothing, poison=faults.POISONED)
    assert stored(tmp_path / "poisoned.db") == Stored(faults.EVALUATIONS, 0, 0, quarantined=1)
    assert run.restarts == 3  # with its batch, with its batch alone on a replica, and by itself
    (reason,) = [row for row in ended(tmp_path / "poisoned.db") if row[4] == "replica_lost"]
    assert reason[3] == faults.POISONED


def test_a_killed_driver_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "driver.db"
    life = [sys.executable, "-m", "tests.integration.faults", str(path)]
    process = subprocess.Popen([*life, "new"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    while stored(path).evaluations < 30:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert 30 <= stored(path).evaluations < faults.EVALUATIONS
    subprocess.run([*life, "resume"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert stored(path) == WHOLE
