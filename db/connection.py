"""Opening a database: which URLs are ours, what is wrong with a file, and what a driver's error means.

Knows drivers and files; knows nothing of tables.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from workers.interface import StoreError

# Another evocliff may hold the database for the length of one batch.
_BUSY_TIMEOUT_MS = 10_000


def parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError(
            f"'{url}' is not a database URL; write sqlite:///FILE or postgresql://HOST/NAME"
        ) from None
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise StoreError(f"'{shown_url(url)}': only sqlite and postgresql are supported")
    if parsed.get_backend_name() == "sqlite" and (not parsed.database or "\0" in parsed.database):
        raise StoreError(f"{url!r} names no file; write sqlite:///FILE")
    return parsed


def absolute(url: str) -> str:
    """The same database for a process in another folder.

    >>> absolute("postgresql://host/name")
    'postgresql://host/name'
    """
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite" or str(parsed.database).startswith(("file:", ":")):
        return url
    file = str(Path(str(parsed.database)).absolute())
    return parsed.set(database=file).render_as_string(hide_password=False)


def file_of(url: str) -> tuple[int, ...] | None:
    """A mark of the SQLite file that a URL names: another one when another file has come in its place, or
    when a file was changed that is opened as one that never changes; None where there is no file."""
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    path = Path(str(parsed.database))
    try:
        found = path.stat()
    except OSError:
        return None
    one = (found.st_dev, found.st_ino)
    return (*one, found.st_mtime_ns, found.st_size) if _lies_still(path) else one


def shown_url(url: str) -> str:
    """The URL as people may see it: no password; of a SQLite URL, the file."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return url
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return parsed.database
    return parsed.render_as_string(hide_password=True)


def connect(url: URL, shown: str, read_only: bool) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            return _connect_sqlite(url, shown, read_only)
        options = {"postgresql_readonly": True} if read_only else {}
        return create_engine(url, pool_pre_ping=True, execution_options=options)
    except (NoSuchModuleError, ImportError) as error:
        raise StoreError(
            f"{shown}: its driver is missing ({error}); pip install 'evocliff[postgres]'"
        ) from error


def _connect_sqlite(url: URL, shown: str, read_only: bool) -> Engine:
    path = Path(url.database) if url.database and url.database != ":memory:" else None
    if path is not None:
        _check_sqlite_file(path, shown, read_only)
    if path is not None and read_only and _lies_still(path):
        # Reading in WAL mode writes beside the file; a copy on a read-only disk is read as it is.
        uri = f"file:{quote(str(path.absolute()))}?immutable=1"
        engine = create_engine(
            url, creator=lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)
        )
    else:
        engine = create_engine(url)

    engine.dialect.statement_compiler = _Compiler

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")
            # Keys are hashes, so rows land all over the file: keep its inner pages in memory.
            cursor.execute("PRAGMA cache_size = -65536")  # KiB
            # For the same reason: what is written twice between two checkpoints is copied once.
            cursor.execute("PRAGMA wal_autocheckpoint = 8000")  # pages, 32 MB
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes then can fail at once when another one writes;
        # taking the write lock at the start waits for it instead.
        writing = connection.get_execution_options().get("writes", not read_only)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


class _Compiler(SQLiteCompiler):
    """Says `INDEXED BY` where a statement gives it as a hint."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:
        return text


def _lies_still(path: Path) -> bool:
    """Whether nobody can be writing to this database: its folder is read-only, and no log is open."""
    return not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()


def _check_sqlite_file(path: Path, shown: str, read_only: bool) -> None:
    if not path.exists():
        if read_only:
            raise StoreError(
                f"{shown}: no such database; name one with --db, or run a search first"
            )
        if not path.parent.is_dir():
            raise StoreError(f"{shown}: the folder {path.parent} does not exist; make it first")
        if not os.access(path.parent, os.W_OK):
            raise StoreError(f"{shown}: the folder {path.parent} cannot be written")
        return
    if path.is_dir():
        raise StoreError(f"{shown}: this is a folder, not a database file")
    if not os.access(path, os.R_OK):
        raise StoreError(f"{shown}: no permission to read it")
    if not read_only and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise StoreError(f"{shown}: it is read-only; make it (and its folder) writable")
    with path.open("rb") as file:
        head = file.read(16)
    if head and head != b"SQLite format 3\0":
        raise StoreError(f"{shown}: this is not a database; name another file with --db")


def explain(error: DatabaseError, shown: str, verb: str) -> str:
    cause = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    mends = {
        "database is locked": "another process holds it; wait for it, or give this run its own --db",
        "read-only transaction": "it was opened for reading",
        "readonly": "it is read-only; make it (and its folder) writable",
        "disk is full": "the disk is full; free some space and resume the run",
        "disk I/O error": "the disk failed or is full; free some space and resume the run",
        "malformed": "it is damaged; restore a copy, see `evocliff db check`",
        "not a database": "this is not a database; name another file with --db",
        "unable to open": "it cannot be opened; look at its permissions",
    }
    mend = next((text for sign, text in mends.items() if sign in cause), None)
    return f"{shown}: cannot be {verb}: {mend or cause}"
