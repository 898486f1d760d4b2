"""Single responses with a label, as TRL's KTOTrainer wants them: an answer is desirable, a refusal not."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from db.exporters.eligible import Eligible, Reads
from db.exporters.formats import (
    MESSAGES,
    Columns,
    Config,
    Table,
    asked,
    each_response,
    said,
    schema,
)


def _own(prompts: Sequence[Eligible]) -> Table:
    kept = each_response(prompts)
    columns: Columns = {
        "prompt": [asked(e) for e, _, _ in kept],
        "completion": [[said(response.text)] for _, response, _ in kept],
        "label": [is_answer for _, _, is_answer in kept],
        "sample": [response.sample for _, response, _ in kept],
        "p_refusal": [response.p_refusal for _, response, _ in kept],
    }
    return Table([e for e, _, _ in kept], columns)


CONFIG = Config(
    name="kto",
    split="train",
    schema=schema(
        ("prompt", MESSAGES),
        ("completion", MESSAGES),
        ("label", pa.bool_()),
        ("sample", pa.int32()),
        ("p_refusal", pa.float64()),
    ),
    own=_own,
    needs="a sampled response that a judge scored",
    what="a response of the target, and whether it is wanted: an answer is, a refusal is not",
    reads=frozenset({Reads.RESPONSES}),
)
