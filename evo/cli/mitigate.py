"""`evocliff mitigate`: a better model from what a search found. A thin face of `evo.mitigation`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evo.cli import records

if TYPE_CHECKING:
    from evo.mitigation import Mitigated
    from fitness.assessment import Rate

_EPILOG = """Examples:

  evocliff mitigate --run quickstart --target local:smollm2-overcautious --writer local:smollm2 --out out/repaired

  evocliff mitigate --run quickstart --target local:smollm2-overcautious --writer local:smollm2 --method dpo --out out/by-dpo

  evocliff mitigate --run quickstart --target local:smollm2-overcautious --writer local:smollm2 --tokens single --out out/with-tokens

  evocliff mitigate --run my-model --target Qwen/Qwen2.5-7B-Instruct --out /home/ray/repaired --db sqlite:////home/ray/evocliff.db --address http://localhost:8265

  evocliff evaluate xstest --target local:smollm2-overcautious+out/repaired
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(mitigate)


def mitigate(
    context: typer.Context,
    target: Annotated[str, typer.Option("--target", metavar="T", help="The model to repair.")],
    out: Annotated[Path, typer.Option("--out", metavar="ADAPTER", help="A new folder.")],
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="The search whose finds to use.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Learn from these rows instead: an export, or a file."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="sft, dpo or kto.")] = "sft",
    writer: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Whose answers to learn; default: the target's own, where it has any.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Harmful requests with the refusals that must stay; default: our own."),
    ] = None,
    keep_share: Annotated[
        float, typer.Option(min=0.0, help="Of these, for each prompt that is answered.")
    ] = 0.55,
    plain_share: Annotated[
        float, typer.Option(min=0.0, help="Plain requests for each over-refused prompt.")
    ] = 0.35,
    contrast_share: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Harmless requests with the words of harmful ones, for each over-refused prompt; harmful ones like them are among those to refuse.",
        ),
    ] = 4.0,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the finds to measure with.")
    ] = 0.3,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from N finds only: the best of every seed in turn."),
    ] = None,
    tokens: Annotated[
        str,
        typer.Option(
            help="What answers begin with: none, single ([respond], [refuse]) or category ([refuse:X])."
        ),
    ] = "none",
    margin: Annotated[
        float, typer.Option(min=0.0, help="Points by which refusal of harmful requests may fall.")
    ] = 3.0,
    measure: Annotated[
        int | None, typer.Option(min=1, help="Measure with N prompts of each set; default: all.")
    ] = None,
    epochs: Annotated[float, typer.Option(min=0.01)] = 3.0,
    batch: Annotated[int, typer.Option(min=1, help="Examples of an optimiser step.")] = 8,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Learning rate; default: the method's own.")
    ] = None,
    rank: Annotated[int, typer.Option(min=1, help="Of the LoRA.")] = 16,
    beta: Annotated[float, typer.Option(min=0.0, help="Of dpo and kto.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where this command was stopped.")
    ] = False,
    address: Annotated[
        str,
        typer.Option(
            help="Ray, for the evaluations: local, auto, HOST:PORT or ray://...; a job server, "
            "http://HOST:8265: all of it as a job there."
        ),
    ] = "local",
    db: records.Db = records.DEFAULT_DB,
    json_: records.Json = False,
) -> None:
    """Train an adapter on a search's finds beside harmful requests whose refusal must stay, and compare.

    Ends with 1 where the model is not better: where over-refusal did not fall, or refusal of harmful
    requests fell by more than the margin. The adapter is kept all the same, and says so.
    """
    from evo import mitigation
    from evo.cli import live
    from evo.mitigation.data import Tokens
    from workers.errors import ConfigError
    from workers.trainer import Method, Recipe

    if method not in list(Method):
        raise ConfigError(f"--method {method}: not one of {', '.join(Method)}")
    if tokens not in list(Tokens):
        raise ConfigError(f"--tokens {tokens}: not one of {', '.join(Tokens)}")
    if address.startswith(("http://", "https://")):
        _submit(context, address, out, db, {"--data": data, "--keep": keep}, json_)
        return
    plan = mitigation.Plan(
        run=run,
        data=data,
        target={"model": target},
        out=out,
        store=db,
        recipe=Recipe(
            Method(method), epochs, batch, lr, rank, alpha=2 * rank, beta=beta, seed=seed
        ),
        writer=writer,
        keep=keep,
        keep_share=keep_share,
        plain_share=plain_share,
        contrast_share=contrast_share,
        held_out=held_out,
        tokens=Tokens(tokens),
        limit=limit,
        margin=margin,
        measure=measure,
        seed=seed,
        resume=resume,
        address=address,
    )
    with live.view(quiet=True) as watch:
        made = mitigation.mitigate(
            plan, say=lambda text: typer.echo(text, err=True), watch=None if json_ else watch
        )
    _tell(made, json_)
    if not made.comparison.is_better:
        raise typer.Exit(1)


def _submit(
    context: typer.Context,
    address: str,
    out: Path,
    store: str,
    files: Mapping[str, Path | None],
    as_json: bool,
) -> None:
    """The same command on the cluster's head, with the options that are not their default's."""
    from evo import jobs
    from evo.cli.jobs import hint
    from workers.jobs import JobServer

    own = {"address", "db", "out", "json_", *(option.strip("-") for option in files)}
    words: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if parameter.name in own or value is None or value == parameter.get_default(context):
            continue
        words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    server = JobServer(address)
    job = jobs.mitigate(server, words, out=out, store=store, files=files)
    if as_json:
        typer.echo(json.dumps({"job": job, "address": server.address}))
        return
    typer.echo(f"submitted {job}")
    hint("look", "logs", job, server, "--follow")
    hint("stop", "stop", job, server)


def _tell(made: Mitigated, as_json: bool) -> None:
    from evo.mitigation import table_row

    compared = made.comparison
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "adapter": str(made.trained.adapter),
                    "is_better": compared.is_better,
                    "why_not": list(compared.why_not),
                    "table": [table_row(row) for row in compared.rows],
                    "examples": dict(made.counts),
                    "left_out": dict(made.left_out),
                    "runs": dict(made.runs),
                    "loss": made.trained.loss,
                    "steps": made.trained.steps,
                }
            )
        )
        return
    rows: Sequence[dict[str, Any]] = [
        {
            "refused": row.name,
            "n": row.before.n,
            "before": _rate(row.before),
            "after": _rate(row.after),
            "change": "-" if row.points is None else f"{row.points:+.1f} points",
        }
        for row in compared.rows
    ]
    records.table(rows, ("refused", "n", "before", "after", "change"), empty="nothing measured")
    for what, n in made.left_out.items():
        if n:
            typer.echo(f"left out: {n} {what}")
    if compared.is_better:
        typer.echo("better: over-refusal fell, and refusal of harmful requests held")
    else:
        typer.echo(f"not called better: {'; '.join(compared.why_not)}")
    for what in ("before", "after"):
        typer.echo(f"rows {what}: evocliff query --run {made.runs[what]}")


def _rate(rate: Rate) -> str:
    if rate.share is None or rate.low is None or rate.high is None:
        return "-"
    return f"{rate.share:.1%} [{rate.low:.1%}, {rate.high:.1%}]"
