"""What a language model said, read for the objects in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object that begins somewhere in `text`, those inside others too, in order.

    >>> list(json_objects('Sure: {"a": 1}, or {"b": broken'))
    [{'a': 1}]
    """
    decoder = json.JSONDecoder()
    for start, char in enumerate(text):
        if char == "{":
            try:
                value, _ = decoder.raw_decode(text, start)
            except (json.JSONDecodeError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value
