"""`evocliff replay`: is a stored run what its search would choose again?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from evo.cli.records import Db, Json

_EPILOG = """Examples:

  evocliff replay quickstart

  evocliff replay quickstart --json --db sqlite:///my.db
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(replay)


def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or id.")],
    db: Db = "sqlite:///evocliff.db",
    json_: Json = False,
) -> None:
    """Tell the stored outcomes of a run to a new search, and count the choices that differ.

    No model is asked. 0 choices differ unless evocliff, or the run's seed file, was changed since;
    where some do, the exit code is 1.
    """
    from dataclasses import asdict

    from evo import replaying

    done = replaying.replay(db, run)
    if json_:
        typer.echo(json.dumps(asdict(done)))
    else:
        typer.echo(
            f"{run}: {done.proposals} proposals chosen again ({done.pending} of them pending), "
            f"{done.differing} choices differ"
        )
    if done.differing:
        raise typer.Exit(1)
