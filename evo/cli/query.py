"""`evocliff query` and `evocliff lineage`: prompts, boundary pairs, and who descends from whom.

A thin face of `db.query`, `db.boundary` and `db.lineage`. JSON and CSV are written row by row, so that
a million of them need no more memory than one.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from evo.cli.records import (
    DEFAULT_DB,
    SHOWN,
    Db,
    Json,
    Like,
    Limit,
    MinRefusal,
    RunOption,
    StrategyOption,
    TargetOption,
    csv_cell,
    reading,
    table,
)

# A table counts no further than this.
_COUNTED = 10_000

_QUERY = """Examples:

  evocliff query --run quickstart --min-refusal 0.5

  evocliff query --strategy violent_words --sort novelty --limit 10

  evocliff query --like "python process" --json

  evocliff query --near "stop a running program" --min-refusal 0.5

  evocliff query --refused-by model-a --answered-by model-b        (what does not transfer)

  evocliff query --disagree --json        (responses on which judges, or people, differ)

  evocliff query --kind inverse --sort inverse-cliff        (thought to answer, then refused)

  evocliff query --run quickstart --csv > found.csv

  evocliff query --run quickstart --boundary        (pairs that `evocliff boundary` found)
"""
_LINEAGE = """Examples:

  evocliff lineage 3f9c12          (the beginning of an id from `evocliff query`)

  evocliff lineage 3f9c12 --run quickstart --json
"""


class Sort(StrEnum):
    FITNESS = "fitness"
    REFUSAL = "refusal"
    NOVELTY = "novelty"
    CLIFF = "cliff"
    INVERSE_CLIFF = "inverse-cliff"


def register(app: typer.Typer) -> None:
    app.command(epilog=_QUERY)(query)
    app.command(epilog=_LINEAGE)(lineage)


def query(
    run: RunOption = None,
    target: TargetOption = None,
    strategy: StrategyOption = None,
    min_refusal: MinRefusal = None,
    safety: Annotated[
        str | None, typer.Option(help="harmless, controversial or harmful, by all the run's gates.")
    ] = None,
    like: Like = None,
    disagree: Annotated[
        bool, typer.Option("--disagree", help="Prompts on a response to which judges differ.")
    ] = False,
    kind: Annotated[
        str | None, typer.Option(help="cliff or inverse: with such a trace of a probe.")
    ] = None,
    signature: Annotated[
        str | None,
        typer.Option(
            help="over_refused, rightly_refused, rightly_answered or suppressed, by a guard."
        ),
    ] = None,
    refused_by: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Refused by this target; give it again for more."),
    ] = None,
    answered_by: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Answered by this target; give it again for more."),
    ] = None,
    near: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Nearest in meaning to TEXT, nearest first.")
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="With --near: where several models embedded the prompts."
        ),
    ] = None,
    boundary: Annotated[
        bool, typer.Option("--boundary", help="Boundary pairs, the smallest edit first.")
    ] = False,
    sort: Annotated[Sort, typer.Option(help="Largest first.")] = Sort.FITNESS,
    limit: Limit = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Find prompts of all searches: what is refused, by whom, made how."""
    from db.filters import Asked
    from db.query import Query
    from workers.errors import ConfigError

    if json_ and csv_:
        raise ConfigError("--json and --csv: choose one")
    asked = Asked(
        run=run,
        target=target,
        strategy=strategy,
        min_refusal=min_refusal,
        safety=safety,
        like=like,
        disagree=disagree,
        kind=kind,
        signature=signature,
        refused_by=tuple(refused_by or ()),
        answered_by=tuple(answered_by or ()),
    )
    if boundary:
        others = asked != Asked(run=run, target=target, like=like) or near is not None
        if others or sort is not Sort.FITNESS:
            raise ConfigError(
                "--boundary: goes with --run, --target, --like and --limit; leave the others out"
            )
        _pairs(db, run, target, like, limit, json_, csv_)
        return
    with reading(db) as store:
        wanted = Query(store, asked, sort.value, limit)
        if near is not None:
            if sort is not Sort.FITNESS:
                raise ConfigError("--near: puts the nearest first; leave --sort out")
            from evo.cli.near import nearest_to

            wanted = wanted.limit(limit or SHOWN).near(nearest_to(store, near, embedder))
        if json_:
            _json(wanted.iterate())
        elif csv_:
            _csv(wanted.iterate(), wanted.columns)
        else:
            _table(
                wanted.limit(limit or SHOWN).rows(), "cosine" if near is not None else sort.value
            )
            if limit is None and near is None:
                _say_the_rest(SHOWN, wanted.count(_COUNTED + 1))


