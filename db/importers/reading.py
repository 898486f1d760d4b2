"""Open a user's file by the ending of its name. Knows file kinds, nothing of prompts; no file is held
in memory as a whole. `evo.files` reads the small files that a run's configuration names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from db.importers import csv_rows, json_rows, parquet_rows
from db.importers.lines import encoding_of
from db.importers.table import Table, shown
from workers.interface import ConfigError

_TEXT: dict[str, Callable[[Path, str], Table]] = {
    ".csv": csv_rows.table,
    ".tsv": csv_rows.table,
    ".jsonl": json_rows.by_line,
    ".ndjson": json_rows.by_line,
    ".json": json_rows.listed,
}
_PARQUET = ".parquet"


def table(path: Path, encoding: str | None = None) -> Table:
    """Open a file.

    Args:
        encoding: of text; default: what a byte-order mark says, else UTF-8.

    Raises:
        ConfigError: no such file, kind or encoding; no permission; nothing in it. Asking for rows
            raises it too, where the damage lies further down.
    """
    ending = path.suffix.lower()
    if ending != _PARQUET and ending not in _TEXT:
        raise ConfigError(f"{shown(path)}: the name must end in {', '.join([*_TEXT, _PARQUET])}")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise ConfigError(f"{shown(path)}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{shown(path)}: this is a folder; name a file in it") from None
    except PermissionError:
        raise ConfigError(f"{shown(path)}: no permission to read it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ConfigError(f"{shown(path)}: cannot be read: {error}") from None
    if not head:
        raise ConfigError(f"{shown(path)}: the file is empty")
    if ending == _PARQUET:
        if encoding is not None:
            raise ConfigError(f"--encoding {shown(encoding)}: Parquet has none; leave it out")
        return parquet_rows.table(path)
    return _TEXT[ending](path, encoding_of(path, head, encoding))
