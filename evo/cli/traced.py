"""`evocliff cliff show`: the refusal score over the thoughts of one prompt, from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from evo.cli import records

_SHOW = """Examples:

  evocliff cliff show 3f9c12             (the beginning of an id from `evocliff query --sort cliff`)

  evocliff cliff show 3f9c12 --json
"""
_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_WIDTH = 72


def attach(cliff: typer.Typer) -> None:
    """As a command of `evocliff cliff`."""
    cliff.command(epilog=_SHOW)(show)


def show(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="An id, or its beginning.")],
    db: records.Db = records.DEFAULT_DB,
    json_: records.Json = False,
) -> None:
    """Every trace of one prompt: its course with plateau, final score and where it falls."""
    from db import traces

    with records.reading(db) as store:
        found = traces.of_prompt(store, prompt)
    if json_:
        typer.echo(json.dumps(found))
        return
    if not found:
        typer.echo("no trace of this prompt; make some with evocliff cliff trace --run RUN")
        return
    for row in found:
        typer.echo(
            f"{records.visible(row['model'])}, sample {row['sample_index']}, probe "
            f"{records.visible(row['probe'])} {row['version'][:12]}"
        )
        typer.echo(f"  {_told(row)}")


def _told(row: dict[str, Any]) -> str:
    if row["reason"] is not None:
        return f"no trace: {records.visible(row['reason'])}"
    where = "" if row["position"] is None else f" at token {row['position']} of {row['n_tokens']}"
    top = row["plateau"] if row["plateau_top"] is None else row["plateau_top"]
    line = "" if row["scores"] is None else f"\n  {bars(row['scores'])}"
    return f"{row['kind']}: plateau {top:.2f}, final {row['final']:.2f}{where}{line}"


def bars(scores: Sequence[float], width: int = _WIDTH) -> str:
    """Scores from 0 to 1 as a line of bars; more of them than `width` are drawn by their means.

    >>> bars([0.0, 0.5, 1.0])
    '\u2581\u2585\u2588'
    """
    n = min(len(scores), width)
    parts = [scores[i * len(scores) // n : (i + 1) * len(scores) // n] for i in range(n)]
    means = [sum(part) / len(part) for part in parts]
    return "".join(_BARS[min(7, int(max(0.0, m) * 8))] for m in means)
