"""A node that goes away in mid-search takes its replicas with it, and no evaluation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.integration import faults
from tests.integration.faults import Stored, search, stored

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(300)]


def test_a_lost_node_costs_no_evaluation(tmp_path: Path) -> None:
    with faults.two_nodes() as (nodes, node):
        lose = partial(faults.lose_node, nodes, node)
        run = search(tmp_path / "lost.db", lose, replicas=4, cpus=1)
    assert stored(tmp_path / "lost.db") == Stored(faults.EVALUATIONS, 0, 0, 0)
    assert run.restarts >= 2
