"""Stored databases of every released schema come up to the present one with all that they held."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, func, select

import db
from db import found, migrations, queries
from db.models import Base, Disagreement, Evaluation, Proposal, Run
from db.store import Store
from tests.db.old import make
from workers.interface import StoreError

OLD = Path(__file__).parent / "old"
RELEASED = sorted(path.stem for path in OLD.glob("*.sql"))
# They come out together with the present one, so no database of theirs is anywhere.
UNRELEASED = {"0010", "0012"}


def differences(store: Store) -> list[Any]:
    """Between the tables of a database and the models."""
    opts = {
        "version_table": migrations.VERSION_TABLE,
        "compare_type": True,
        "include_object": migrations.is_modelled,
    }
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=opts)
        return list(compare_metadata(context, Base.metadata))


@pytest.fixture(params=RELEASED)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A revision, and a database of it."""
    path = tmp_path / "old.db"
    script = (OLD / f"{request.param}.sql").read_text(encoding="utf-8")
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.executescript(script)
    return request.param, path


@pytest.fixture
def upgraded(old: tuple[str, Path]) -> Iterator[Store]:
    with contextlib.closing(db.open(f"sqlite:///{old[1]}")) as store:
        yield store


def test_every_released_schema_has_a_stored_database() -> None:
    scripts = ScriptDirectory.from_config(migrations.alembic_config())
    assert scripts.get_current_head() == migrations.HEAD
    known = (
        {script.revision for script in scripts.walk_revisions()} - {migrations.HEAD} - UNRELEASED
    )
    assert {path.stem for path in OLD.glob("*.sql")} >= known


def test_a_new_database_is_what_the_models_say(tmp_path: Path) -> None:
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/new.db")) as store:
        assert differences(store) == []


def test_the_indexes_of_the_models_are_there_with_their_orders(tmp_path: Path) -> None:
    def indexes(path: Path) -> set[str]:
        with contextlib.closing(sqlite3.connect(path)) as made:
            rows = made.execute("SELECT sql FROM sqlite_master WHERE type = 'index'")
            return {sql.replace('"', "") for (sql,) in rows if sql}

    db.open(f"sqlite:///{tmp_path}/new.db").close()
    engine = create_engine(f"sqlite:///{tmp_path}/models.db")
    Base.metadata.create_all(engine)
    engine.dispose()
    assert indexes(tmp_path / "new.db") == indexes(tmp_path / "models.db")


def test_an_old_database_becomes_what_the_models_say(upgraded: Store) -> None:
    assert differences(upgraded) == []
    assert queries.integrity_problems(upgraded) == []


def test_an_old_database_keeps_its_rows(old: tuple[str, Path], upgraded: Store) -> None:
    with upgraded.reading() as connection:
        for table, rows in make.rows(old[0]).items():
            count = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()
            held = (OLD / f"{old[0]}.sql").read_text(encoding="utf-8")
            expected = len(rows) if f"CREATE TABLE {table} " in held.replace('"', "") else 0
            assert count == expected, table


def test_an_old_database_is_read_only_after_its_upgrade(old: tuple[str, Path]) -> None:
    url = f"sqlite:///{old[1]}"
    with pytest.raises(StoreError, match=f"schema {old[0]} .*evocliff db upgrade"):
        db.open(url, read_only=True)
    db.open(url).close()
    db.open(url, read_only=True).close()


def test_the_new_columns_say_what_the_old_rows_said(upgraded: Store) -> None:
    with upgraded.reading() as connection:
        thresholds = connection.execute(select(Run.name, Run.threshold)).all()
        assert {row.name: row.threshold for row in thresholds} == {"first": 0.25, "second": 0.5}
        rows = connection.execute(
            select(
                Proposal.run_id, Proposal.proposal_index, Proposal.safety, Evaluation.safety
            ).join(
                Evaluation,
                (Evaluation.run_id == Proposal.run_id)
                & (Evaluation.proposal_index == Proposal.proposal_index),
            )
        ).all()
        assert {row[2] for row in rows} == {"harmless", "controversial"}
        assert all(row[2] == row[3] for row in rows)
        combined = {
            (f.run.run_id, f.prompt_id): f.safety.value for f in found.load_found(connection)
        }
        kept = connection.execute(
            select(Evaluation.run_id, Evaluation.prompt_id, Evaluation.safety)
        ).all()
        assert {(run, prompt): safety for run, prompt, safety in kept} == combined
        strategies = set(connection.scalars(select(Evaluation.strategy)))
        assert strategies == {"seed", "violent_words"}
        assert connection.scalar(select(func.count()).select_from(Disagreement)) == 1


def test_every_spelling_of_an_old_database_can_be_looked_for(upgraded: Store) -> None:
    for text in ("strangle the last", "STRANGLE THE LAST", "été: où"):
        with upgraded.reading() as connection:
            n = connection.exec_driver_sql(
                "SELECT count(*) FROM prompt_text WHERE instr(text, ?)", (text,)
            ).scalar()
        assert n == 1, text


def test_what_was_recorded_under_an_old_schema_is_told_again(upgraded: Store) -> None:
    told = upgraded.replay("111111111111", samples=True)
    assert [o.assignment.index for o in told if o.evaluation][:4] == [0, 1, 2, 5]
    assert all(o.embedding is not None for o in told if o.evaluation)
