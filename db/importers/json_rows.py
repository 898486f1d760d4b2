"""JSON: objects line by line, or one list of objects, read piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from db.importers.lines import Lines
from db.importers.table import LIMIT, Row, Rows, Table, shown
from workers.interface import ConfigError

_PIECE = 1 << 20  # characters


def by_line(path: Path, encoding: str) -> Table:
    """One object a line; empty lines are passed over.

    Raises:
        ConfigError: here, no row; while reading, a line that is no JSON object, or has a key twice.
    """

    def rows(_: Collection[str]) -> Rows:
        name = shown(path)
        lines = Lines(path, encoding, "\n")  # JSON strings may hold what else ends a line
        for line in lines:
            if line.strip():
                place = f"{name}:{lines.number}"
                try:
                    value = json.loads(line, object_pairs_hook=_once)
                except (ValueError, RecursionError) as error:
                    raise ConfigError(f"{place}: not JSON: {_why(error)}") from None
                yield place, _object(value, place)

    return _by_first_row(path, rows)


def listed(path: Path, encoding: str) -> Table:
    """A list of objects; or objects line by line, which are often called .json too.

    Raises:
        ConfigError: as `by_line`; the file is neither.
    """
    lines = Lines(path, encoding, "\n")
    with lines.file as file:
        first = lines.read(file.read, 4096).lstrip()[:1]
    if first == "{":
        return by_line(path, encoding)
    if first != "[":
        raise ConfigError(f"{shown(path)}: not a JSON list of objects")
    return _by_first_row(path, lambda _: _elements(path, encoding))


def _elements(path: Path, encoding: str) -> Rows:
    reader, name = _Pieces(path, encoding), shown(path)
    with reader.lines.file:
        number, expected = 0, "["
        while True:
            place = f"{name}: element {number + 1}"
            sign = reader.sign()
            if sign == "]" and number:
                break
            if sign != expected:
                raise ConfigError(f"{place}: not JSON: '{expected}' expected; is the file whole?")
            reader.take()
            if not number and reader.sign() == "]":
                break
            try:
                value = reader.value()
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{place}: not JSON: {_why(error)}") from None
            number, expected = number + 1, ","
            yield place, _object(value, place)
        reader.take()
        if reader.sign():
            raise ConfigError(f"{name}: something stands behind the end of the JSON list")


class _Pieces:
    """JSON values and the signs between them, out of a file of which one piece is in memory."""

    def __init__(self, path: Path, encoding: str) -> None:
        self.lines = Lines(path, encoding, "\n")
        self._decode = json.JSONDecoder(object_pairs_hook=_once).raw_decode
        self._text, self._at, self._ended, self._size = "", 0, False, _PIECE

    def sign(self) -> str:
        """The next character that is not white space; none at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def take(self) -> None:
        """Go behind that character."""
        self._at += 1

    def value(self) -> Any:
        """The next value.

        Raises:
            ValueError, RecursionError: it is none.
        """
        self.sign()
        while True:
            try:
                value, self._at = self._decode(self._text, self._at)
                return value
            except _TwiceError:
                raise
            except ValueError:
                if self._ended or len(self._text) - self._at > LIMIT:
                    raise
                # The value may be longer than what was read; ever larger pieces, or a long one would
                # be parsed again and again.
                self._size = max(_PIECE, len(self._text) - self._at)
                self._more()

    def _more(self) -> None:
        piece = self.lines.read(self.lines.file.read, self._size)
        self._text, self._at, self._ended = self._text[self._at :] + piece, 0, not piece


class _TwiceError(ValueError):
    """An object has a key twice."""


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the key '{shown(twice)}' is there twice")
    return made


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deep" if isinstance(error, RecursionError) else str(error)


def _object(value: Any, place: str) -> Row:
    if not isinstance(value, dict):
        raise ConfigError(f'{place}: a row must be an object, such as {{"prompt": "..."}}')
    return value


def _by_first_row(path: Path, rows: Callable[[Collection[str]], Rows]) -> Table:
    reading: Iterator[tuple[str, Row]] = rows(())
    first = next(reading, None)
    if first is None:
        raise ConfigError(f"{shown(path)}: the file holds no row")
    return Table(tuple(first[1]), rows)
