"""Reports: one self-contained HTML file of a run. An edge over `db.overview`; draws, and asks nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from db import overview as reading
from db.overview import Overview
from evo.report import look, sections
from workers.interface import ConfigError, StoreError

if TYPE_CHECKING:
    from db.store import Store

MOST = 10_000  # prompts that one file shows
_PROMPT = 280  # characters of each
# Point at, tap or focus a mark: its prompt is told. The prompts lie in the page as data.
SCRIPT = """
const rows = JSON.parse(document.getElementById("rows").textContent);
const told = document.getElementById("told");
let last = null;
function tell(event) {
  const mark = event.target.closest("[data-i]");
  if (!mark || !told) return;
  if (last) last.classList.remove("on");
  last = mark; mark.classList.add("on");
  const row = rows[mark.dataset.i];
  told.textContent = row[0] + "\\n" + row[1] + ", refused " + row[2] + " (" + row[3] + " samples), fitness " + row[4];
}
document.addEventListener("pointerover", tell);
document.addEventListener("click", tell);
"""


def html(o: Overview) -> str:
    """The whole file."""
    return look.page(f"{o.name}: evocliff", body(o), SCRIPT)


def body(o: Overview) -> str:
    """Everything that is told of a run, with the data that `SCRIPT` reads."""
    parts = [
        sections.head(o),
        '<div class="pair">' + sections.strategies(o) + sections.over_tokens(o) + "</div>",
        sections.topics(o),
        sections.embedding_map(o),
        '<div class="pair">' + sections.fitness_and_novelty(o) + sections.by_target(o) + "</div>",
        sections.best(o),
        sections.boundary_pairs(o),
        sections.over_time(o),
        sections.cliffs(o),
        sections.disagreement(o),
        '<div class="pair">' + sections.rejections(o) + sections.replicas(o) + "</div>",
        sections.settings(o),
        _rows(o),
    ]
    return "\n".join(part for part in parts if part)


def _rows(o: Overview) -> str:
    """What the script tells of each mark, as data that no parser takes for markup."""
    rows = [
        [
            p.prompt
            if len(p.prompt) <= _PROMPT
            else f"{p.prompt[:_PROMPT]} … ({len(p.prompt)} characters)",
            p.strategy.replace("_", " "),
            f"{p.refusal_rate:.0%}",
            p.n_samples,
            f"{p.fitness:.3f}",
        ]
        for p in o.points
    ]
    data = json.dumps(rows, ensure_ascii=True).replace("<", "\\u003c").replace("&", "\\u0026")
    return f'<script type="application/json" id="rows">{data}</script>'


def write(store: Store, run: str, out: Path, *, most: int = MOST, force: bool = False) -> Overview:
    """The report of a run as the file `out`, whole or not at all.

    Raises:
        ConfigError: no such run, or `out` cannot be written there.
        StoreError: the disk took no more.
    """
    if out.is_dir():
        raise ConfigError(f"--out {out}: is a folder; name a file in it, such as {out}/report.html")
    if out.exists() and not force:
        raise ConfigError(f"--out {out}: exists already; name another file, or say --force")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it first")
    made = reading.overview(store, run, most)
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_text(html(made), encoding="utf-8", errors="backslashreplace")
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"--out {out}: cannot be written: {error}") from error
    return made
