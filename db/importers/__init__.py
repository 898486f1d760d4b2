"""Importing datasets as prompts. A format is one file here and one line in `FORMATS`.

`import_file` reads a file once, row by row, in bounded memory, and writes all of it or nothing: what is
wrong further down undoes what came before.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.importers import evorefuse, mapped, or_bench, orfuzz, phtest, reading, xstest
from db.importers.formats import Cells, Format, listed, require_column, word
from db.importers.table import Table, shown
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.importers.record import Entry
    from db.store import Store

# In this order a file without --as is tried; the last one takes any file.
FORMATS: Mapping[str, Format] = {
    made.name: made
    for made in (
        xstest.FORMAT,
        phtest.FORMAT,
        evorefuse.FORMAT,
        orfuzz.FORMAT,
        or_bench.FORMAT,
        mapped.FORMAT,
    )
}
_LONGEST_SOURCE = 120


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says of a file; None: what the file itself shows."""

    format: str | None = None
    prompt: str | None = None
    label: str | None = None
    category: str | None = None
    source: str | None = None
    licence: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file will be read. `origin`: what file and user call it, for labels that names imply."""

    format: Format
    cells: Cells
    source: str
    origin: str
    licence: str | None


def import_file(
    store: Store | None, path: str | Path, options: Options | None = None, *, dry_run: bool = False
) -> dict[str, Any]:
    """Store a file's prompts with their source, licence, label and category.

    A prompt that is there already, from a search or another file, is not stored again: the row is
    linked to it. Importing a file again changes nothing but what the file now says of its rows. A label
    is what a file says; no gate decision is made of it.

    Args:
        store: None only with `dry_run`: as if the database were empty.
        dry_run: read and count, write nothing.

    Returns:
        what was done, as `evocliff import --json` prints it: "read" is "new", "linked", "repeated" (in
        the file) and the "skipped" together.

    Raises:
        ConfigError: a file that cannot be read as a whole, a column that is not there, a format that
            is unknown; nothing was written.
        StoreError: the database; nothing was written.
    """
    from db.importers import record

    file = Path(path)
    table, plan = check(file, options or Options())
    entries = _entries(table, plan)
    if dry_run or store is None:
        counts = record.count(store, entries)
    else:
        counts = record.write(store, plan.source, plan.licence, entries)
    if not counts.read:
        raise ConfigError(f"{shown(file)}: the file holds no row")
    cells = asdict(plan.cells)
    return {
        "file": str(path),
        "format": plan.format.name,
        "source": plan.source,
        "licence": plan.licence,
        "columns": {name: cells[name] for name in ("prompt", "label", "category")},
        "dry_run": dry_run,
        **counts.as_dict(),
    }


def entries(path: str | Path, options: Options | None = None) -> tuple[Plan, Iterator[Entry]]:
    """The rows of a file as `import_file` would read them, and how; nothing is stored.

    Raises:
        ConfigError: as `import_file`; of a row, when it is reached.
    """
    table, plan = check(Path(path), options or Options())
    return plan, _entries(table, plan)


def check(file: Path, options: Options) -> tuple[Table, Plan]:
    """Open a file and see how it would be read; its rows are not looked at.

    Raises:
        ConfigError: as `import_file`.
    """
    table = reading.table(file, options.encoding)
    return table, plan_of(file, table.columns, options)


def plan_of(file: Path, columns: Sequence[str], options: Options) -> Plan:
    """Format, columns and source: as the user says, else as the columns show.

    Raises:
        ConfigError: an unknown format; a column that is not there, or there twice.
    """
    format_ = _format(columns, options)
    cells = format_.cells(columns, options.prompt)
    if cells is None:
        if options.format is not None:
            require_column(format_.prompt[0], columns, f"--as {format_.name}", file)
        raise ConfigError(
            f"{shown(file)}: name the column of the prompts with --prompt-col; it has {listed(columns)}"
        )
    named = {"prompt": options.prompt, "label": options.label, "category": options.category}
    for part, column in named.items():
        if column is not None:
            require_column(column, columns, f"--{part}-col", file)
            cells = replace(cells, **{part: column})
    for column in cells.names:
        require_column(column, columns, "columns", file)
    origin = _origin(format_, file, columns, options.source)
    source = shown((origin if options.source is None else options.source).strip())
    if not source or len(source) > _LONGEST_SOURCE:
        raise ConfigError(
            f"--source '{source}': give it a name of 1 to {_LONGEST_SOURCE} characters"
        )
    return Plan(format_, cells, source, f"{origin} {source}", options.licence or format_.licence)


def _origin(format_: Format, file: Path, columns: Sequence[str], named: str | None) -> str:
    try:
        return format_.source(file, columns)
    except ConfigError:
        if named is None:
            raise
        return named


def _format(columns: Sequence[str], options: Options) -> Format:
    if options.format is not None:
        if options.format not in FORMATS:
            near = difflib.get_close_matches(options.format, FORMATS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(FORMATS)}"
            raise ConfigError(f"--as {shown(options.format)}: unknown; {hint}")
        return FORMATS[options.format]
    if options.prompt is not None:
        return mapped.FORMAT
    return next(made for made in FORMATS.values() if made.recognises(columns))


def _entries(table: Table, plan: Plan) -> Iterator[Entry]:
    from db.importers.record import Entry

    cells, format_ = plan.cells, plan.format
    for place, row in table.rows(cells.names):
        yield Entry(
            place,
            format_.text(row.get(cells.prompt)),
            format_.said(row, cells, plan.origin),
            word(row.get(cells.category)) if cells.category is not None else None,
            word(row.get(cells.key)) if cells.key is not None else None,
        )
