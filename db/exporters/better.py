"""Preference pairs of written answers: one that a round of advice bettered over what it was before, by one
scorer's score (Constructive Safety Alignment, arXiv 2509.01909)."""

from __future__ import annotations

import pyarrow as pa

from db.exporters.columns import Columns
from db.exporters.eligible import Prompts, Reads
from db.exporters.formats import MESSAGES, Config, Table, asked, said, schema


def _own(prompts: Prompts) -> Table:
    places = [place for place, pairs in enumerate(prompts.pairs) for _ in pairs]
    found = [pair for pairs in prompts.pairs for pair in pairs]
    columns: Columns = {
        "prompt": asked(prompts.at(places)),
        "chosen": said([pair.better for pair in found]),
        "rejected": said([pair.worse for pair in found]),
        "writer": [pair.writer for pair in found],
        "round": [pair.round for pair in found],
        "scorer": [pair.scorer for pair in found],
        "chosen_score": [pair.better_score for pair in found],
        "rejected_score": [pair.worse_score for pair in found],
    }
    return Table(places, columns)


CONFIG = Config(
    name="better",
    split="train",
    schema=schema(
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("writer", pa.string()),
        ("round", pa.int32()),
        ("scorer", pa.string()),
        ("chosen_score", pa.float64()),
        ("rejected_score", pa.float64()),
    ),
    own=_own,
    needs="a written answer that a round of advice bettered",
    what="a written answer (chosen) over what it was before a round of advice (rejected), with their scores",
    reads=frozenset({Reads.PAIRS}),
    mend="`evocliff write RUN --rounds N` makes some",
)
