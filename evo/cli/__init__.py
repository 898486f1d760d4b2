"""The command line: a thin face of the Python API. An edge: it composes everything.

Only the standard library and typer are imported here; each command imports what it needs.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from workers.errors import EvocliffError


class _Group(TyperGroup):
    """Shows an error of ours as one line and ends with its exit code: the one place for that."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EvocliffError as error:
            typer.echo(f"evocliff: {' '.join(str(error).split())}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            # The reader of a pipe has gone (`| head`): not an error of ours.
            sys.stderr.close()
            ctx.exit(0)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Find harmless prompts that a language model wrongly refuses.\n\n"
    "Start here: evocliff search examples/quickstart.yaml",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("evocliff"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _register() -> None:
    from evo.cli import (
        boundary,
        calibrate,
        cliff,
        database,
        doctor,
        evaluate,
        export,
        importing,
        jobs,
        judge,
        mitigate,
        models,
        query,
        records,
        replay,
        report,
        review,
        search,
        tactics,
        ui,
        write,
    )

    parts = (
        search,
        jobs,
        records,
        query,
        export,
        report,
        ui,
        importing,
        replay,
        boundary,
        tactics,
        review,
        judge,
        evaluate,
        write,
        mitigate,
        calibrate,
        cliff,
        database,
        models,
        doctor,
    )
    for module in parts:
        module.register(app)


_register()


def main() -> None:
    app()
