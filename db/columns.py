"""What goes into columns: text of unknown origin, and the time."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sqlalchemy import Dialect, Text, TypeDecorator


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class AnyText(TypeDecorator[str]):
    """Text of unknown origin. Lone surrogates and NUL, which no UTF-8 column of every database
    holds, become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


def storable(value: str) -> str:
    """Text as `AnyText` keeps it."""
    if value.isascii() and "\x00" not in value:  # as a rule, and much quicker than the search
        return value
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)


_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
