"""Preference pairs: an answer of the target over a refusal of the target, to the same prompt."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from db.exporters.eligible import Eligible, Reads
from db.exporters.formats import MESSAGES, Columns, Config, Table, asked, contrasted, said, schema

NEEDS = "both a refusal and an answer among the sampled responses"
# Which samples the two are, and how probable it is that each is a refusal.
SIDES = (
    ("chosen_sample", pa.int32()),
    ("rejected_sample", pa.int32()),
    ("chosen_p_refusal", pa.float64()),
    ("rejected_p_refusal", pa.float64()),
)


def sides(prompts: Sequence[Eligible]) -> dict[str, Sequence[float]]:
    kept = contrasted(prompts)
    return {
        "chosen_sample": [answer.sample for _, answer, _ in kept],
        "rejected_sample": [refusal.sample for _, _, refusal in kept],
        "chosen_p_refusal": [answer.p_refusal for _, answer, _ in kept],
        "rejected_p_refusal": [refusal.p_refusal for _, _, refusal in kept],
    }


def _own(prompts: Sequence[Eligible]) -> Table:
    kept = contrasted(prompts)
    columns: Columns = {
        "prompt": [asked(e) for e, _, _ in kept],
        "chosen": [[said(answer.text)] for _, answer, _ in kept],
        "rejected": [[said(refusal.text)] for _, _, refusal in kept],
        **sides(prompts),
    }
    return Table([e for e, _, _ in kept], columns)


CONFIG = Config(
    name="dpo",
    split="train",
    schema=schema(("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES), *SIDES),
    own=_own,
    needs=NEEDS,
    what="an answer (chosen) and a refusal (rejected) that the target itself gave",
    reads=frozenset({Reads.RESPONSES}),
)
