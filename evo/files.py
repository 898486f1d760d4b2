"""Rows of a user's file, .jsonl, .csv or .txt, each with its place, so that an error can name it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workers.interface import ConfigError


def rows(path: Path, option: str) -> Iterator[tuple[str, Any]]:
    """(FILE:LINE, row) of each row: an object of .jsonl, a mapping of .csv, a line of .txt.

    Args:
        option: what the user named the file with; errors begin with it.

    Raises:
        ConfigError: another ending, no such file, not UTF-8, not JSON, not CSV.
    """
    readers = {".jsonl": _jsonl, ".csv": _csv, ".txt": _txt}
    if path.suffix not in readers:
        raise ConfigError(f"{option}: {path}: the name must end in {', '.join(readers)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{option}: {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{option}: {path}: cannot be read as UTF-8 text: {error}") from error
    for number, row in readers[path.suffix](text, f"{option}: {path}"):
        yield f"{path}:{number}", row


def column(row: Any, name: str, option: str, place: str) -> Any:
    """The value of a column.

    Raises:
        ConfigError: the row is no object, or has no such column; those that it has are named.
    """
    if not isinstance(row, Mapping):
        raise ConfigError(f"{option}: {place}: a row must be an object with the key '{name}'")
    if name not in row:
        known = [str(key) for key in row if key is not None]
        raise ConfigError(
            f"{option}: {place} has no '{name}'; it has {', '.join(known) or 'nothing'}"
        )
    return row[name]


_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def truth(row: Mapping[str, Any], name: str, option: str, place: str) -> bool | None:
    """A column that says yes or no; None where it says nothing.

    >>> truth({"harmful": "no"}, "harmful", "FILE", "a.csv:1")
    False

    Raises:
        ConfigError: it says something else.
    """
    said = row.get(name)
    if said is None or not str(said).strip():
        return None
    found = _TRUTHS.get(str(said).strip().lower())
    if found is None:
        raise ConfigError(f"{option}: {place}: '{name}' is {said!r}; write true or false")
    return found


def _jsonl(text: str, shown: str) -> Iterable[tuple[int, Any]]:
    # Not splitlines: it also cuts at U+2028 and others that JSON strings may hold.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{shown}:{number}: not JSON: {error.msg}") from None


def _csv(text: str, shown: str) -> Iterable[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(f"{shown}:{reader.line_num}: not CSV: {error}") from None


def _txt(text: str, _: str) -> Iterable[tuple[int, Any]]:
    return (
        (number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()
    )
