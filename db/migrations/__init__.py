"""The schema's history, shipped with the package: every change is a revision from day one.

A database says its revision in the table `evocliff_schema`. A file without that table and with
others is another program's and is left alone.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from workers.interface import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0016"
VERSION_TABLE = "evocliff_schema"
# What a database makes for itself, outside the models.
_OWN = ("prompt_text", "near_vectors", "ix_near_vectors")


def revision(connection: Connection, shown: str) -> str | None:
    """The schema of a database; None when it is empty.

    Raises:
        StoreError: it is another program's.
    """
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        found = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
        if found is not None:
            return str(found)
    if tables and tables != [VERSION_TABLE]:
        raise StoreError(
            f"{shown}: this database belongs to another program; name another with --db"
        )
    return None


def require_current(connection: Connection, shown: str) -> None:
    """Raise StoreError unless the schema is the one that this evocliff reads."""
    found = revision(connection, shown)
    if found is None:
        raise StoreError(f"{shown}: this database is empty; run a search first")
    if found != HEAD:
        _refuse_newer(found, shown)
        raise StoreError(
            f"{shown}: its schema {found} is older than {HEAD}; run `evocliff db upgrade`"
        )


def upgrade(connection: Connection, shown: str) -> None:
    """Bring the schema to `HEAD`, from nothing or from any released one."""
    found = revision(connection, shown)
    if found == HEAD:
        return
    if found is not None:
        _refuse_newer(found, shown)
    from alembic import command

    # Two processes may open a new database at once; the second one waits, then finds it done.
    connection.commit()
    config = alembic_config()
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(63655)")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_modelled(object_: object, name: str | None, *_: object) -> bool:
    """What Alembic can compare with the models: not the search for text and vectors, which is each
    database's own, and no descending index, which it takes for an expression (a test compares those)."""
    from sqlalchemy import Column

    from db.models import Base

    descending = {
        index.name
        for table in Base.metadata.tables.values()
        for index in table.indexes
        if not all(isinstance(part, Column) for part in index.expressions)
    }
    return name not in descending and not (name or "").startswith(_OWN)


def alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("db") / "migrations"))
    config.attributes["configure_logger"] = False
    return config


def _refuse_newer(found: str, shown: str) -> None:
    from alembic.script import ScriptDirectory

    known = {r.revision for r in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if found not in known:
        raise StoreError(
            f"{shown}: its schema {found} is newer than this evocliff knows ({HEAD}); update evocliff"
        )
