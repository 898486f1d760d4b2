"""A query as a dataset: the filters of the page of prompts, a format, and a name for the folder."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request

import db
from db import exporters
from db.exporters.plan import parse_split
from evo.report.look import text
from evo.ui.frame import form, hidden, page, takes_changes
from workers.interface import ConfigError

# Filters of the page that exports have too; by the others nothing can be exported.
_FILTERS = ("run", "target", "strategy", "safety", "min_refusal", "like", "sort")
_OTHERS = ("near", "refused_by", "answered_by", "disagree", "kind", "signature", "boundary")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def named(name: str) -> str:
    """A name that is one folder or file, and no way out of where it lies.

    Raises:
        ConfigError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name '{name[:80]}': use letters, digits, '.', '_' and '-', at most 80")
    return name


def offer(request: Request, asked: Any) -> str:
    """The form under a list of prompts; where they cannot be exported, why."""
    if not takes_changes(request):
        return ""
    given = {key: value.strip() for key, value in asked.items() if value.strip()}
    others = [key.replace("_", " ") for key in _OTHERS if key in given]
    if others:
        return (
            '<section><h2>Export</h2><p class="faint">Exports know no filter by '
            f"{text(', '.join(others))}; take it away to export.</p></section>"
        )
    kept = "".join(hidden(key, given[key]) for key in _FILTERS if key in given)
    formats = "".join(f"<option>{name}</option>" for name in (exporters.ALL, *exporters.FORMATS))
    return (
        "<section><h2>Export</h2>"
        + form(
            request,
            "/export",
            f'{kept}<label>format<select name="format">{formats}</select></label>'
            '<label>name of the new folder<input name="name" required pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" '
            'maxlength="80"></label><label>split<input name="split" placeholder="train=0.9,test=0.1"></label>'
            '<div class="tick"><button>Export</button></div>',
            "fields",
        )
        + '<p class="faint">Only what every safety gate called harmless leaves.</p></section>'
    )


def put(url: str, request: Request, fields: Mapping[str, str]) -> str:
    """Write the export; the page that tells of it."""
    folder: Path = request.app.state.folder
    out = folder / "exports" / named(fields.get("name", ""))
    options: dict[str, Any] = {k: fields[k] for k in _FILTERS if fields.get(k)}
    if "min_refusal" in options:
        try:
            options["min_refusal"] = float(options["min_refusal"])
        except ValueError:
            raise ConfigError(f"min refusal: '{fields['min_refusal'][:20]}' is no number") from None
    split = fields.get("split", "").strip()
    with contextlib.closing(db.open(url, read_only=True)) as store:
        out.parent.mkdir(parents=True, exist_ok=True)
        done = exporters.export(
            store,
            fields.get("format", ""),
            out,
            split=parse_split(split) if split else None,
            **options,
        )
    rows = "".join(
        f'<tr><td>{text(name)}</td><td class="n">{n}</td><td class="n">{done["left_out"].get(name, 0)}</td></tr>'
        for name, n in done["rows"].items()
    )
    config = next(iter(done["rows"]))
    return page(
        "Exported",
        f'<section><h2>Exported</h2><table><tr><th>config</th><th class="n">rows</th>'
        f'<th class="n">without what it needs</th></tr>{rows}</table><p>Its folder: <code>{text(out)}</code>'
        f'</p><p><code>datasets.load_dataset("{text(out)}", "{text(config)}")</code></p>'
        f'<p class="faint">sha256 {text(done["sha256"])}</p></section>',
        request,
    )
