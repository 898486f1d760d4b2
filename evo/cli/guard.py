"""`evocliff cliff guard` and `signatures`: fit a latent guard, and ask it about a run's prompts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

_GUARD = """Examples:

  evocliff cliff guard labelled.jsonl --model local:smollm2-overcautious --out guard.npz

  evocliff cliff guard labelled.jsonl --model local:smollm2-overcautious --kind base --out base.npz

FILE has a prompt, whether it is harmful and whether the model refused it (true or false) in each row.
Then, in a run's YAML: safety: [seed-contrast, "latent-guard:guard.npz"]
"""
_SIGNATURES = """Examples:

  evocliff cliff signatures base.npz --run quickstart

  evocliff query --signature over_refused          (then)
"""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Column = Annotated[str, typer.Option(help="Column of FILE.")]


def attach(cliff: typer.Typer) -> None:
    """As commands of `evocliff cliff`."""
    cliff.command(epilog=_GUARD)(guard)
    cliff.command(epilog=_SIGNATURES)(signatures)


def guard(
    file: Annotated[Path, typer.Argument(help="A .jsonl or .csv file of labelled prompts.")],
    model: Annotated[str, typer.Option(help="The model that is looked into.")],
    out: Annotated[Path, typer.Option(help="A new .npz file.")],
    kind: Annotated[
        str, typer.Option(help="augmented, for guarding; or base, for triage of over-refusals.")
    ] = "augmented",
    prompt_col: Column = "prompt",
    harmful_col: Column = "harmful",
    refused_col: Column = "refused",
    adapter: Annotated[str | None, typer.Option(help="Of the model, if it has one.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json_: Json = False,
) -> None:
    """Fit a latent guard: one prefill for each prompt, no token generated."""
    from evo import guarding
    from fitness.safety import latent_guard
    from workers.errors import ConfigError

    if kind not in set(latent_guard.Kind):
        raise ConfigError(f"--kind '{kind}': write {' or '.join(latent_guard.Kind)}")
    if out.exists() or out.suffix != ".npz":
        raise ConfigError(f"--out {out}: name a new file that ends in .npz")
    labelled = guarding.labelled(file, prompt_col, harmful_col, refused_col)
    box = guarding.look_into(model, adapter, device)
    made = asyncio.run(guarding.fitted(labelled, box, latent_guard.Kind(kind)))
    latent_guard.save(made, out)
    shown: dict[str, Any] = {"guard": str(out), "version": made.version, "prompts": len(labelled)}
    typer.echo(json.dumps(shown) if json_ else f"{out}: {made.version}, {len(labelled)} prompts")


def signatures(
    guard_file: Annotated[Path, typer.Argument(metavar="GUARD", help="From evocliff cliff guard.")],
    run: Annotated[str, typer.Option(metavar="RUN", help="Name or id of a run.")],
    db: Annotated[
        str, typer.Option("--db", envvar="EVOCLIFF_DB", help="Database URL.")
    ] = "sqlite:///evocliff.db",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json_: Json = False,
) -> None:
    """Store the signature of every evaluated prompt of a run: over_refused, rightly_refused,
    rightly_answered or suppressed, by its hidden states and its refusal rate."""
    from evo import guarding

    counts = asyncio.run(guarding.sign_run(guard_file, run, db, device))
    if json_:
        typer.echo(json.dumps(counts))
        return
    for name, n in counts.items():
        typer.echo(f"{name:<18}{n}")
