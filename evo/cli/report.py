"""`evocliff report`: one HTML file of a run. A thin face of `evo.report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evo.cli import records

_EPILOG = """Examples:

  evocliff report quickstart --out report.html

  evocliff report quickstart --out report.html --force --db sqlite:///out/demo/demo.db
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(report)


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or id.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The file to write.")],
    most: Annotated[
        int, typer.Option("--most", min=10, help="Prompts to show; a larger run is sampled.")
    ] = 10_000,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
    db: records.Db = records.DEFAULT_DB,
) -> None:
    """Write what a run found, and how, as one page that opens without a network.

    It holds prompts and responses as they are: harmless ones, but refused; look before you publish it.
    """
    from evo import report as reports

    with records.reading(db) as store:
        made = reports.write(store, run, out, most=most, force=force)
    shown = len(made.points)
    typer.echo(
        f"{out}: {shown} prompts"
        + (f" of {made.n_points}, the fittest among them" if shown < made.n_points else "")
        + f", {out.stat().st_size / 1e6:.1f} MB"
    )
