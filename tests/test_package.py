"""What the package promises as a whole: light imports, and everything that it needs inside."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"ray", "torch", "transformers", "vllm", "trl", "sqlalchemy", "sentence_transformers"}


def python(*words: str) -> tuple[float, str]:
    """Seconds beyond those of an empty interpreter (the best of three each), and the output."""
    seconds, output = [], ""
    for command in (["-c", ""], list(words)):
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True
            )
            best = min(best, time.perf_counter() - began)
        seconds.append(best)
        output = done.stdout
    return seconds[1] - seconds[0], output


def test_importing_evo_takes_half_a_second_and_nothing_heavy() -> None:
    seconds, output = python("-c", "import evo, sys; print(*sys.modules)")
    assert not HEAVY & set(output.split())
    assert seconds < 0.5


def test_help_takes_less_than_a_second() -> None:
    seconds, output = python("-m", "evo.cli", "--help")
    assert "evocliff search examples/quickstart.yaml" in output
    assert seconds < 1.0


@pytest.mark.slow
def test_the_wheel_holds_everything_that_is_not_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for package in ("evo", "workers", "fitness", "db"):
        tracked = subprocess.run(
            ["git", "ls-files", package], cwd=ROOT, check=True, capture_output=True, text=True
        )
        for name in tracked.stdout.split():
            assert name in held
    for organism in ("overcautious", "thinking"):
        assert f"workers/adapters/{organism}/adapter_model.safetensors" in held
    assert not {name for name in held if name.startswith(("tests/", "examples/", "data/"))}


def test_nothing_in_the_packages_unpickles_or_runs_remote_code() -> None:
    forbidden = re.compile(
        r"\bpickle\b|trust_remote_code=True|shell=True|(?<!\.)\beval\(|(?<!\.)\bexec\(|yaml\.load\(|torch\.load\("
    )
    for package in ("evo", "workers", "fitness", "db", "examples", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            found = forbidden.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path}: {found and found.group()}"
