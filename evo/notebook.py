"""Runs, prompts and traces in a notebook: a page of its own inside the cell, so that its style and its text
stay there.

    from evo import notebook
    notebook.run("quickstart", store="sqlite:///evocliff.db")
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from html import escape

import db
from db.about_prompt import about_prompt
from db.overview import overview
from evo import report
from evo.report import behind, look
from evo.report.look import section, text

_STORE = "sqlite:///evocliff.db"
_POINTS = 2_000  # prompts that a run's page draws


@dataclass(frozen=True, slots=True)
class Shown:
    """A page for a cell. `html` is whole and escaped; it can neither reach the notebook nor a network."""

    title: str
    html: str
    height: int  # pixels

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{escape(self.title)}" sandbox="allow-scripts" srcdoc="{escape(self.html)}" '
            f'style="width:100%;height:{self.height}px;border:0" referrerpolicy="no-referrer"></iframe>'
        )


def run(run: str, *, store: str = _STORE) -> Shown:
    """A run as its report shows it.

    Args:
        run: name or id.
        store: database URL.

    Raises:
        ConfigError: no such run.
        StoreError: the database cannot be read.
    """
    with contextlib.closing(db.open(store, read_only=True)) as opened:
        o = overview(opened, run, _POINTS)
    return Shown(o.name, report.html(o), 760)


def prompt(prompt: str, *, store: str = _STORE) -> Shown:
    """A prompt with its responses, verdicts, gates, boundary pairs and traces.

    Args:
        prompt: its id, or the beginning of one.

    Raises: as `run`.
    """
    with contextlib.closing(db.open(store, read_only=True)) as opened:
        about = about_prompt(opened, prompt)
        parts = [
            section("Prompt", f'<p class="text">{text(about.prompt, 20_000)}</p>', True),
            behind.pairs(about),
            behind.traces(opened, about),
            behind.samples(about),
            behind.gates(about),
        ]
    return Shown(about.prompt_id, look.page(about.prompt_id, "".join(parts)), 520)


def trace(prompt: str, *, store: str = _STORE) -> Shown:
    """The refusal scores over the thoughts of a prompt's responses, with plateau and drop.

    Raises: as `run`.
    """
    with contextlib.closing(db.open(store, read_only=True)) as opened:
        about = about_prompt(opened, prompt)
        curves = behind.traces(opened, about)
    missing = section(
        "No trace", "<p>Trace the run first: <code>evocliff cliff trace</code></p>", True
    )
    return Shown(about.prompt_id, look.page(about.prompt_id, curves or missing), 420)
