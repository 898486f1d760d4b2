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

FILE has a prompt, whether it is harmful and whether the model refused it (true or false) in each row; its
topic too, so that the guard is measured on topics that it has not seen. A linear guard also learns from
prompts that come with evocliff, and draws its line so that most over-refused prompts of FILE lie on the
harmless side.
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
        str,
        typer.Option(
            help="linear, a regression; or by centroids: augmented, for guarding, base, for triage."
        ),
    ] = "linear",
    prompt_col: Column = "prompt",
    harmful_col: Column = "harmful",
    refused_col: Column = "refused",
    topic_col: Column = "topic",
    safe_side: Annotated[
        float, typer.Option(help="linear: share of a topic's over-refused prompts below the line.")
    ] = 0.9,
    contrast: Annotated[
        bool, typer.Option(help="linear: learn from the prompts that come with evocliff too.")
    ] = True,
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
    if not 0.0 < safe_side < 1.0:
        raise ConfigError(f"--safe-side {safe_side}: write a share between 0 and 1")
    labelled = guarding.labelled(file, prompt_col, harmful_col, refused_col, topic_col)
    if kind == latent_guard.Kind.LINEAR and contrast:
        labelled += guarding.contrast_prompts()
    box = guarding.look_into(model, adapter, device)
    made, quality = asyncio.run(
        guarding.fitted(labelled, box, latent_guard.Kind(kind), safe_side=safe_side)
    )
    latent_guard.save(made, out)
    shown: dict[str, Any] = {"guard": str(out), "version": made.version, "prompts": len(labelled)}
    if quality is not None:
        shown |= {"layer": quality.layer, "auroc": round(quality.auroc, 3)}
        shown["harmful_harmful_side"] = round(quality.harmful_harmful_side, 3)
        over = quality.over_refused_harmless_side
        shown["over_refused_harmless_side"] = None if over is None else round(over, 3)
    if json_:
        typer.echo(json.dumps(shown))
        return
    typer.echo(f"{out}: {made.version}, {len(labelled)} prompts")
    if quality is not None:
        typer.echo(
            f"Layer {quality.layer}; on topics left out: AUROC {quality.auroc:.3f}, "
            f"{quality.harmful_harmful_side:.0%} of the harmful caught."
        )


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
