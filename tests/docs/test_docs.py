"""The documentation builds without warnings, its commands exist, and the tutorial is what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from evo.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What follows a command on its line, for the reader.
REMARK = re.compile(r"(\s{2,}\(.*|\s+#.*)$")


def commands(page: Path) -> Iterator[str]:
    """The evocliff commands in a page's blocks of code."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            said = REMARK.sub("", line.strip().removeprefix("$ ")).partition(" > ")[0]
            if said.startswith("evocliff ") and "..." not in said and "|" not in said:
                yield said


def test_it_builds_without_warnings(tmp_path: Path) -> None:
    done = subprocess.run(
        [*(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"), "docs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "tutorial.html").exists()
    assert "--keep-share" in (tmp_path / "reference/commands.html").read_text()


@pytest.mark.parametrize("page", [p for p in PAGES if any(commands(p))], ids=lambda p: p.name)
def trouble(line: str) -> str | None:
    """What is wrong with a command, as its own parser says; None: nothing."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="evocliff")
    words = shlex.split(line)[1:]
    while hasattr(command, "get_command") and words and words[0] != "--help":
        name = words.pop(0)
        found = command.get_command(context, name)
        if found is None:
            return f"no command {name}"
        command = found
    if "--help" in words:
        return None
    try:
        command.make_context(line, words, parent=context)
    except Exception as error:  # noqa: BLE001 - whatever the parser raises
        return str(getattr(error, "message", error))
    return None


@pytest.mark.parametrize("page", [p for p in PAGES if any(commands(p))], ids=lambda p: p.name)
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    wrong = {line: said for line in commands(page) if (said := trouble(line)) is not None}
    assert wrong == {}


def test_what_is_no_command_is_found_out() -> None:
    assert trouble("evocliff serach x.yaml") == "no command serach"
    assert "--nmae" in str(trouble("evocliff search x.yaml --nmae y"))
    assert trouble("evocliff judge lists") == "no command lists"
    assert trouble("evocliff evaluate xstest") is not None  # without a target


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_is_what_it_says(tmp_path: Path) -> None:
    """Every command of it in its order, with less of everything."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(), re.S)
    lines = [line for block in blocks for line in block.strip().splitlines()]
    assert len(lines) == 8
    smaller = {
        "budget.evaluations=300": "budget.evaluations=44 --set seeds.limit=12",
        "examples/quickstart.yaml": str(ROOT / "examples/quickstart.yaml"),
        "--epochs 2": "--epochs 0.1 --measure 4",
        "--limit 200": "--limit 44 --max-tokens 6",
    }
    for line in lines:
        for word, less in smaller.items():
            line = line.replace(word, less)
        words = shlex.split(line)
        done = subprocess.run(
            [sys.executable, "-m", "evo.cli", *words[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        may = (0, 1) if words[1] == "mitigate" else (0,)
        assert done.returncode in may, f"{line}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    assert (tmp_path / "tutorial.html").stat().st_size > 20_000
    assert (tmp_path / "out/tutorial/README.md").exists()
    assert (tmp_path / "out/repaired/mitigation.json").exists()
