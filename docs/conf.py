"""The documentation as a site: `make docs`. The pages are the files of this folder; the reference is made from
docstrings and from the help of each command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "evocliff"
copyright = "the evocliff developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "evocliff"
exclude_patterns = ["reference/_*"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
nitpicky = False
# Links to files of the repository that are no pages.
# `mermaid` is drawn where the file is looked at in its repository.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]


def _commands(app: Any) -> None:
    """The page of commands, from what `--help` knows."""
    import typer

    from evo.cli import app as cli

    def shown(name: str, command: Any) -> str:
        context = typer.Context(command, info_name=name)
        parts = [f"## {name}\n\n{_plain(command.help or '')}\n"]
        rows = []
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if record is not None:
                option, said = record
                rows.append(f"| `{_cell(option)}` | {_cell(said)} |")
        if rows:
            parts.append("| option | |\n|---|---|\n" + "\n".join(rows) + "\n")
        if command.epilog:
            examples = command.epilog.partition("\n")[2].strip()
            parts.append("```text\n" + examples.replace("\n\n", "\n") + "\n```\n")
        for sub, each in sorted(getattr(command, "commands", {}).items()):
            parts.append(shown(f"{name} {sub}", each))
        return "\n".join(parts)

    root = typer.main.get_command(cli)
    pages = [shown(f"evocliff {name}", each) for name, each in sorted(root.commands.items())]
    path = Path(__file__).parent / "reference/commands.md"
    text = "# Commands\n\nMade from `evocliff COMMAND --help`.\n\n" + "\n".join(pages)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def setup(app: Any) -> None:
    app.connect("builder-inited", _commands)
