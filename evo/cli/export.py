"""`evocliff export`: datasets out of the record. A thin face of `db.exporters`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli.records import (
    DEFAULT_DB,
    Db,
    Json,
    Like,
    Limit,
    RunOption,
    StrategyOption,
    TargetOption,
    reading,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EPILOG = """Examples:

  evocliff export --format test --run quickstart --out out/quickstart

  evocliff export --format all --min-refusal 0.7 --out out/all

  evocliff export --format dpo --out out/dpo --split train=0.9,test=0.1 --against xstest --drop-contaminated

Then: datasets.load_dataset("out/quickstart", "test")
"""


# Not an enum: a wrong one is answered in one line, with the nearest name.
_FORMATS = "What the rows are for: test, sft, dpo, kto, sharegpt, refusal-tokens, cliff, all."


class Order(StrEnum):
    FITNESS = "fitness"
    REFUSAL = "refusal"
    NOVELTY = "novelty"


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(export)


def export(
    format_: Annotated[str, typer.Option("--format", metavar="FORMAT", help=_FORMATS)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder that does not exist yet.")],
    run: RunOption = None,
    target: TargetOption = None,
    strategy: StrategyOption = None,
    min_refusal: Annotated[
        float | None,
        typer.Option(metavar="X", help="Refusal rate of at least X; default: the run's threshold."),
    ] = None,
    safety: Annotated[
        str | None, typer.Option(help="Only harmless can be asked for, and is what you get.")
    ] = None,
    like: Like = None,
    sort: Annotated[Order, typer.Option(help="Largest first.")] = Order.FITNESS,
    limit: Limit = None,
    seeds: Annotated[bool, typer.Option("--seeds", help="Refused seeds too.")] = False,
    chosen: Annotated[
        str,
        typer.Option(
            metavar="WHOSE",
            help="Whose answers go along: best (written ones, else the target's own), written, own.",
        ),
    ] = "best",
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help="train=0.9,test=0.1: look-alikes and relatives stay on one side.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the split.")] = 0,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="BENCHMARK",
            help="A source in the database (xstest) or a file: how many prompts are known from it.",
        ),
    ] = None,
    drop_contaminated: Annotated[
        bool, typer.Option("--drop-contaminated", help="Leave those prompts out.")
    ] = False,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Write a dataset with its card; only what every safety gate called harmless leaves."""
    from db import exporters
    from db.exporters.plan import parse_split
    from workers.errors import ConfigError

    if drop_contaminated and against is None:
        raise ConfigError("--drop-contaminated: goes with --against BENCHMARK")
    shares = None if split is None else parse_split(split)
    with reading(db) as store:
        done = exporters.export(
            store,
            format_,
            out,
            split=shares,
            seed=seed,
            against=against,
            drop_contaminated=drop_contaminated,
            embed=_embed,
            run=run,
            target=target,
            strategy=strategy,
            min_refusal=min_refusal,
            safety=safety,
            like=like,
            sort=sort.value,
            limit=limit,
            seeds=seeds,
            chosen=chosen,
        )
    if json_:
        typer.echo(json.dumps(done))
        return
    for name, n in done["rows"].items():
        left = done["left_out"].get(name, 0)
        without = f" ({left} prompts without what it needs)" if left else ""
        sides = done["splits"].get(name, {})
        parts = f": {', '.join(f'{side} {k}' for side, k in sides.items())}" if split else ""
        typer.echo(f"{name:<13}{n} rows{parts}{without}")
    if done["contaminated"] is not None:
        fate = (
            "left out" if drop_contaminated else "still there; --drop-contaminated leaves them out"
        )
        known = done["contaminated"]
        typer.echo(f"known from {against}: {known} prompts" + (f", {fate}" if known else ""))
    typer.echo(f"{done['out']}  sha256 {done['sha256']}")


def _embed(embedder: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of a benchmark's prompts, by the embedder that the rows have."""
    from workers.embedders import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder(embedder).embed(texts)
