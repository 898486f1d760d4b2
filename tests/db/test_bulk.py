"""Rows written past Core are the rows that Core would have written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, bindparam, create_engine, select, update
from sqlalchemy.dialects.sqlite import insert

from db.bulk import execute_rows
from db.models import Prompt, utc_now

PROMPTS = cast(Table, Prompt.__table__)
INSERT = insert(PROMPTS).on_conflict_do_nothing()
UPDATE = (
    update(PROMPTS)
    .where(PROMPTS.c.prompt_id == bindparam("which"), PROMPTS.c.source == "ours")
    .values(text=bindparam("new_text"), created_at=bindparam("new_time"))
)

texts = st.text(st.characters(exclude_categories=[]), max_size=20)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "prompt_id": st.integers(0, 9).map(str),
            "text": texts,
            "source": st.none() | texts | st.just("ours"),
            "created_at": st.datetimes(),
        }
    ),
    min_size=1,
)
changes = st.lists(
    st.fixed_dictionaries(
        {
            "which": st.integers(0, 9).map(str),
            "new_text": texts,
            "new_time": st.datetimes(),
        }
    ),
    min_size=1,
)


def _stored(write: Any, *written: Any) -> tuple[list[int], Sequence[Any]]:
    with create_engine("sqlite://").begin() as connection:
        PROMPTS.create(connection)
        counts = [write(connection, statement, given) for statement, given in written]
        return counts, connection.execute(select(PROMPTS).order_by(PROMPTS.c.prompt_id)).all()


def _core(connection: Connection, statement: Any, given: Sequence[Mapping[str, Any]]) -> int:
    return connection.execute(statement, given).rowcount


@given(rows, changes)
def test_what_is_stored_and_counted_is_what_core_stores_and_counts(
    new: list[dict[str, Any]], changed: list[dict[str, Any]]
) -> None:
    written = ((INSERT, new), (UPDATE, changed))
    assert _stored(execute_rows, *written) == _stored(_core, *written)


def test_what_python_fills_in_is_filled_in_still() -> None:
    new = [{"prompt_id": n, "text": "t"} for n in "ab"]  # without created_at
    _, stored = _stored(execute_rows, (INSERT, new))
    assert [row.prompt_id for row in stored] == ["a", "b"]
    assert all(isinstance(row.created_at, datetime) for row in stored)


def test_a_row_that_lacks_a_key_of_the_first_is_an_error_and_no_row_is_written() -> None:
    with create_engine("sqlite://").begin() as connection:
        PROMPTS.create(connection)
        whole = {"prompt_id": "a", "text": "t", "source": None, "created_at": utc_now()}
        partial = {"prompt_id": "b", "text": "t", "source": None}
        with pytest.raises(KeyError, match="created_at"):
            execute_rows(connection, INSERT, [whole, partial])
        assert connection.execute(select(PROMPTS)).all() == []


def test_no_rows_is_no_statement() -> None:
    with create_engine("sqlite://").connect() as connection:
        assert execute_rows(connection, INSERT, []) == 0
