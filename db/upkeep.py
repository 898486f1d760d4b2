"""Looking after a database: is it sound, how large is it, and making it small and quick again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, LargeBinary, Table, cast, func, literal, select, text
from sqlalchemy.exc import DatabaseError

from db import migrations, queries, summaries
from db.connection import shown_url
from db.models import Base, utc_now
from db.near import database_file, embedders, postgres, sidecar, sqlite
from db.retention import Keep, forget
from db.store import Store
from workers.interface import StoreError

# Rows that no foreign key watches: what points where, and how many point to nothing.
_ORPHANS = {
    "proposals: {n} descend from a seed that is not there": (
        "SELECT count(*) FROM proposals WHERE seed_prompt_id IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM prompts WHERE prompts.prompt_id = proposals.seed_prompt_id)"
    ),
    "embeddings: {n} are by a model that is not named in embedders": (
        "SELECT count(*) FROM embeddings WHERE embedder NOT IN (SELECT name FROM embedders)"
    ),
    "prompts: {n} are missing in the text search": (
        "SELECT count(*) FROM prompts WHERE prompt_id NOT IN (SELECT prompt_id FROM prompt_text)"
    ),
}


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """What `vacuum` did: sizes in bytes, and a line for each thing done."""

    before: int
    after: int
    forgotten: int
    done: tuple[str, ...]


def check(store: Store) -> dict[str, Any]:
    """Whether a database is sound, and what is in it.

    Keys: sound, problems (lines), schema, bytes, tables: [{table, rows, bytes}], the largest first;
    bytes of a table are those with its indexes; where SQLite was built without `dbstat`, those of the
    values alone.
    """
    problems = queries.integrity_problems(store)
    with store.reading() as connection:
        schema = migrations.revision(connection, shown_url(store.url))
        for line, counted in _ORPHANS.items():
            if n := connection.scalar(text(counted)):
                problems.append(line.format(n=n))
        tables = _tables(connection)
    return {
        "sound": not problems,
        "problems": problems,
        "schema": schema,
        "bytes": size(store),
        "tables": tables,
    }


def size(store: Store) -> int:
    """Bytes on disk: of a SQLite file with its log and what lies beside it for nearness."""
    if store.engine.dialect.name == "postgresql":
        with store.reading() as connection:
            asked = text("SELECT pg_database_size(current_database())")
            return int(connection.scalar(asked) or 0)
    file = database_file(store.url)
    if file is None:
        return 0
    beside = [file, *(Path(f"{file}{end}") for end in ("-wal", "-shm")), *sidecar.all_of(file)]
    return sum(part.stat().st_size for part in beside if part.exists())


def vacuum(store: Store, retain: Keep | None = None) -> Vacuumed:
    """Forget samples as `keep.samples` of each run says (or `retain` of all), give space back, renew
    the statistics that queries are planned by, and rebuild the indexes for nearness that need it.

    Raises:
        StoreError: another process writes, or the disk has no room for the copy that SQLite makes.
    """
    before = size(store)
    with store.writing() as connection:
        forgotten = forget(connection, utc_now(), retain)
    told = summaries.keep(store)
    news = [f"summaries kept, of runs: {told}"] if told else []
    compact = _compact_postgres if store.engine.dialect.name == "postgresql" else _compact_sqlite
    done = compact(store)
    return Vacuumed(before, size(store), forgotten, (*done, *news))


def _compact_sqlite(store: Store) -> list[str]:
    file = database_file(store.url)
    if file is not None and shutil.disk_usage(file.parent).free < file.stat().st_size:
        raise StoreError(
            f"{file}: compacting it needs as much free space as it is large "
            f"({file.stat().st_size / 1e9:.1f} GB); free some and run it again"
        )
    _outside(
        store,
        "INSERT INTO prompt_text (prompt_text) VALUES ('optimize')",
        "VACUUM",
        "ANALYZE",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    )
    done = ["space given back", "statistics renewed"]
    for name, dim in embedders(store).items():
        with store.reading() as connection:
            end = connection.scalar(text("SELECT max(rowid) FROM embeddings")) or 0
            if len(sqlite.current(connection, file, name, dim, end).rowids):
                done.append(f"nearness by {name} is up to date")
    return done


def _compact_postgres(store: Store) -> list[str]:
    with store.writing() as connection:
        done = postgres.tend(connection)
    _outside(store, "VACUUM (ANALYZE)")
    return ["space freed for new rows", "statistics renewed", *done]


def _outside(store: Store, *statements: str) -> None:
    """Run statements that no transaction may hold, one after the other."""
    raw = store.engine.raw_connection()
    driver: Any = raw.driver_connection
    try:
        if store.engine.dialect.name == "postgresql":
            driver.autocommit = True
        for statement in statements:
            _explained(store, driver.execute, statement)
    finally:
        if store.engine.dialect.name == "postgresql":
            driver.autocommit = False
        raw.close()


def _explained(store: Store, execute: Callable[[str], Any], statement: str) -> None:
    from db.connection import explain

    module: Any = store.engine.dialect.dbapi
    try:
        execute(statement)
    except module.Error as error:
        wrapped = DatabaseError(statement, None, error)
        raise StoreError(explain(wrapped, shown_url(store.url), "compacted")) from error


def _tables(connection: Connection) -> list[dict[str, Any]]:
    sizes = _sizes(connection)
    rows = [
        {
            "table": t.name,
            "rows": connection.scalar(select(func.count()).select_from(t)) or 0,
            "bytes": sizes.get(t.name, 0),
        }
        for t in Base.metadata.sorted_tables
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["table"]))


def _sizes(connection: Connection) -> dict[str, int]:
    if connection.dialect.name == "postgresql":
        asked = text(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = current_schema()::regnamespace"
        )
        return {name: int(n) for name, n in connection.execute(asked)}
    compiled = connection.exec_driver_sql("PRAGMA compile_options").scalars().all()
    if "ENABLE_DBSTAT_VTAB" not in compiled:
        return {t.name: _content(connection, t) for t in Base.metadata.sorted_tables}
    asked = text(
        "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "
        "WHERE s.aggregate = 1 GROUP BY m.tbl_name"
    )
    return {name: int(n) for name, n in connection.execute(asked)}


def _content(connection: Connection, table: Table) -> int:
    """Bytes of all values of a table."""
    lengths = (func.coalesce(func.length(cast(c, LargeBinary)), 0) for c in table.columns)
    return int(connection.scalar(select(func.sum(sum(lengths, literal(0))))) or 0)
