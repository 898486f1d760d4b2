"""The whole circle with the real parts, too small to repair anything: every step follows from the last."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_search_repair_and_table_follow_from_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "examples/circle.py", str(tmp_path / "circle"), "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "circle/repaired/mitigation.json").read_text())
    assert {row["set"] for row in report["table"]} == {
        "held-out over-refusals",
        "XSTest safe",
        "XSTest unsafe",
        "plain requests",
    }
    assert report["examples"]["kept"] > 0
    assert set(report["runs"]) == {"writer", "plain", "contrast", "before", "after"}
    db = f"sqlite:///{tmp_path}/circle/circle.db"
    for what in ("before", "after"):
        words = ["query", "--run", report["runs"][what], "--json", "--db", db]
        shown = subprocess.run(
            [sys.executable, "-m", "evo.cli", *words], cwd=ROOT, capture_output=True, check=True
        )
        # Every row of the table is stored: as many prompts as it counts.
        rows = json.loads(shown.stdout)
        assert len(rows) == sum(row["n"] for row in report["table"])
