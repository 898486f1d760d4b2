"""Conversations to fine-tune on: the prompt, and an answer that the target gave when it did answer."""

from __future__ import annotations

from db.exporters.eligible import Eligible
from db.exporters.formats import MESSAGES, Format, Row, asked, provenance, said, schema


def _row(e: Eligible) -> Row | None:
    if e.answer is None:
        return None
    return {"messages": [*asked(e), said(e.answer)], **provenance(e)}


FORMAT = Format(
    name="sft",
    split="train",
    schema=schema(("messages", MESSAGES)),
    row=_row,
    needs="a sampled response that is not a refusal",
    what="the instruction and an answer that the target itself gave",
)
