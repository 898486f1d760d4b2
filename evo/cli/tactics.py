"""`evocliff tactics`: what works, clustered into named strategies, proposed as a file.

A thin face of `evo.mining`: it reads the record, writes the file and adds nothing to any search.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from evo.cli.records import Db, Json, table
from workers.interface import ConfigError

_TACTICS = """Examples:

  evocliff tactics quickstart

  evocliff tactics --out mine.yaml --similarity 0.6        (every run of the database)

Then: set 'use: true' where you agree, and in the config proposer: {tactics: mine.yaml}
"""
_HEAD = """\
# Proposed by `evocliff tactics`. Nothing here is in use: read the examples, mend name and instruction,
# set `use: true` where you agree, and name this file in a config as proposer.tactics.
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_TACTICS)(tactics)


def tactics(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Name or id; default: every run.")
    ] = None,
    db: Db = "sqlite:///evocliff.db",
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("tactics.yaml"),
    similarity: Annotated[
        float, typer.Option(min=0.05, max=1.0, help="Mean cosine that makes one cluster.")
    ] = 0.5,
    smallest: Annotated[
        int, typer.Option(metavar="N", min=2, help="Over-refusals that a tactic needs.")
    ] = 3,
    embedder: Annotated[
        str, typer.Option(metavar="MODEL", help="Sentence embeddings.")
    ] = "local:all-minilm-l6-v2",
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
    json_: Json = False,
) -> None:
    """Cluster what candidates added to their seeds into named strategies, and write them to a file."""
    import yaml

    import db as record
    from db.growth import grown
    from evo import mining
    from workers.embedders import SentenceTransformerEmbedder

    if out.exists() and not force:
        raise ConfigError(
            f"--out {out}: the file is there and may hold your choices; name another, or --force"
        )
    with contextlib.closing(record.open(db, read_only=True)) as store:
        children = [
            mining.Child(g.text, g.seed_text, g.strategy, g.over_refusal) for g in grown(store, run)
        ]
    found = []
    if any(child.over_refusal for child in children):
        embed = SentenceTransformerEmbedder(embedder).embed
        found = mining.mine(children, embed, similarity, smallest)
    source = {"run": run or "every run", "embedder": embedder}
    document = mining.document(found, children, source, similarity)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(_HEAD + text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error}") from None
    if json_:
        typer.echo(json.dumps({"out": str(out), **document}))
        return
    _show(document)
    typer.echo(f"{len(found)} tactics in {out}; none is in use until you set 'use: true'")


def _show(document: dict[str, Any]) -> None:
    rows = [
        {
            "name": t["name"],
            "family": t["family"],
            "of": t["size"],
            **t["success"],
            "example": t["examples"][0],
        }
        for t in document["tactics"]
    ]
    columns = ("name", "family", "over_refusals", "of", "rate", "low", "high", "lift", "example")
    source = document["source"]
    empty = (
        f"nothing stands out: {source['over_refusals']} over-refusals of {source['children']} "
        f"candidates; search on, or try --similarity or --smallest"
    )
    table(rows, columns, empty=empty)
