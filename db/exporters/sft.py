"""Conversations to fine-tune on: the prompt, and an answer that the target gave when it did answer."""

from __future__ import annotations

import pyarrow as pa

from db.exporters.columns import Columns
from db.exporters.eligible import Prompts, Reads
from db.exporters.formats import MESSAGES, Config, Table, answered, asked, schema


def _own(prompts: Prompts) -> Table:
    places, kept, answers = answered(prompts)
    columns: Columns = {
        "messages": asked(kept, ("assistant", [answer.text for answer in answers])),
        "sample": [answer.sample for answer in answers],
        "writer": [answer.writer for answer in answers],
    }
    return Table(places, columns)


CONFIG = Config(
    name="sft",
    split="train",
    schema=schema(("messages", MESSAGES), ("sample", pa.int32()), ("writer", pa.string())),
    own=_own,
    needs="a sampled response that is not a refusal",
    what="the instruction and an answer (writer says whose, null: the target's own)",
    reads=frozenset({Reads.RESPONSES}),
)
