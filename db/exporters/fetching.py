"""Rows as the driver gives them, without what SQLAlchemy wraps around each; for columns of plain texts
and numbers, of which both drivers give Python's own.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DatabaseError


def fetched(connection: Connection, statement: Executable) -> list[tuple[Any, ...]]:
    """All rows of a statement.

    Raises:
        DatabaseError: as SQLAlchemy raises it.
    """
    cursor: Any = connection.execute(statement).cursor
    try:
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    except connection.dialect.dbapi.DatabaseError as error:  # type: ignore[union-attr]
        raise DatabaseError(str(statement), None, error) from error
    return rows


@contextlib.contextmanager
def without_cycles() -> Iterator[None]:
    """Hold back the search for cyclic garbage: a batch is a great many tuples without a cycle, and the
    search would walk through all of them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
