"""Parquet: batch after batch, and only the columns that are needed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from db.importers.table import Rows, Table, shown
from workers.interface import ConfigError

_BATCH = 1024  # rows


def table(path: Path) -> Table:
    """A Parquet file.

    Raises:
        ConfigError: it is damaged or none; where the damage lies in the rows, while reading.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def damaged(error: Exception) -> ConfigError:
        said = next(iter(str(error).strip().splitlines()), "no reason given")
        return ConfigError(f"{shown(path)}: a damaged Parquet file, or none at all: {shown(said)}")

    try:
        with pq.ParquetFile(path) as file:
            columns = tuple(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise damaged(error) from None

    def rows(wanted: Collection[str]) -> Rows:
        # Names are looked up as paths: one with a dot cannot be asked for by itself.
        dotted = any("." in name for name in wanted)
        some = None if dotted else [name for name in columns if name in wanted]
        number, name = 0, shown(path)
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH, columns=some):
                    for row in batch.to_pylist():
                        number += 1
                        yield f"{name}: row {number}", row
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise damaged(error) from None

    return Table(columns, rows)
