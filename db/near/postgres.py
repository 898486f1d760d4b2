"""The nearest prompts in PostgreSQL: pgvector names candidates, stored vectors decide.

pgvector cannot read the column `embeddings.vector`, which every database can hold. So where the
extension is there a table beside it, `near_vectors`, has the same vectors in half precision, with an
index for each embedder that has many. Without the extension every vector is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from db.near import exact
from db.near.exact import Near, Question

# From so many vectors of an embedder on an index pays; below, reading all takes a few milliseconds.
INDEX_FROM = 10_000
# An index whose lists were chosen for a quarter of today's vectors, or fewer, is made anew.
_OUTGROWN = 4
_BATCH = 10_000
# Of the lists of the index, so many are looked into: docs/decisions/019.
_PROBED = 0.08

_CREATE = """
CREATE TABLE near_vectors (
    embedder smallint NOT NULL,
    prompt_id varchar(32) NOT NULL,
    vector halfvec NOT NULL,
    PRIMARY KEY (embedder, prompt_id)
)"""
_INSERT = """
INSERT INTO near_vectors (embedder, prompt_id, vector)
SELECT :number, prompt_id, vector::halfvec
FROM unnest(CAST(:prompts AS text[]), CAST(:vectors AS text[])) AS new (prompt_id, vector)
ON CONFLICT DO NOTHING"""


def nearest(connection: Connection, asked: Question, k: int) -> list[Near]:
    """The k nearest; exact where there is no index."""
    if not exists(connection):
        return exact.best(_all(connection, asked), k)
    number = _number(connection, asked.embedder)
    wanted = 2 * k + 10  # half precision may swap neighbours
    dim = len(asked.vector)
    lists = _lists_of(connection, number)
    if lists:
        probes = max(1, round(lists * _PROBED))
        connection.exec_driver_sql(f"SET LOCAL ivfflat.probes = {probes}")
        connection.exec_driver_sql("SET LOCAL ivfflat.iterative_scan = relaxed_order")
    # The index is of one embedder: its number has to stand in the statement for the planner to see.
    found = connection.execute(
        text(
            f"SELECT prompt_id FROM near_vectors WHERE embedder = {number:d} "  # noqa: S608 - numbers
            f"ORDER BY (vector::halfvec({dim:d})) <=> CAST(:vector AS halfvec({dim:d})) LIMIT :wanted"
        ),
        {"vector": _spelled(asked.vector), "wanted": wanted},
    )
    return exact.best(_these(connection, asked, [prompt for (prompt,) in found]), k)


def exists(connection: Connection) -> bool:
    return bool(connection.scalar(text("SELECT to_regclass('near_vectors') IS NOT NULL")))


def write(connection: Connection, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of `embeddings`, all of one embedder, for the index too."""
    if not rows:
        return
    vectors = [_spelled(np.frombuffer(row["vector"], dtype="<f4")) for row in rows]
    prompts = [row["prompt_id"] for row in rows]
    connection.execute(text(_INSERT), {"number": number, "prompts": prompts, "vectors": vectors})


def prepare(connection: Connection) -> None:
    """Make the table where pgvector is there and few vectors are; `tend` does it for many."""
    if exists(connection) or _count_upto(connection, INDEX_FROM) == INDEX_FROM:
        return
    if _create(connection):
        _fill(connection)


def tend(connection: Connection) -> list[str]:
    """Make the table and its indexes as they should be, whatever it takes. Says what was done."""
    if not exists(connection) and not _create(connection):
        return []
    done = []
    if filled := _fill(connection):
        done.append(f"{filled} vectors copied for pgvector")
    counted = text("SELECT embedder, count(*) AS n FROM near_vectors GROUP BY embedder")
    counts = {row.embedder: row.n for row in connection.execute(counted)}
    embedders = connection.execute(text("SELECT number, name, dim FROM embedders ORDER BY number"))
    for number, name, dim in embedders.all():
        n, lists = counts.get(number, 0), _lists_of(connection, number)
        wanted = lists_for(n)
        if n < INDEX_FROM or (lists and wanted < lists * _OUTGROWN):
            continue
        _build(connection, number, dim, wanted)
        done.append(f"index of {n} vectors by {name}")
    return done


