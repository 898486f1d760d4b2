"""docs/cluster.md, docs/database.md, the README and the cluster files name commands and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evo.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "docs/cluster.md",
    ROOT / "docs/database.md",
    ROOT / "README.md",
    ROOT / "ray_cluster.yaml",
    ROOT / "deploy/kuberay/rayjob.yaml",
    ROOT / "deploy/kuberay/raycluster.yaml",
]
VERBS = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]


def commands(page: Path) -> list[list[str]]:
    """Every command line of ours, without its remark and its pipes."""
    found = re.findall(r"evocliff (?:[a-z]+)[^\n`#|']*", page.read_text(encoding="utf-8"))
    lines = [shlex.split(line.split("  ")[0]) for line in found]
    return [words for words in lines if words[1] in VERBS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_in_a_command_exists(page: Path) -> None:
    for words in commands(page):
        shown = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0
        for word in words[2:]:
            option = word.split("=")[0].rstrip(",;:.)")
            if option.startswith("--"):
                assert re.search(rf"{option}\b", shown.stdout), f"{page.name}: {words}"


def test_the_page_names_every_command_of_the_jobs() -> None:
    said = {words[1] for words in commands(PAGES[0])}
    assert {"submit", "status", "logs", "stop", "doctor", "search"} <= said


def test_the_messages_in_the_table_are_those_of_the_code() -> None:
    code = " ".join(
        path.read_text(encoding="utf-8")
        for folder in ("workers", "fitness", "evo", "db")
        for path in (ROOT / folder).rglob("*.py")
    )
    code = re.sub(r'"\s+f?"', "", code)  # one string in several pieces
    page = PAGES[0].read_text(encoding="utf-8").split("## When it does not work")[1]
    messages = [
        part.strip()
        for cell in re.findall(r"^\| `([^|]+) \|", page, re.MULTILINE)
        for message in re.findall(r"([^`]+)`", cell)
        for part in message.split("...")
        if len(part.strip()) > 6 and not message.startswith("Version mismatch")  # that one is Ray's
    ]
    assert len(messages) > 8
    assert [message for message in messages if message not in code] == []