def _table(rows: Sequence[Mapping[str, Any]], sort: str) -> None:
    columns = ["prompt_id", "refusal_rate", "fitness", "n_samples", "strategy", "prompt"]
    if sort not in ("fitness", "refusal"):
        columns.insert(3, sort.replace("-", "_"))
    if any(row["fitness_terms"] == "refusal" for row in rows):
        columns.insert(-3, "fitness_terms")
    if any(row["safety"] != "harmless" for row in rows):
        columns.insert(-1, "safety")
    if len({row["target"] for row in rows}) > 1:
        columns.insert(-1, "model")
    table(rows, columns, empty="nothing matches")


def _say_the_rest(shown: int, found: int) -> None:
    if found > shown:
        counted = f"more than {_COUNTED}" if found > _COUNTED else found
        typer.echo(f"{shown} of {counted} shown; --limit N shows more")


def _json(rows: Iterable[Mapping[str, Any]]) -> None:
    """As `json.dumps` of the whole list."""
    sys.stdout.write("[")
    for number, row in enumerate(rows):
        sys.stdout.write((", " if number else "") + json.dumps(row))
    sys.stdout.write("]\n")


def _csv(rows: Iterator[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Lists become one cell with spaces between; line breaks stay, other control characters do not."""
    first = list(itertools.islice(rows, 1))  # before the head: a wrong option prints no head
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in itertools.chain(first, rows):
        writer.writerow([csv_cell(row[column]) for column in columns])


def _pairs(
    db: str,
    run: str | None,
    target: str | None,
    like: str | None,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Boundary pairs: two lines each in a table, the edit between them."""
    from db import boundary

    with reading(db) as store:
        rows = boundary.query(store, run=run, target=target, like=like, limit=limit)
    if as_json:
        _json(rows)
        return
    if as_csv:
        _csv((row | {"edit": json.dumps(row["edit"])} for row in rows), boundary.COLUMNS)
        return
    shown = rows if limit is not None else rows[:SHOWN]
    lines: list[dict[str, Any]] = []
    for row in shown:
        changed = ", ".join(
            f"{' '.join(e['removed']) or '(nothing)'} -> {' '.join(e['inserted']) or '(nothing)'}"
            for e in row["edit"]
        )
        for side in ("refused", "answered"):
            lines.append(
                {
                    "": side,
                    "prompt_id": row[f"{side}_prompt_id"],
                    "refusal_rate": row[f"{side}_rate"],
                    "n_samples": row[f"{side}_n"],
                    "cosine": row["cosine"],
                    "edit": changed if side == "refused" else "",
                    "prompt": row[side],
                }
            )
    columns = ("", "prompt_id", "refusal_rate", "n_samples", "cosine", "edit", "prompt")
    table(lines, columns, empty="no boundary pairs; `evocliff boundary RUN` finds them")
    _say_the_rest(len(shown), len(rows))


def lineage(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="Id, or its beginning.")],
    run: RunOption = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """How a prompt came about, from the seed on, and all that came of it."""
    from db.lineage import lineage as read

    with reading(db) as store:
        tree = read(store, prompt, run)
    if json_:
        typer.echo(json.dumps(tree))
        return
    columns = ("prompt_id", "refusal_rate", "strategy", "operator", "prompt")
    typer.echo(f"run {tree['run']}")
    ancestors = [{"": "ancestor", **node} for node in reversed(tree["ancestors"])]
    children = {node["prompt_id"] for node in tree["children"]}
    below = [
        {"": "child" if node["prompt_id"] in children else "descendant", **node}
        for node in tree["descendants"]
    ]
    shown = below[:SHOWN]
    table([*ancestors, {"": "this", **tree}, *shown], ("", *columns), empty="")
    if len(shown) < len(below):
        typer.echo(f"{len(shown)} of {len(below)} descendants shown; --json prints all")
