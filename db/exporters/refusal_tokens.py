"""Conversations whose response begins with a token that says what it is, after "Refusal Tokens"
(arXiv 2412.06748, section 3): `[respond]`, or `[refuse]`, or a refusal token for the category.

The category is the topic of the prompt. A model that was trained on these learns the token first, so
its probability is a knob when the model is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

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

RESPOND, REFUSE = "[respond]", "[refuse]"
_OTHER = "other"


def category(topic: str | None) -> str:
    """A topic as one word that a token can bear.

    >>> category("Figurative language"), category(None)
    ('figurative-language', 'other')
    """
    return re.sub(r"[^a-z0-9]+", "-", (topic or "").casefold()).strip("-")[:40] or _OTHER


def of_topic(topic: str | None) -> str:
    """The refusal token of a category."""
    return f"[refuse:{category(topic)}]"


def _single(e: Eligible) -> str:
    return REFUSE


def _of_category(e: Eligible) -> str:
    return of_topic(e.topic)


def _rows(refuse: Callable[[Eligible], str]) -> Callable[[Sequence[Eligible]], Table]:
    def own(prompts: Sequence[Eligible]) -> Table:
        kept = each_response(prompts)
        tokens = [RESPOND if is_answer else refuse(e) for e, _, is_answer in kept]
        columns: Columns = {
            "messages": [
                [*asked(e), said(f"{token} {response.text}")]
                for (e, response, _), token in zip(kept, tokens, strict=True)
            ],
            "token": tokens,
            "category": [category(e.topic) for e, _, _ in kept],
            "is_refusal": [not is_answer for _, _, is_answer in kept],
            "sample": [response.sample for _, response, _ in kept],
            "p_refusal": [response.p_refusal for _, response, _ in kept],
        }
        return Table([e for e, _, _ in kept], columns)

    return own


_SCHEMA = schema(
    ("messages", MESSAGES),
    ("token", pa.string()),
    ("category", pa.string()),
    ("is_refusal", pa.bool_()),
    ("sample", pa.int32()),
    ("p_refusal", pa.float64()),
)
_NEEDS = "a sampled response that a judge scored"
_READS = frozenset({Reads.RESPONSES})

SINGLE = Config(
    name="single",
    split="train",
    schema=_SCHEMA,
    own=_rows(_single),
    needs=_NEEDS,
    what=f"responses behind {RESPOND} or {REFUSE}",
    reads=_READS,
)
CATEGORY = Config(
    name="category",
    split="train",
    schema=_SCHEMA,
    own=_rows(_of_category),
    needs=_NEEDS,
    what=f"responses behind {RESPOND} or [refuse:CATEGORY], the category being the prompt's topic",
    reads=_READS,
)
