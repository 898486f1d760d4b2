"""Columns of a dataset, a batch of rows at a time, as Arrow, as JSON and as Python.

A column is a plain sequence of values, or `Turns` of a conversation. Values are turned into JSON a column
at a time: a call of its own for each value would cost more than all the rest. Knows no prompt and no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

# Between the values of an indented list: no JSON value of one line has a newline in it.
_BETWEEN = b",\n  "
_HEAD, _TAIL = len(b"[\n  "), len(b"\n]")
# Characters that JSON leaves as they are, and at which some readers end a line.
_LINE_ENDS = {"\x85": b"\\u0085", "\u2028": b"\\u2028", "\u2029": b"\\u2029"}


class Turns(NamedTuple):
    """One conversation a row: who says what, the same speakers in every row.

    keys      the names of speaker and text in a turn, such as ("role", "content")
    turns     speaker, and what it says in each row
    first     a speaker that goes before them where it says something
    is_one    a single turn, not a list of them
    """

    keys: tuple[str, str]
    turns: tuple[tuple[str, Sequence[str]], ...]
    first: tuple[str, Sequence[str | None]] | None = None
    is_one: bool = False

    def array(self) -> pa.Array:
        """list<struct<string, string>> (n,), or struct<string, string> (n,)."""
        n = len(self.turns[0][1])
        speakers, said = [who for who, _ in self.turns], [texts for _, texts in self.turns]
        first = self._first()
        flat: Iterable[str | None] = chain.from_iterable(zip(*said, strict=True))
        of_row = len(speakers)
        if first is None:
            names, texts, lengths = speakers * n, list(flat), None
        else:
            who, before = first
            starts = [b is not None for b in before]
            names = [name for starting in starts for name in ([who] if starting else []) + speakers]
            rows = zip(before, *said, strict=True)
            texts = [text for row in rows for text in row if text is not None]
            lengths = starts
        values = pa.StructArray.from_arrays(
            [pa.array(names, pa.string()), pa.array(texts, pa.string())], names=list(self.keys)
        )
        if self.is_one:
            return values
        ends = [0]
        if lengths is None:
            ends = list(range(0, n * of_row + 1, of_row))
        else:
            for starting in lengths:
                ends.append(ends[-1] + of_row + starting)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)

    def json(self) -> list[bytes]:
        encoded = [json_values(texts) for _, texts in self.turns]
        template = b",".join(self._turn(who) for who, _ in self.turns)
        first = self._first()
        if first is None:
            template = template if self.is_one else b"[" + template + b"]"
            return [template % row for row in zip(*encoded, strict=True)]
        who, before = first
        opening = {
            b: b"" if b is None else self._turn(who) % orjson.dumps(b) + b"," for b in set(before)
        }
        template = b"[%b" + template + b"]"
        starts = [opening[b] for b in before]
        return [template % row for row in zip(starts, *encoded, strict=True)]

    def values(self) -> list[Any]:
        """For each row the turns as dicts."""
        return [orjson.loads(row) for row in self.json()]

    def _turn(self, who: str) -> bytes:
        name, content = self.keys
        return (
            orjson.dumps({name: who})[:-1].replace(b"%", b"%%") + b',"%b":%%b}' % content.encode()
        )

    def _first(self) -> tuple[str, Sequence[str | None]] | None:
        if self.first is None or not any(text is not None for text in self.first[1]):
            return None
        return self.first


Column = Sequence[Any] | Turns
Columns = dict[str, Column]


def array(column: Column, kind: pa.DataType) -> pa.Array:
    """The column as Arrow (n,)."""
    if isinstance(column, Turns):
        return column.array().cast(kind)
    return pa.array(column, type=kind)


def values(column: Column) -> Sequence[Any]:
    """The column as Python; lists of strings are lists, never tuples."""
    if isinstance(column, Turns):
        return column.values()
    return [list(value) if isinstance(value, tuple) else value for value in column]


def members(columns: Mapping[str, Column]) -> list[bytes]:
    """For each row the members of its JSON object, without the braces.

    >>> members({"a": ["x", None], "b": [1, 2.5]})
    [b'"a":"x","b":1', b'"a":null,"b":2.5']
    """
    encoded = [_encoded(column) for column in columns.values()]
    names = [orjson.dumps(name).replace(b"%", b"%%") for name in columns]
    template = b",".join(name + b":%b" for name in names)
    return [template % row for row in zip(*encoded, strict=True)]


def lines(*parts: Sequence[bytes]) -> bytes:
    """JSONL of rows whose members are given in parts."""
    template = b"{" + b",".join([b"%b"] * len(parts)) + b"}\n"
    made = b"".join([template % row for row in zip(*parts, strict=True)])
    if made.isascii():
        return made
    for character, escaped in _LINE_ENDS.items():
        made = made.replace(character.encode(), escaped)
    return made


def json_values(column: Sequence[Any]) -> list[bytes]:
    """Each of some texts, numbers, truths or None as JSON."""
    if not column:
        return []
    encoded = orjson.dumps(column, option=orjson.OPT_INDENT_2)
    return encoded[_HEAD:-_TAIL].split(_BETWEEN)


def _encoded(column: Column) -> list[bytes]:
    if isinstance(column, Turns):
        return column.json()
    if not any(isinstance(value, (tuple, list)) for value in column[:1]):
        return json_values(column)
    known = {value: orjson.dumps(value) for value in set(column)}  # tuples; few, or short
    return [known[value] for value in column]
