"""The files of one config and split: Parquet in shards, and the same rows as JSONL.

Rows come a batch at a time and go out in row groups; where they are cut depends on the rows alone, so
the same rows give the same bytes. Knows columns and files; knows nothing of the record.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_GROUP_ROWS, _GROUP_BYTES = 10_000, 64_000_000
_SHARD_ROWS, _SHARD_BYTES = 250_000, 500_000_000


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one config and split."""

    config: str
    split: str
    rows: int
    parquet: str  # pattern that the shards match, inside the folder
    jsonl: str
    sha256: dict[str, str]  # by path inside the folder
    content: str  # sha256 of the rows as JSONL


class SplitFiles:
    """Writes rows; `close` gives the shards their names, which tell how many they are."""

    def __init__(
        self, folder: Path, config: str, split: str, schema: pa.Schema, jsonl: str
    ) -> None:
        self._folder, self._config, self._split = folder, config, split
        self._within = Path("data") / config
        (folder / self._within).mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._jsonl = (self._within / jsonl).as_posix()
        self._lines: BinaryIO = (folder / self._jsonl).open("wb")
        self._content = hashlib.sha256()
        self._shard: _Shard | None = None
        self._shards: list[Path] = []
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def write(self, table: pa.Table, lines: bytes) -> None:
        """Append rows, given as a table of the schema and as JSONL."""
        self._lines.write(lines)
        self._content.update(lines)
        self.rows += table.num_rows
        self._waiting.append(table)
        rows = sum(t.num_rows for t in self._waiting)
        if rows >= _GROUP_ROWS or sum(t.nbytes for t in self._waiting) >= _GROUP_BYTES:
            self._write_group()

    def close(self) -> Written:
        """Bring everything to the disk."""
        if self._waiting:
            self._write_group()
        self._end_shard()
        _sync(self._lines)
        digests = {self._jsonl: self._content.hexdigest()}
        for place, shard in enumerate(self._shards):
            name = f"{self._split}-{place:05d}-of-{len(self._shards):05d}.parquet"
            shard.rename(shard.with_name(name))
            digests[(self._within / name).as_posix()] = _digest(shard.with_name(name))
        return Written(
            self._config,
            self._split,
            self.rows,
            (self._within / f"{self._split}-*.parquet").as_posix(),
            self._jsonl,
            digests,
            self._content.hexdigest(),
        )

    def abandon(self) -> None:
        """Let go of the files, whatever state they are in."""
        self._lines.close()
        if self._shard is not None:
            self._shard.abandon()

    def _write_group(self) -> None:
        group = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting = []
        if self._shard is None:
            path = self._folder / self._within / f"{self._split}-{len(self._shards):05d}.parquet"
            self._shards.append(path)
            self._shard = _Shard(path, self._schema)
        self._shard.write(group)
        if self._shard.rows >= _SHARD_ROWS or self._shard.nbytes >= _SHARD_BYTES:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None


class _Shard:
    """One Parquet file that is being written."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")
        self.rows = self.nbytes = 0

    def write(self, group: pa.Table) -> None:
        self._writer.write_table(group, row_group_size=group.num_rows)
        self.rows += group.num_rows
        self.nbytes += group.nbytes

    def close(self) -> None:
        self._writer.close()
        _sync(self._file)

    def abandon(self) -> None:
        self._file.close()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
