"""`evocliff db upgrade|check|vacuum`: looking after the database itself."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import Annotated

import typer

from evo.cli.records import DEFAULT_DB, Db, Json, reading, table, visible

_VACUUM = """Examples:

  evocliff db vacuum

  evocliff db vacuum --retain "90 days" --db sqlite:///my.db
"""

database = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look after the database itself."
)


def register(app: typer.Typer) -> None:
    app.add_typer(database, name="db")


@database.command(epilog="Example:\n\n  evocliff db upgrade --db sqlite:///my.db")
def upgrade(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Bring the schema up to date; make the database if there is none."""
    import db as record
    from db import migrations

    with contextlib.closing(record.open(db)) as store, store.engine.connect() as connection:
        schema = migrations.revision(connection, db)
    typer.echo(json.dumps({"schema": schema}) if json_ else f"schema {schema}")


@database.command(epilog="Example:\n\n  evocliff db check --db sqlite:///my.db")
def check(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Look for damage (broken pages, rows that point to nothing) and show how large each table is."""
    from db import upkeep

    with reading(db) as store:
        report = upkeep.check(store)
    problems = report["problems"]
    if json_:
        typer.echo(json.dumps(report))
    else:
        for problem in problems:
            typer.echo(visible(problem))
        typer.echo(f"damaged: {len(problems)} problems" if problems else "sound")
        typer.echo(f"schema {report['schema']}, {_shown(report['bytes'])}")
        rows = [row | {"size": _shown(row["bytes"])} for row in report["tables"] if row["rows"]]
        table(rows, ("table", "rows", "size"), empty="no rows yet")
    if problems:
        raise typer.Exit(1)


@database.command(epilog=_VACUUM)
def vacuum(
    retain: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Raw samples to keep, of every finished run: all, over-refusals or 'N days'. "
            "Default: as `keep.samples` in the config of each.",
        ),
    ] = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Give space back, renew statistics and indexes, and forget samples that need not be kept."""
    import db as record
    from db import upkeep
    from db.retention import Keep

    keep = None if retain is None else Keep.of(retain)
    record.open(db, read_only=True).close()  # makes no database, and migrates none
    with contextlib.closing(record.open(db)) as store:
        done = upkeep.vacuum(store, keep)
    if json_:
        typer.echo(json.dumps(asdict(done)))
        return
    if done.forgotten:
        typer.echo(f"{done.forgotten} samples forgotten")
    for line in done.done:
        typer.echo(visible(line))
    typer.echo(f"{_shown(done.before)} before, {_shown(done.after)} now")


def _shown(n: int) -> str:
    """
    >>> _shown(1_234), _shown(5_600_000)
    ('1.2 kB', '5.6 MB')
    """
    value = float(n)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
