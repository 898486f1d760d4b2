"""Single responses with a label, as TRL's KTOTrainer wants them: an answer is desirable, a refusal not."""

from __future__ import annotations

import pyarrow as pa

from db.exporters.columns import Columns
from db.exporters.eligible import Prompts, Reads
from db.exporters.formats import (
    MESSAGES,
    Config,
    Table,
    asked,
    each_response,
    said,
    schema,
)


def _own(prompts: Prompts) -> Table:
    places, kept, responses, is_answer = each_response(prompts)
    columns: Columns = {
        "prompt": asked(kept),
        "completion": said([response.text for response in responses]),
        "label": is_answer,
        "sample": [response.sample for response in responses],
        "p_refusal": [response.p_refusal for response in responses],
        "writer": [response.writer for response in responses],
    }
    return Table(places, columns)


CONFIG = Config(
    name="kto",
    split="train",
    schema=schema(
        ("prompt", MESSAGES),
        ("completion", MESSAGES),
        ("label", pa.bool_()),
        ("sample", pa.int32()),
        ("p_refusal", pa.float64()),
        ("writer", pa.string()),
    ),
    own=_own,
    needs="a sampled response that a judge scored",
    what="a response of the target, and whether it is wanted: an answer is, a refusal is not",
    reads=frozenset({Reads.RESPONSES}),
)
