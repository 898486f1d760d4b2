"""Preference pairs: an answer, written or the target's own, over a refusal of the target, to the same prompt."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from db.exporters.columns import Columns
from db.exporters.eligible import Prompts, Reads
from db.exporters.formats import MESSAGES, Config, Table, asked, contrasted, said, schema
from db.exporters.responses import Response

NEEDS = "both a refusal and an answer among the sampled responses"
# Which samples the two are, and how probable it is that each is a refusal.
SIDES = (
    ("chosen_sample", pa.int32()),
    ("rejected_sample", pa.int32()),
    ("chosen_p_refusal", pa.float64()),
    ("rejected_p_refusal", pa.float64()),
    ("chosen_writer", pa.string()),
)


def sides(answers: Sequence[Response], refusals: Sequence[Response]) -> Columns:
    return {
        "chosen_sample": [answer.sample for answer in answers],
        "rejected_sample": [refusal.sample for refusal in refusals],
        "chosen_p_refusal": [answer.p_refusal for answer in answers],
        "rejected_p_refusal": [refusal.p_refusal for refusal in refusals],
        "chosen_writer": [answer.writer for answer in answers],
    }


def _own(prompts: Prompts) -> Table:
    places, kept, answers, refusals = contrasted(prompts)
    columns: Columns = {
        "prompt": asked(kept),
        "chosen": said([answer.text for answer in answers]),
        "rejected": said([refusal.text for refusal in refusals]),
        **sides(answers, refusals),
    }
    return Table(places, columns)


CONFIG = Config(
    name="dpo",
    split="train",
    schema=schema(("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES), *SIDES),
    own=_own,
    needs=NEEDS,
    what="an answer (chosen; chosen_writer says whose, null: the target's own) and a refusal (rejected) "
    "that the target itself gave",
    reads=frozenset({Reads.RESPONSES}),
)
