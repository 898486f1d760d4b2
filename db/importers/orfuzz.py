"""ORFuzz (arXiv 2508.11222): ORFuzzSet has a single column, the user study more. No licence is stated."""

from __future__ import annotations

from db.importers.formats import Format

FORMAT = Format(
    name="orfuzz",
    prompt=("input",),
    category="classification",
    recognises=lambda columns: (
        set(columns) == {"input"} or {"input", "input toxic rate"} <= set(columns)
    ),
    source=lambda path, columns: "orfuzz",
)
