"""XSTest (Röttger et al., NAACL 2024): safe prompts of ten types and their unsafe contrasts."""

from __future__ import annotations

from db.importers.formats import Cells, Format, word
from db.importers.table import Row


def _said(row: Row, cells: Cells, source: str) -> str | None:
    """Files without a column of labels say it in the type: contrast_homonyms and so on."""
    if cells.label is not None:
        return word(row.get(cells.label))
    kind = word(row.get(cells.category)) if cells.category is not None else None
    if kind is None:
        return None
    return "unsafe" if kind.startswith("contrast") else "safe"


FORMAT = Format(
    name="xstest",
    prompt=("prompt",),
    label="label",
    category="type",
    key="id",
    licence="CC-BY-4.0",
    recognises=lambda columns: {"prompt", "type", "focus"} <= set(columns),
    source=lambda path, columns: "xstest",
    said=_said,
)
