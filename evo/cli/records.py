"""`evocliff runs` and `show`, and how rows are shown. (`query`, `export` and `db` have their own files.)

A thin face of `db.queries`: it adds options, tables and visible control characters, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evo.cli import figures

if TYPE_CHECKING:
    from db.store import Store

# A table without --limit shows so many rows; --json and --csv print all.
SHOWN = 20
# What `show` tells in lines of its own.
_COURSE = frozenset(
    {
        "screened",
        "blind",
        "looked_at",
        "resampled",
        "samples_per_evaluation",
        "sample_counts",
        "strategies",
        "effective_clusters",
        "collapses",
        "collapsed",
        "openers",
    }
)

_RUNS = """Examples:

  evocliff runs

  evocliff runs --json --db sqlite:///my.db
"""
_SHOW = """Examples:

  evocliff show quickstart

  evocliff show quickstart --json
"""


class Sort(StrEnum):
    FITNESS = "fitness"
    REFUSAL = "refusal"
    NOVELTY = "novelty"


Db = Annotated[str, typer.Option("--db", envvar="EVOCLIFF_DB", help="Database URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunOption = Annotated[str | None, typer.Option(metavar="RUN", help="Name or id of a run.")]
TargetOption = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Model under test, or the beginning of a target id."),
]
StrategyOption = Annotated[
    str | None, typer.Option(help="A strategy (violent_words) or a family (extreme_emotion).")
]
MinRefusal = Annotated[
    float | None, typer.Option(metavar="X", help="Refusal rate of at least X, 0 to 1.")
]
Like = Annotated[str | None, typer.Option(metavar="TEXT", help="Prompts that contain TEXT.")]
SortOption = Annotated[Sort, typer.Option(help="Largest first.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N prompts.")]

DEFAULT_DB = "sqlite:///evocliff.db"


def register(app: typer.Typer) -> None:
    app.command(epilog=_RUNS)(runs)
    app.command(epilog=_SHOW)(show)


def runs(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """List the searches of a database, newest last."""
    from db import queries

    with reading(db) as store:
        rows = queries.runs(store)
    if json_:
        typer.echo(json.dumps(rows))
    else:
        table(
            rows, ("name", "kind", "run", "status", "started", "over_refusals"), empty="no runs yet"
        )


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or id.")],
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """What one search found and what it cost."""
    from db import queries

    with reading(db) as store:
        summary = queries.run_summary(store, run)
    if json_:
        typer.echo(json.dumps(summary))
        return
    counted = {
        key: ", ".join(f"{kind} {n}" for kind, n in summary[key].items()) or "none"
        for key in ("rejected", "response_classes")
    }
    replicas, targets = summary.pop("replicas"), summary.pop("targets")
    strategies = figures.ranked(summary["strategies"])
    lines = {key: value for key, value in summary.items() if key not in _COURSE}
    for key, value in (lines | counted | _course(summary)).items():
        typer.echo(f"{key.replace('_', ' '):<20}{_cell(key, value)}")
    if strategies:
        typer.echo("")
        rated = [{**s, "success": s["over_refusals"] / s["proposals"]} for s in strategies]
        table(rated[:SHOWN], tuple(rated[0]), empty="")
    if len(targets) > 1:
        typer.echo("")
        table(targets, tuple(targets[0]), empty="")
    if replicas:
        typer.echo("")
        table(replicas, tuple(replicas[0]), empty="")


def _course(summary: Mapping[str, Any]) -> dict[str, Any]:
    """How the search went, one line each."""
    counts = ", ".join(f"{n} with {times}" for times, n in summary["sample_counts"].items())
    mean = summary["samples_per_evaluation"]
    lines = {
        "screened": figures.screened(summary["screened"], summary["blind"], summary["looked_at"]),
        "samples a prompt": "-" if mean is None else f"{mean:.1f} ({counts})",
        "resampled": summary["resampled"],
        "diversity": figures.diversity(
            summary["effective_clusters"], summary["collapses"], summary["collapsed"]
        ),
    }
    if (openers := summary["openers"]) is not None:
        lines["refusals begin"] = figures.openers(openers["tokens"], openers["p_floor"])
    return lines


@contextlib.contextmanager
def reading(url: str) -> Iterator[Store]:
    import db as record

    with contextlib.closing(record.open(url, read_only=True)) as store:
        yield store


# Showing


def visible(text: str, keep: str = "") -> str:
    """A text that cannot move the cursor, colour the terminal or turn the reading direction.

    >>> visible("red: \\x1b[31m, two\\nlines")
    'red: \\\\x1b[31m, two\\\\nlines'
    """
    return "".join(c if c in keep or not _is_hidden(c) else _escaped(c) for c in text)


_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # many scripts are spelled with them


def _is_hidden(character: str) -> bool:
    return (
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and character not in _JOINERS
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6f}" if column.endswith("_usd") else f"{value:.3f}"
    if column == "prompt_id":
        return str(value)[:12]
    return visible(str(value))


_HEADS = {"prompt_id": "id", "refusal_rate": "refusal", "n_samples": "n"}


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """A rich table on a terminal; elsewhere aligned lines, the last column at its full length."""
    if not rows:
        typer.echo(empty)
        return
    cells = [[_cell(column, row.get(column)) for column in columns] for row in rows]
    heads = [_HEADS.get(column, column.replace("_", " ")) for column in columns]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for head in heads[:-1]:
            table.add_column(head, no_wrap=True)
        table.add_column(heads[-1], overflow="fold")
        for line in cells:
            table.add_row(*(Text(cell) for cell in line))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        typer.echo("  ".join(padded).rstrip())


def csv_cell(value: Any) -> Any:
    """A list becomes one cell with spaces between; of control characters line breaks and tabs stay."""
    if isinstance(value, list):
        return " ".join(value)
    return visible(value, keep="\n\t") if isinstance(value, str) else value
