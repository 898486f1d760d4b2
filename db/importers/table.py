"""What every kind of file is once it is open: columns, and rows with their places."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Characters of one cell or line. More is as a rule a quote that is not closed.
LIMIT = 64 * 1024 * 1024

Row = Mapping[str, Any]
Rows = Iterator[tuple[str, Row]]


@dataclass(frozen=True, slots=True)
class Table:
    """A file that can be read: its columns (of JSON the keys of the first row), and its rows from the
    first one on, each with its place. `rows` is asked with the columns that are needed."""

    columns: tuple[str, ...]
    rows: Callable[[Collection[str]], Rows]


def shown(text: object) -> str:
    """A name or cell as it may stand in a message: one line, no control characters, not too long.

    >>> shown("red: \\x1b[31m")
    'red: \\\\x1b[31m'
    """
    whole = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )
    return whole if len(whole) <= 200 else f"{whole[:199]}…"
