"""EvoRefuse (arXiv 2505.23473): TEST has a single field, ALIGN is ShareGPT with chosen and rejected.

No licence was stated with them, so none is stored; name yours with --licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db.importers.formats import Format


def _prompt(cell: Any) -> Any:
    """The last turn of the user, of a conversation."""
    if not isinstance(cell, list):
        return cell
    turns = [turn for turn in cell if isinstance(turn, Mapping)]
    asked = [t.get("value") for t in turns if t.get("from") in ("human", "user")]
    return asked[-1] if asked else None


FORMAT = Format(
    name="evorefuse",
    prompt=("instruction", "conversations"),
    recognises=lambda columns: (
        set(columns) == {"instruction"} or {"conversations", "chosen", "rejected"} <= set(columns)
    ),
    source=lambda path, columns: (
        "evorefuse-test" if "instruction" in columns else "evorefuse-align"
    ),
    text=_prompt,
)
