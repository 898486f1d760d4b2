"""Many rows through one statement, at the price of the driver.

SQLAlchemy's Core builds a dict and calls a processor for every value of every row; a busy run writes
fourteen rows an evaluation, and most of their columns need neither. On SQLite this module compiles a
statement once and gives the driver tuples; on PostgreSQL all rows travel in one statement, an array
for each column, for there a row by itself costs the server as much again. Knows statements and
dialects; knows no table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    DateTime,
    Dialect,
    Insert,
    Update,
    bindparam,
    column,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.dialects.postgresql.dml import OnConflictDoNothing
from sqlalchemy.sql import visitors
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
    if connection.dialect.name == "sqlite":
        plan = _plan(statement, tuple(rows[0]), connection.dialect)
        if plan is not None:
            return connection.exec_driver_sql(plan.sql, plan.tuples(rows)).rowcount
    elif connection.dialect.name == "postgresql":
        arrays = _arrays(statement, tuple(rows[0]))
        if arrays is not None:
            columns = {key: [row[key] for row in rows] for key in rows[0]}
            return connection.execute(arrays, columns).rowcount
    return connection.execute(statement, list(rows)).rowcount


@lru_cache(_PLANS)
def _arrays(statement: UpdateBase, keys: tuple[str, ...]) -> UpdateBase | None:
    """The same statement for many rows at once, each parameter an array; None for a statement that
    needs a default of Python's, or is of another shape than this project's."""
    made: Any = statement
    columns = made.table.columns
    if isinstance(statement, Insert):
        conflict: Any = getattr(made, "_post_values_clause", None)
        if not isinstance(conflict, OnConflictDoNothing) or conflict.constraint_target:
            return None
        if any(c.default is not None and c.name not in keys for c in columns):
            return None
        given = _given({key: columns[key].type for key in keys})
        chosen = select(*(given.c[key] for key in keys))
        return insert(made.table).from_select(list(keys), chosen).on_conflict_do_nothing()
    if not isinstance(statement, Update):
        return None
    types = {b.key: b.type for clause in made._where_criteria for b in _binds(clause)}
    new = {getattr(name, "key", name): value for name, value in made._values.items()}
    types |= {b.key: columns[name].type for name, value in new.items() for b in _binds(value)}
    if not types.keys() >= set(keys):
        return None
    given = _given({key: types[key] for key in keys})

    def in_place(element: Any, **_: Any) -> Any:
        is_given = isinstance(element, BindParameter) and element.key in keys
        return given.c[element.key] if is_given else None

    where = [visitors.replacement_traverse(c, {}, in_place) for c in made._where_criteria]
    values = {
        name: visitors.replacement_traverse(value, {}, in_place) for name, value in new.items()
    }
    changed: Update = update(made.table).where(*where).values(values)
    return changed


def _binds(clause: Any) -> list[Any]:
    return [e for e in visitors.iterate(clause) if isinstance(e, BindParameter)]


def _given(types: Mapping[str, Any]) -> Any:
    """The rows as a table: an array for each key, by its name."""
    columns = (column(key, type_) for key, type_ in types.items())
    arrays = (bindparam(key, type_=ARRAY(type_)) for key, type_ in types.items())
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


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
