"""Preference pairs: an answer of the target over a refusal of the target, to the same prompt."""

from __future__ import annotations

from db.exporters.eligible import Eligible
from db.exporters.formats import MESSAGES, Format, Row, asked, provenance, said, schema


def _row(e: Eligible) -> Row | None:
    if e.answer is None or e.refusal is None:
        return None
    return {
        "prompt": asked(e),
        "chosen": [said(e.answer)],
        "rejected": [said(e.refusal)],
        **provenance(e),
    }


FORMAT = Format(
    name="dpo",
    split="train",
    schema=schema(("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES)),
    row=_row,
    needs="both a refusal and an answer among the sampled responses",
    what="an answer (chosen) and a refusal (rejected) that the target itself gave",
)
