"""`evocliff boundary`: the smallest edits that flip the verdict on a run's over-refusals."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

_EPILOG = """Examples:

  evocliff boundary quickstart --limit 20

  evocliff boundary quickstart --target-tokens 8000 --json     (again after a kill: it goes on)

Then: evocliff query --run quickstart --boundary
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(boundary)


def boundary(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or id of a run that has ended.")],
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The N best over-refusals; default: all.")
    ] = None,
    target_tokens: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Most tokens that the target generates for each."),
    ] = 4000,
    address: Annotated[
        str, typer.Option(help="Ray: local (starts one), auto, HOST:PORT or ray://HOST:PORT.")
    ] = "local",
    db: Annotated[
        str, typer.Option("--db", envvar="EVOCLIFF_DB", help="Database URL.")
    ] = "sqlite:///evocliff.db",
    json_: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Find for each over-refusal the smallest edit with which the target answers; store both sides.

    Both sides pass the run's safety gates. Everything that is asked is stored, so a command that was
    killed goes on where it was.
    """
    from evo.bounding import Told, bound

    on_terminal = sys.stderr.isatty()

    def tell(told: Told) -> None:
        line = (
            f"{told.done} of {told.of} prompts, {told.pairs} pairs, {told.new_tokens:,} new tokens"
        )
        typer.echo(f"\r{line}" if on_terminal else line, err=True, nl=not on_terminal)

    done = bound(db, run, limit=limit, target_tokens=target_tokens, address=address, tell=tell)
    if on_terminal and done.prompts:
        typer.echo("", err=True)
    if json_:
        typer.echo(json.dumps(asdict(done)))
        return
    if not done.prompts:
        typer.echo("the run has no over-refusals, so it has no boundary")
        return
    typer.echo(
        f"{done.pairs} pairs of {done.prompts} over-refusals, {done.clear} beyond doubt; "
        f"{done.cut_short} cut short by the budget; {done.new_tokens:,} new target tokens"
    )
    typer.echo(f"see them: evocliff query --run {run} --boundary")
