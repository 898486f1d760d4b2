"""Prompts to test other models with; `instruction` comes first, as in EvoRefuse-TEST."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from db.exporters.eligible import Eligible
from db.exporters.formats import Columns, Config, Table, schema


def _own(prompts: Sequence[Eligible]) -> Table:
    columns: Columns = {
        "instruction": [e.prompt for e in prompts],
        "topic": [e.topic for e in prompts],
    }
    return Table(prompts, columns)


CONFIG = Config(
    name="test",
    split="test",
    schema=schema(("instruction", pa.string()), ("topic", pa.string())),
    own=_own,
    needs="nothing more",
    what="harmless instructions that the target refuses",
)
