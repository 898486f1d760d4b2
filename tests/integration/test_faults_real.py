"""The same fault with real weights: a replica of the transformers engine is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration import faults
from tests.integration.faults import Stored, stored

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


@pytest.mark.timeout(600)
def test_a_real_model_whose_replica_is_killed_evaluates_all_it_was_asked(tmp_path: Path) -> None:
    settings = faults.real_config(36)
    run = faults.real_search(tmp_path / "real.db", settings, faults.kill_replica_early)
    assert stored(tmp_path / "real.db") == Stored(36, 0, 0, 0)
    assert run.restarts == 1
