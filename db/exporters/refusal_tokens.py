"""Conversations whose response begins with a token that says what it is, after "Refusal Tokens"
(arXiv 2412.06748, section 3): `[respond]`, or `[refuse]`, or a refusal token for the category.

The category is the topic of the prompt. A model that was trained on these learns the token first, so
its probability is a knob when the model is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa

from db.exporters.columns import Columns
from db.exporters.eligible import Prompts, Reads
from db.exporters.formats import (
    MESSAGES,
    Config,
    Table,
    asked,
    each_response,
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


def _single(topic: str | None) -> str:
    return REFUSE


def _rows(refuse: Callable[[str | None], str]) -> Callable[[Prompts], Table]:
    """Rows whose refusals begin with what `refuse` gives for the topic."""

    def own(prompts: Prompts) -> Table:
        places, kept, responses, is_answer = each_response(prompts)
        topics = set(kept.topic)
        token_of = {topic: refuse(topic) for topic in topics}
        category_of = {topic: category(topic) for topic in topics}
        tokens = [
            RESPOND if answers else token_of[topic]
            for answers, topic in zip(is_answer, kept.topic, strict=True)
        ]
        said = [
            f"{token} {response.text}" for token, response in zip(tokens, responses, strict=True)
        ]
        columns: Columns = {
            "messages": asked(kept, ("assistant", said)),
            "token": tokens,
            "category": [category_of[topic] for topic in kept.topic],
            "is_refusal": [not answers for answers in is_answer],
            "sample": [response.sample for response in responses],
            "p_refusal": [response.p_refusal for response in responses],
            "writer": [response.writer for response in responses],
        }
        return Table(places, columns)

    return own


_SCHEMA = schema(
    ("messages", MESSAGES),
    ("token", pa.string()),
    ("category", pa.string()),
    ("is_refusal", pa.bool_()),
    ("sample", pa.int32()),
    ("p_refusal", pa.float64()),
    ("writer", pa.string()),
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
    own=_rows(of_topic),
    needs=_NEEDS,
    what=f"responses behind {RESPOND} or [refuse:CATEGORY], the category being the prompt's topic",
    reads=_READS,
)
