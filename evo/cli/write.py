"""`evocliff write`: responses worth training on. A thin face of `evo.writing`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli import records

if TYPE_CHECKING:
    from evo.config import EngineConfig
    from evo.writing.scorers import Scorer
    from workers.interface import Engine

_EPILOG = """Examples:

  evocliff write quickstart --writer local:smollm2

  evocliff write quickstart --writer Qwen/Qwen2.5-14B-Instruct --scorer llm:scorer --rounds 3 --config my.yaml

Then: evocliff export --format dpo --run quickstart --out out/dpo     (chosen: the best that was written)
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(write)


def write(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or id of a search.")],
    writer: Annotated[
        str,
        typer.Option(metavar="MODEL", help="A model, or the name of an engine in --config."),
    ],
    scorer: Annotated[
        str, typer.Option(metavar="S", help="embedded, or llm:MODEL (llm:NAME of --config).")
    ] = "embedded",
    candidates: Annotated[int, typer.Option(min=1, help="Answers to each prompt.")] = 4,
    rounds: Annotated[
        int, typer.Option(min=0, max=10, help="Rounds of advice that better the best answer.")
    ] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of each answer.")] = 200,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the writer.")] = 0.7,
    limit: Annotated[int | None, typer.Option(min=1, help="The N fittest prompts.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A run's YAML with engines by name.")
    ] = None,
    db: records.Db = records.DEFAULT_DB,
    json_: records.Json = False,
) -> None:
    """Write safe, helpful answers to the over-refusals of a run, score them, and keep the best for exports.

    Everything is stored as it comes: the same command again goes on where it was.
    """
    import contextlib

    import db as database
    from evo import wiring, writing
    from workers.errors import ConfigError

    kind, _, judge = scorer.partition(":")
    if kind not in ("embedded", "llm") or (kind == "llm") != bool(judge):
        raise ConfigError(f"--scorer '{scorer}': write embedded or llm:MODEL")
    wished = writing.Wished(candidates, rounds, max_tokens, temperature, limit)
    with contextlib.closing(database.open(db)) as store:
        writing.over_refused(store, run, 1)  # a wrong name is said before a model is loaded
        own = _engine(writer, config, "--writer")
        engine = wiring.engine(own)
        scoring = _scorer(kind, judge, config, own, engine)

        def tell(done: int, of: int) -> None:
            if not json_:
                typer.echo(f"{done} of {of} prompts", err=True)

        made = writing.write_now(store, run, engine, own.model, scoring, wished, tell)
    if json_:
        typer.echo(json.dumps({"run": run, **asdict(made)}))
        return
    typer.echo(
        f"{made.chosen} of {made.prompts} prompts have an answer to learn from; {made.written} responses "
        f"({made.new} new), {made.scored} scored"
        + (f", {made.bettered} bettered by advice" if rounds else "")
    )
    for reason, n in sorted(made.without.items(), key=lambda each: -each[1]):
        typer.echo(f"  {n} without: {reason}")


def _engine(name: str, config: Path | None, option: str) -> EngineConfig:
    from evo.config import EngineConfig, load
    from workers import engines, local_models
    from workers.errors import ConfigError

    if config is not None:
        named = load(config).engines
        if name in named:
            return named[name]
    try:
        made = EngineConfig(model=name)
    except ValueError as error:
        raise ConfigError(f"{option} {name}: {error}") from None
    if made.engine not in engines.ENDPOINTS:
        local_models.resolve(made.model)
    return made


def _scorer(
    kind: str, judge: str, config: Path | None, own: EngineConfig, engine: Engine
) -> Scorer:
    """A scorer of the writer's own model shares its weights."""
    from evo import wiring
    from evo.writing import scorers
    from workers.embedders import SentenceTransformerEmbedder

    if kind == "embedded":
        return scorers.EmbeddedScorer(SentenceTransformerEmbedder("local:all-minilm-l6-v2"))
    other = _engine(judge, config, "--scorer")
    return scorers.LlmScorer(f"llm:{judge}", engine if other == own else wiring.engine(other))
