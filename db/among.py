"""A column among many values, in one statement whatever their number. Knows dialects; knows no table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, any_, bindparam, func, literal, select


def among(connection: Connection, column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    """`column IN (values)` for texts without NUL, with one bound parameter."""
    dialect = connection.dialect.name
    listed = bound(dialect, values)
    if dialect == "sqlite":
        return _among(dialect, column, literal(listed))
    return _among(dialect, column, literal(listed, ARRAY(column.type)))


def among_bound(dialect: str, column: Any, name: str) -> ColumnElement[bool]:
    """The same for a statement that is made once: the values come by `name`, as `bound` gives them."""
    if dialect == "sqlite":
        return _among(dialect, column, bindparam(name))
    return _among(dialect, column, bindparam(name, type_=ARRAY(column.type)))


def bound(dialect: str, values: Iterable[str] | Iterable[int]) -> str | list[Any]:
    """Values as the one parameter that stands for them."""
    listed = list(values)
    return json.dumps(listed) if dialect == "sqlite" else listed


def _among(dialect: str, column: Any, listed: Any) -> ColumnElement[bool]:
    if dialect == "sqlite":
        each = func.json_each(listed).table_valued("value")
        found: ColumnElement[bool] = column.in_(select(each.c.value))
        return found
    equal: ColumnElement[bool] = column == any_(listed)
    return equal
