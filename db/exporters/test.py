"""Prompts to test other models with; `instruction` comes first, as in EvoRefuse-TEST."""

from __future__ import annotations

import pyarrow as pa

from db.exporters.columns import Columns
from db.exporters.eligible import Prompts
from db.exporters.formats import Config, Table, schema


def _own(prompts: Prompts) -> Table:
    columns: Columns = {"instruction": prompts.prompt, "topic": prompts.topic}
    return Table(range(len(prompts)), columns)


CONFIG = Config(
    name="test",
    split="test",
    schema=schema(("instruction", pa.string()), ("topic", pa.string())),
    own=_own,
    needs="nothing more",
    what="harmless instructions that the target refuses",
)
