"""`evocliff models`: the models that come with evocliff."""

from __future__ import annotations

import json
from typing import Annotated

import typer

models = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The models that come with evocliff."
)


def register(app: typer.Typer) -> None:
    app.add_typer(models, name="models")


@models.command(
    "list",
    epilog="Example:\n\n  evocliff models list",
)
def list_(
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Names for `model: local:NAME`, and whether they are prepared."""
    from workers import local_models

    rows = [
        {"name": name, "prepared": local_models.prepared(name), "what": what}
        for name, what in local_models.describe().items()
    ]
    if json_:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        state = "prepared" if row["prepared"] else "not prepared"
        typer.echo(f"local:{row['name']:<24} {state:<14} {row['what']}")


@models.command(
    epilog="Examples:\n\n  evocliff models prepare smollm2-overcautious\n\n  evocliff models prepare all",
)
def prepare(
    name: Annotated[str, typer.Argument(help="A name from `evocliff models list`, or all.")],
) -> None:
    """Convert an embedded model once into the cache folder. Searches do it by themselves."""
    from workers import local_models

    names = list(local_models.describe()) if name == "all" else [name.removeprefix("local:")]
    for each in names:
        typer.echo(f"{each} ...", err=True)
        typer.echo(str(local_models.prepare(each)))
