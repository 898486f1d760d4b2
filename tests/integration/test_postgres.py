"""What only PostgreSQL can get wrong; tests/db runs on both databases."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect

import db
from db.models import Base
from db.store import Store
from tests.db.test_migrations import differences


@pytest.fixture
def store(postgres: str) -> Iterator[Store]:
    with contextlib.closing(db.open(postgres)) as opened:
        yield opened
        with opened.engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())


def test_many_processes_may_open_a_new_database_and_name_runs_at_once(postgres: str) -> None:
    with contextlib.closing(db.open(postgres)) as store, store.engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    code = f"import db; s = db.open({postgres!r}); s.begin_run('r', {{}}, 0, '0'); s.close()"
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, cwd=root)
        for _ in range(6)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [p.returncode for p in processes] == [0] * 6, errors
    with contextlib.closing(db.open(postgres)) as store, store.engine.begin() as connection:
        names = connection.exec_driver_sql("SELECT name FROM runs").scalars().all()
        assert sorted(names) == ["r", "r-2", "r-3", "r-4", "r-5", "r-6"]
        connection.exec_driver_sql("DELETE FROM runs")


def test_an_evaluation_is_keyed_by_its_target_too(store: Store) -> None:
    with store.reading() as connection:
        key = inspect(connection).get_pk_constraint("evaluations")
    assert key["constrained_columns"] == ["run_id", "proposal_index", "target_id"]


def test_a_new_database_is_what_the_models_say(store: Store) -> None:
    assert differences(store) == []
