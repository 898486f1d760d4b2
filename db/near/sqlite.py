"""The nearest prompts in a SQLite file: signs name candidates, stored vectors decide."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from db.near import exact, sidecar
from db.near.exact import Near, Question
from db.near.sidecar import Sidecar
from db.near.signs import distances, shortlist, signs

# For each answer wanted so many, and never fewer than this, get an exact cosine. Measured over a million
# vectors: docs/decisions/019.
_CANDIDATES = 1_000
_CANDIDATES_EACH = 10
# Rows behind the end of the sidecar are compared one by one until there are so many.
_LOOSE = 10_000
_BATCH = 10_000

_VECTORS = (
    "SELECT rowid, prompt_id, vector FROM embeddings"
    " WHERE rowid > ? AND rowid <= ? AND embedder = ? ORDER BY rowid"
)
_THESE = (
    "SELECT prompt_id, vector FROM embeddings"
    " WHERE rowid IN (SELECT value FROM json_each(?)) AND embedder = ?"
)


def nearest(connection: Connection, database: Path | None, asked: Question, k: int) -> list[Near]:
    """The k nearest."""
    end = connection.exec_driver_sql("SELECT max(rowid) FROM embeddings").scalar() or 0
    known = current(connection, database, asked.embedder, len(asked.vector), end)
    differing = distances(known.codes, signs(asked.vector[None])[:, 0])
    rowids = known.rowids[shortlist(differing, max(_CANDIDATES, _CANDIDATES_EACH * k))]
    return exact.best(
        (
            near
            for rows in (_these(connection, asked, rowids), _loose(connection, asked, known, end))
            for near in rows
        ),
        k,
    )


def current(
    connection: Connection, database: Path | None, embedder: str, dim: int, end: int
) -> Sidecar:
    """The signs of all rows but the last few; written beside the file where they were not there."""
    path = None if database is None else sidecar.place(database, embedder)
    loaded = None if path is None else sidecar.load(path, embedder, dim)
    known = Sidecar.empty(embedder, dim)
    if loaded is not None and loaded[0].upto <= end and _still_holds(connection, loaded[1]):
        known = loaded[0]
    if end - known.upto <= _LOOSE:
        return known
    known = _extended(connection, known, end)
    if path is not None and len(known.rowids):
        sidecar.save(path, known, _marks(connection, known))
    return known


def _extended(connection: Connection, known: Sidecar, end: int) -> Sidecar:
    rowids, codes = [], []
    for rows in _rows(connection, known.upto, end, known.embedder):
        rowids.append(np.array([rowid for rowid, _, _ in rows], dtype=np.int64))
        codes.append(signs(exact.stacked([vector for _, _, vector in rows], known.dim)))
    if not rowids:
        return known.extended(end, known.rowids[:0], known.codes[:, :0])
    return known.extended(end, np.concatenate(rowids), np.concatenate(codes, axis=1))


def _rows(
    connection: Connection, after: int, end: int, embedder: str
) -> Iterator[Sequence[tuple[int, str, bytes]]]:
    found = connection.exec_driver_sql(_VECTORS, (after, end, embedder))
    cursor: Any = found.cursor  # the driver's tuples: a million rows need no more
    while rows := cursor.fetchmany(_BATCH):
        yield rows
    found.close()


def _these(connection: Connection, asked: Question, rowids: NDArray[np.int64]) -> Iterator[Near]:
    for start in range(0, len(rowids), _BATCH):
        listed = json.dumps(rowids[start : start + _BATCH].tolist())
        found = connection.exec_driver_sql(_THESE, (listed, asked.embedder))
        cursor: Any = found.cursor
        rows = cursor.fetchall()
        found.close()
        values = exact.cosines([vector for _, vector in rows], asked.vector)
        yield from zip((prompt for prompt, _ in rows), values, strict=True)


def _loose(connection: Connection, asked: Question, known: Sidecar, end: int) -> Iterator[Near]:
    for rows in _rows(connection, known.upto, end, asked.embedder):
        values = exact.cosines([vector for _, _, vector in rows], asked.vector)
        yield from zip((prompt for _, prompt, _ in rows), values, strict=True)


def _marks(connection: Connection, known: Sidecar) -> dict[int, str]:
    return _prompts(connection, sidecar.marked(known.rowids))


def _still_holds(connection: Connection, marks: dict[int, str]) -> bool:
    """Whether the rows are still those that were looked at: VACUUM after a deletion renumbers them,
    and another database may lie at the same place."""
    return bool(marks) and _prompts(connection, list(marks)) == marks


def _prompts(connection: Connection, rowids: Sequence[int]) -> dict[int, str]:
    found = connection.exec_driver_sql(
        "SELECT rowid, prompt_id FROM embeddings WHERE rowid IN (SELECT value FROM json_each(?))",
        (json.dumps(list(rowids)),),
    )
    return {row.rowid: row.prompt_id for row in found}
