"""Many rows through one statement, at the price of the driver.

SQLAlchemy's Core builds a dict and calls a processor for every value of every row; a busy run writes
fourteen rows an evaluation, and most of their columns need neither. On SQLite this module compiles a
statement once and gives the driver tuples. Knows statements and dialects; knows no table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect
from sqlalchemy.sql.dml import UpdateBase

from db.models import AnyText, storable

# Statements are few: one for each table, and for each set of columns that an update may change.
_PLANS = 256


@dataclass(frozen=True, slots=True)
class _Plan:
    """A compiled statement, and how a row becomes the values of its placeholders."""

    sql: str
    constants: Mapping[str, Any]  # values that the statement itself brings
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]  # of a row, in order of the placeholders
    processed: tuple[
        tuple[int, Callable[[Any], Any]], ...
    ]  # place -> what its type does to a value

    def tuples(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        if self.constants:
            rows = [{**self.constants, **row} for row in rows]
        if not self.processed:
            return [self.values(row) for row in rows]
        filled = []
        for row in rows:
            values = list(self.values(row))
            for place, process in self.processed:
                values[place] = process(values[place])
            filled.append(tuple(values))
        return filled


def execute_rows(
    connection: Connection, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]
) -> int:
    """`connection.execute(statement, rows).rowcount`. Every row has the keys of the first one; pass
    the same statement object every time, for it is compiled once.

    Raises:
        DatabaseError: as Core raises it.
        KeyError: a row lacks a key of the first one.
    """
    if not rows:
        return 0
    plan = None
    if connection.dialect.name == "sqlite":
        plan = _plan(statement, tuple(rows[0]), connection.dialect)
    if plan is None:
        return connection.execute(statement, list(rows)).rowcount
    return connection.exec_driver_sql(plan.sql, plan.tuples(rows)).rowcount


@lru_cache(_PLANS)
def _plan(statement: UpdateBase, keys: tuple[str, ...], dialect: Dialect) -> _Plan | None:
    """None where Core has to fill in something for each row, such as a default of Python's."""
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(keys))
    names: list[str] | None = compiled.positiontup
    if not names or len(names) < 2 or compiled.insert_prefetch or compiled.update_prefetch:
        return None
    binds = {name: compiled.binds[name] for name in names}
    own = {name: bind for name, bind in binds.items() if name not in keys}
    if any(bind.required or bind.callable is not None for bind in own.values()):
        return None
    processors = (
        (place, _processor(binds[name].type, dialect)) for place, name in enumerate(names)
    )
    return _Plan(
        sql=str(compiled),
        constants={name: bind.value for name, bind in own.items()},
        values=itemgetter(*names),
        processed=tuple((place, p) for place, p in processors if p is not None),
    )


def _processor(type_: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    """What a column's type does to a value on its way to the driver, if anything."""
    if isinstance(type_, AnyText):  # every second value of a busy run: without its three wrappers
        return _storable_or_none
    process: Callable[[Any], Any] | None = type_.dialect_impl(dialect).bind_processor(dialect)
    # The rows of one transaction have one time, and spelling it costs more than the rest of a row.
    return lru_cache(1)(process) if process and isinstance(type_, DateTime) else process


def _storable_or_none(text: str | None) -> str | None:
    return None if text is None else storable(text)
