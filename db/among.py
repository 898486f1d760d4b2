"""A column among many values, in one statement whatever their number. Knows dialects; knows no table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Text, any_, func, literal, select


def among(connection: Connection, column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    """`column IN (values)` for texts without NUL, with one bound parameter."""
    listed = list(values)
    if connection.dialect.name == "sqlite":
        each = func.json_each(json.dumps(listed)).table_valued("value")
        found: ColumnElement[bool] = column.in_(select(each.c.value))
        return found
    equal: ColumnElement[bool] = column == any_(literal(listed, ARRAY(Text)))
    return equal
