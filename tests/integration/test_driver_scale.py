"""One driver keeps 64 simulated replicas busy, at a small part of a core for each evaluation."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.test_kill import ROOT


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(240)
def test_64_replicas_with_32_evaluations_each_are_busy() -> None:
    """The limits leave room for a machine that does other things; `make bench` has the figures."""
    words = [sys.executable, "benchmarks/driver_scale.py", "--quick", "--seconds", "5"]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["busy_at_64"] > 0.75
    assert figures["driver_ms"] < 3.0
