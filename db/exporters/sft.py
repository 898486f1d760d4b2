"""Conversations to fine-tune on: the prompt, and an answer that the target gave when it did answer."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from db.exporters.eligible import Eligible, Reads
from db.exporters.formats import MESSAGES, Columns, Config, Table, answered, asked, said, schema


def _own(prompts: Sequence[Eligible]) -> Table:
    kept = answered(prompts)
    columns: Columns = {
        "messages": [[*asked(e), said(answer.text)] for e, answer in kept],
        "sample": [answer.sample for _, answer in kept],
    }
    return Table([e for e, _ in kept], columns)


CONFIG = Config(
    name="sft",
    split="train",
    schema=schema(("messages", MESSAGES), ("sample", pa.int32())),
    own=_own,
    needs="a sampled response that is not a refusal",
    what="the instruction and an answer that the target itself gave",
    reads=frozenset({Reads.RESPONSES}),
)
