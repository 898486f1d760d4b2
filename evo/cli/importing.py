"""`evocliff import`: datasets of others into the store, as prompts with their source and licence."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from evo.cli.records import Db, Json, visible

_EPILOG = """Examples:

  evocliff import xstest_prompts.csv

  evocliff import or-bench-hard-1k.csv --dry-run

  evocliff import mine.jsonl --prompt-col text --label-col kind --source mine --licence CC-BY-4.0

Then, in a config: seeds: {store: xstest}
"""
_DEFAULT_DB = "sqlite:///evocliff.db"
# So many labels are shown; --json prints all.
_SHOWN = 10


def register(app: typer.Typer) -> None:
    app.command("import", epilog=_EPILOG)(import_)


def import_(
    file: Annotated[
        Path, typer.Argument(help="A file .csv, .tsv, .jsonl, .json (a list) or .parquet.")
    ],
    as_: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="FORMAT",
            help="xstest, or-bench, phtest, evorefuse, orfuzz, columns; default: by its columns.",
        ),
    ] = None,
    prompt_col: Annotated[
        str | None, typer.Option("--prompt-col", metavar="C", help="Column of the prompts.")
    ] = None,
    label_col: Annotated[
        str | None, typer.Option("--label-col", metavar="C", help="Column of the labels.")
    ] = None,
    category_col: Annotated[
        str | None, typer.Option("--category-col", metavar="C", help="Column of the categories.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Where they come from; default: the dataset or the file."
        ),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="L", help="Licence of the prompts, such as CC-BY-4.0.")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(metavar="E", help="Of text; default: by its byte-order mark, else UTF-8."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and count the whole file, write nothing.")
    ] = False,
    db: Db = _DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Store the prompts of a dataset: XSTest, OR-Bench, PHTest, EvoRefuse, ORFuzz, or any columns.

    A prompt that is there already is linked, not doubled. Labels are kept as the file says them; they
    decide nothing about safety.
    """
    import db as record
    from db import importers

    options = importers.Options(as_, prompt_col, label_col, category_col, source, licence, encoding)
    if dry_run and not _is_there(db):
        done = importers.import_file(None, file, options, dry_run=True)
    else:
        importers.check(file, options)  # before a database is made for it
        with contextlib.closing(record.open(db, read_only=dry_run)) as store:
            done = importers.import_file(store, file, options, dry_run=dry_run)
    if json_:
        typer.echo(json.dumps(done))
        return
    for line in _lines(done):
        typer.echo(visible(line))


def _is_there(url: str) -> bool:
    """Whether a database can be there; a dry run makes none."""
    from db.connection import parse

    parsed = parse(url)
    return parsed.get_backend_name() != "sqlite" or Path(str(parsed.database)).exists()


def _lines(done: dict[str, Any]) -> list[str]:
    columns = ", ".join(f"{what} from '{c}'" for what, c in done["columns"].items() if c)
    licence = done["licence"] or "not stated; --licence L keeps one"
    lines = [
        f"{done['file']}: {done['format']}, {columns}",
        f"source     {done['source']}",
        f"licence    {licence}",
        f"read       {done['read']}",
        f"new        {done['new']}",
        f"linked     {done['linked']}  (in the database already)",
        f"repeated   {done['repeated']}  (in the file)",
        f"skipped    {sum(what['n'] for what in done['skipped'].values())}{_reasons(done['skipped'])}",
    ]
    if done["changed"]:
        n = sum(what["n"] for what in done["changed"].values())
        lines.append(f"changed    {n}{_reasons(done['changed'])}, stored as U+FFFD")
    if done["labels"]:
        labels = list(done["labels"].items())
        shown = ", ".join(f"{label} {n}" for label, n in labels[:_SHOWN])
        rest = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
        lines.append(f"labels     {shown}{rest}")
    if done["dry_run"]:
        lines.append("dry run: nothing was written")
    return lines


def _reasons(reasons: dict[str, dict[str, Any]]) -> str:
    if not reasons:
        return ""
    return (
        "  (" + "; ".join(f"{why} {w['n']}, first {w['first']}" for why, w in reasons.items()) + ")"
    )
