"""CSV: quotes and line breaks in cells, cells of many megabytes, commas, semicolons or tabs."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from pathlib import Path

from db.importers.lines import Lines
from db.importers.table import LIMIT, Rows, Table, shown
from workers.interface import ConfigError

_DELIMITERS = ",;\t"


def table(path: Path, encoding: str) -> Table:
    """A file whose first record names the columns.

    Raises:
        ConfigError: here, no header; while reading, a quote that is not closed, or more cells than
            columns.
    """
    header = next(_records(path, encoding), None)
    if header is None:
        raise ConfigError(f"{shown(path)}: the file is empty")
    columns = tuple(header[1])

    def rows(_: Collection[str]) -> Rows:
        records, name = _records(path, encoding), shown(path)
        next(records)
        for number, cells in records:
            place = f"{name}:{number}"
            if len(cells) > len(columns) and any(cells[len(columns) :]):
                raise ConfigError(
                    f"{place}: {len(cells)} cells under {len(columns)} columns; is a cell that holds "
                    "the delimiter not quoted?"
                )
            yield place, dict(zip(columns, cells, strict=False))

    return Table(columns, rows)


def _records(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(line at which it begins, cells) of each record that is not an empty line."""
    reader = csv.reader(
        Lines(path, encoding, ""), delimiter=_delimiter(path, encoding), strict=True
    )
    before = csv.field_size_limit(LIMIT)
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield begins, cells
                csv.field_size_limit(LIMIT)  # it is the process's: another reader may have run
            begins = reader.line_num + 1
    except csv.Error as error:
        hint = "; is a quote not closed?" if "limit" in str(error) or "end" in str(error) else ""
        raise ConfigError(f"{shown(path)}:{begins}: not CSV: {error}{hint}") from None
    finally:
        csv.field_size_limit(before)


def _delimiter(path: Path, encoding: str) -> str:
    """What most often stands between the names of the columns."""
    first = next(iter(Lines(path, encoding, "")), "")
    return max(_DELIMITERS, key=first.count)
