"""`evocliff calibrate`: how often a target refuses, set without training. A thin face of `evo.calibrating`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli import records

if TYPE_CHECKING:
    from evo.calibrating import Calibrated
    from fitness.calibration import Point

_EPILOG = """Examples:

  evocliff calibrate --target local:smollm2-overcautious --rate 0.1 --rate 0.3

  evocliff calibrate --target out/with-tokens --token "[refuse]" --data labelled.csv --out calibration.json --plot curve.html
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(calibrate)


def calibrate(
    target: Annotated[str, typer.Option("--target", metavar="T", help="Model, or MODEL+ADAPTER.")],
    data: Annotated[
        str, typer.Option("--data", help="Prompts labelled harmless or harmful; see evaluate.")
    ] = "xstest",
    rate: Annotated[
        list[float] | None,
        typer.Option("--rate", help="A wished refusal rate, 0 to 1; repeat it."),
    ] = None,
    token: Annotated[
        list[str] | None,
        typer.Option("--token", help="A first token that means a refusal; default: learned."),
    ] = None,
    check: Annotated[
        float,
        typer.Option(min=0.0, max=0.9, help="Share of the prompts to measure the rules with."),
    ] = 0.5,
    max_tokens: Annotated[int, typer.Option(min=1)] = 24,
    limit: Annotated[int | None, typer.Option(min=1, help="The first N prompts.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new JSON file.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="The curve, as an HTML file.")] = None,
    name: Annotated[str, typer.Option(help="Of the evaluations behind it.")] = "calibrate",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was stopped.")] = False,
    address: Annotated[
        str, typer.Option(help="Ray: local, auto, HOST:PORT or ray://...")
    ] = "local",
    db: records.Db = records.DEFAULT_DB,
    json_: records.Json = False,
) -> None:
    """Find the threshold on a response's first token that makes a target refuse as often as wished.

    A target's block `first_token` in a config applies it; for other engines the equivalent logit bias
    is printed beside it.
    """
    from evo import calibrating, datasets, evaluating
    from workers.errors import ConfigError

    for path in (out, plot):
        if path is not None and path.exists():
            raise ConfigError(f"{path}: exists already; name a new file")
    read = datasets.read(datasets.shipped(data), datasets.Options(limit=limit))
    sampling = {"temperature": 0.0, "top_p": 1.0, "max_tokens": max_tokens}
    (condition,) = evaluating.conditions([target], "none", sampling)
    made = calibrating.calibrate(
        read.asked,
        condition.target,
        rate or [0.1, 0.3, 0.5, 0.7, 0.9],
        name=name,
        store=db,
        tokens=token or (),
        check=check,
        seed=seed,
        resume=resume,
        address=address,
        say=lambda text: typer.echo(text, err=True),
    )
    if out is not None:
        calibrating.write(made, out)
    if plot is not None:
        plot.write_text(_page(made), encoding="utf-8")
    if json_:
        typer.echo(json.dumps({k: v for k, v in made.as_json().items() if k != "curve"}))
        return
    _show(made)


def _show(made: Calibrated) -> None:
    tokens = ", ".join(repr(records.visible(t)) for t in made.tokens)
    typer.echo(f"tokens that open refusals: {tokens}")
    if made.auroc is not None:
        typer.echo(f"harmful above harmless (AUROC): {made.auroc:.3f}, over {made.n} prompts")
    checked = {c.wished: c.refused for c in made.checked}
    rows = []
    for t in made.thresholds:
        fresh = checked.get(t.wished)
        rows.append(
            {
                "wished": f"{t.wished:.0%}",
                "threshold": f"{t.threshold:.3f}",
                "logit_bias": f"{t.bias:+.3f}",
                "on_these": f"{t.measured:.0%}",
                "on_fresh": "-"
                if fresh is None or fresh.share is None
                else f"{fresh.share:.1%} of {fresh.n}",
            }
        )
    records.table(
        rows, ("wished", "threshold", "logit_bias", "on_these", "on_fresh"), empty="no rate"
    )
    for what, n in made.without.items():
        typer.echo(f"{n} prompts {what}")


def _distance(threshold: float, point: Point) -> float:
    return abs(point.threshold - threshold)


def _page(made: Calibrated) -> str:
    from evo.report import drawing, look

    if not made.curve:
        body = "<p>A curve needs prompts labelled harmful and harmless.</p>"
    else:
        frame = drawing.Frame(0, 1, 0, 1, width=560.0, height=420.0)
        drawn = drawing.axes(frame, "false refusals (harmless refused)", "true refusals")
        drawn += drawing.line(frame, [(0, 0), (1, 1)], "rule")
        drawn += drawing.line(frame, [(p.false_refusals, p.true_refusals) for p in made.curve])
        for kind, t in enumerate(made.thresholds):
            at = min(made.curve, key=partial(_distance, t.threshold))
            drawn += drawing.marker(kind, frame.x(at.false_refusals), frame.y(at.true_refusals), 6)
        names = [f"{t.wished:.0%} refused" for t in made.thresholds]
        image = drawing.svg(drawn, frame.width, frame.height, "true against false refusals")
        body = drawing.key(names) + drawing.figure(image, f"AUROC {made.auroc:.3f}")
    title = f"Calibration of {made.target}"
    return look.page(title, f"<h1>{look.text(title)}</h1><section>{body}</section>")