def lists_for(n: int) -> int:
    """Into how many lists an index over n vectors is cut.

    >>> lists_for(10_000), lists_for(1_000_000), lists_for(4_000_000)
    (10, 1000, 2000)
    """
    return max(1, n // 1000 if n <= 1_000_000 else round(n**0.5))


def _create(connection: Connection) -> bool:
    """Whether the table is there now; not so where pgvector is missing or may not be turned on."""
    available = connection.scalar(
        text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
    )
    if not available:
        return False
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(63656)")
            if not exists(connection):
                connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
                connection.exec_driver_sql(_CREATE)
                # Numbers of noise do not compress.
                connection.exec_driver_sql(
                    "ALTER TABLE near_vectors ALTER COLUMN vector SET STORAGE EXTERNAL"
                )
    except DatabaseError:
        return False
    return True


def _fill(connection: Connection) -> int:
    """Copy what is missing; how many."""
    missing = text("""
        SELECT e.prompt_id, m.number, e.vector FROM embeddings e JOIN embedders m ON m.name = e.embedder
        WHERE NOT EXISTS
        (SELECT 1 FROM near_vectors n WHERE n.embedder = m.number AND n.prompt_id = e.prompt_id)
        LIMIT :batch""")
    copied = 0
    while rows := connection.execute(missing, {"batch": _BATCH}).all():
        by_number: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows:
            one = {"prompt_id": row.prompt_id, "vector": row.vector}
            by_number.setdefault(row.number, []).append(one)
        for number, mine in by_number.items():
            write(connection, number, mine)
        copied += len(rows)
    return copied


def _build(connection: Connection, number: int, dim: int, lists: int) -> None:
    # Less than this, and pgvector says that it cannot sample enough vectors.
    connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
    connection.exec_driver_sql(f"DROP INDEX IF EXISTS {_index(number)}")
    connection.exec_driver_sql(
        f"CREATE INDEX {_index(number)} ON near_vectors "
        f"USING ivfflat ((vector::halfvec({dim:d})) halfvec_cosine_ops) "
        f"WITH (lists = {lists:d}) WHERE embedder = {number:d}"
    )
    connection.exec_driver_sql("ANALYZE near_vectors")


def _index(number: int) -> str:
    return f"ix_near_vectors_{number:d}"


def _lists_of(connection: Connection, number: int) -> int:
    """Lists of the index of an embedder; 0 when it has none."""
    options = connection.scalar(
        text("SELECT reloptions FROM pg_class WHERE oid = to_regclass(:index)"),
        {"index": _index(number)},
    )
    named = dict(option.split("=", 1) for option in options or ())
    return int(named.get("lists", 0))


def _number(connection: Connection, embedder: str) -> int:
    return int(
        connection.execute(
            text("SELECT number FROM embedders WHERE name = :name"), {"name": embedder}
        ).scalar_one()
    )


def _count_upto(connection: Connection, bound: int) -> int:
    counted = text("SELECT count(*) FROM (SELECT 1 FROM embeddings LIMIT :bound) AS few")
    return int(connection.scalar(counted, {"bound": bound}) or 0)


def _these(connection: Connection, asked: Question, prompt_ids: Sequence[str]) -> Iterator[Near]:
    found = connection.execute(
        text(
            "SELECT prompt_id, vector FROM embeddings "
            "WHERE embedder = :embedder AND prompt_id = ANY(:prompts)"
        ),
        {"embedder": asked.embedder, "prompts": list(prompt_ids)},
    ).all()
    values = exact.cosines([row.vector for row in found], asked.vector)
    yield from zip((row.prompt_id for row in found), values, strict=True)


def _all(connection: Connection, asked: Question) -> Iterator[Near]:
    streaming = connection.execution_options(yield_per=_BATCH)
    found = streaming.execute(
        text("SELECT prompt_id, vector FROM embeddings WHERE embedder = :embedder"),
        {"embedder": asked.embedder},
    )
    for rows in found.partitions():
        values = exact.cosines([row.vector for row in rows], asked.vector)
        yield from zip((row.prompt_id for row in rows), values, strict=True)


def _spelled(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it.

    >>> _spelled(np.array([0.5, -1.0], dtype=np.float32))
    '[0.5,-1]'
    """
    return "[" + ",".join(["%.5g"] * len(vector)) % tuple(vector.tolist()) + "]"
