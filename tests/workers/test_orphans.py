"""The guard: whatever way the process ends that started an engine, nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from workers.engines import orphans

# A parent that starts a child, which starts a grandchild; it prints both process ids and waits.
PARENT = """
import os, subprocess, sys, time
from workers.engines.orphans import Guard
guard = Guard()
child = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']); print(p.pid, flush=True); time.sleep(99)"
started = subprocess.Popen([sys.executable, "-c", child], env=os.environ | guard.environment, stdout=subprocess.PIPE, text=True)
print(started.pid, started.stdout.readline().strip(), flush=True)
if "close" in sys.argv:
    guard.close()
time.sleep(99)
"""


def start(*words: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    return process, [psutil.Process(pid) for pid in pids]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_parent_leaves_no_process_of_the_engine(number: signal.Signals) -> None:
    process, started = start()
    guards = [p for p in psutil.Process(process.pid).children() if p not in started]
    os.kill(process.pid, number)
    process.wait()
    _, alive = psutil.wait_procs([*started, *guards], timeout=10)
    assert not alive


def ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True


def test_an_orderly_close_kills_what_is_left_and_the_guard_ends_too() -> None:
    process, started = start("close")
    try:
        for _ in range(100):
            # A child that was killed stays a zombie until its parent, which sleeps, looks at it.
            if all(
                ended(p) for p in [*started, *psutil.Process(process.pid).children(recursive=True)]
            ):
                return
            time.sleep(0.1)
        raise AssertionError(f"left: {started}")
    finally:
        process.kill()
        process.wait()


def test_only_what_carries_the_mark_is_found() -> None:
    guard = orphans.Guard()
    try:
        assert guard.pids == []
        with subprocess.Popen(["sleep", "99"]) as other:
            assert other.pid not in guard.pids
            other.kill()
    finally:
        guard.close()


def test_a_guard_that_was_killed_itself_does_not_stop_the_close() -> None:
    guard = orphans.Guard()
    guard._process.kill()
    child = subprocess.Popen(["sleep", "99"], env=os.environ | guard.environment)
    assert guard.pids == [child.pid]
    guard.close()
    assert child.wait(5) == -signal.SIGKILL
