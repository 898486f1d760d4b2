"""Prompts to test other models with; `instruction` comes first, as in EvoRefuse-TEST."""

from __future__ import annotations

import pyarrow as pa

from db.exporters.eligible import Eligible
from db.exporters.formats import Format, Row, provenance, schema


def _row(e: Eligible) -> Row:
    return {"instruction": e.found.prompt, "topic": e.found.topic, **provenance(e)}


FORMAT = Format(
    name="test",
    split="test",
    schema=schema(("instruction", pa.string()), ("topic", pa.string())),
    row=_row,
    needs="nothing more",
    what="harmless instructions that the target refuses",
)
