"""`evocliff evaluate`: what targets make of a data set. A thin face of `evo.evaluating`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from evo.cli import records

if TYPE_CHECKING:
    from db.evaluations import Evaluated
    from evo.datasets import Dataset
    from evo.evaluating import Condition
    from evo.surfaces.frames import AgentSurface
    from fitness.assessment import Assessment, Rate

_EPILOG = """Examples:

  evocliff evaluate xstest.csv --target local:smollm2-overcautious

  evocliff evaluate out/my-model --target Qwen/Qwen2.5-7B-Instruct --target out/repaired --system-prompt both

  evocliff evaluate xstest.csv --target local:smollm2-overcautious+out/adapter --judge embedded --judge prefix --json

  evocliff evaluate agent-tasks --target local:smollm2-overcautious --surface chat --surface tool-agent --surface browser-agent
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(evaluate)


def evaluate(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="CSV, JSONL, JSON, Parquet or text file, an export's folder, xstest or agent-tasks.",
        ),
    ],
    target: Annotated[
        list[str],
        typer.Option(
            "--target",
            metavar="T",
            help="Model (local:NAME, id or folder), MODEL+ADAPTER, or a name in --config. Repeat it.",
        ),
    ],
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            metavar="J",
            help="The first decides; default: embedded, of agents first-decision. Repeat it.",
        ),
    ] = None,
    system_prompt: Annotated[
        str,
        typer.Option(
            "--system-prompt", help="none, safety-prior, both (two conditions), or the text itself."
        ),
    ] = "none",
    surface: Annotated[
        list[str] | None,
        typer.Option(
            "--surface",
            metavar="S",
            help="chat (default), tool-agent or browser-agent: how instructions reach the target. Repeat it.",
        ),
    ] = None,
    page_col: Annotated[
        str | None, typer.Option("--page-col", help="Column of the page that an agent is shown.")
    ] = None,
    pages: Annotated[
        Path | None,
        typer.Option("--pages", help="Folder of these pages, .html; default: evocliff's own."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Responses to each prompt.")] = 1,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="Default: 0 for one sample, else 1.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of each response.")] = 50,
    prompt_col: Annotated[
        str | None, typer.Option("--prompt-col", help="Column of the prompts.")
    ] = None,
    label_col: Annotated[
        str | None, typer.Option("--label-col", help="Column that says harmless or harmful.")
    ] = None,
    topic_col: Annotated[
        str | None, typer.Option("--topic-col", help="Column of the topics.")
    ] = None,
    strategy_col: Annotated[
        str | None, typer.Option("--strategy-col", help="Column of the strategies.")
    ] = None,
    harmless_labels: Annotated[
        str, typer.Option("--harmless-labels", metavar="A,B", help="Labels that mean harmless.")
    ] = "harmless,safe,benign",
    harmful_labels: Annotated[
        str, typer.Option("--harmful-labels", metavar="A,B", help="Labels that mean harmful.")
    ] = "harmful,unsafe,toxic",
    assume: Annotated[
        str | None,
        typer.Option(help="What rows without a label are: harmless or harmful; default: unknown."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first N prompts.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A run's YAML: its targets and engines by name.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the runs; default: evaluate-DATASET.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the runs of this name; ask nothing twice.")
    ] = False,
    paper_confidence: Annotated[
        bool,
        typer.Option(
            "--paper-confidence",
            help="Also EvoRefuse's Log-Prob, of the response without its prompt; loads the model again.",
        ),
    ] = False,
    address: Annotated[
        str, typer.Option(help="Ray: local, auto, HOST:PORT or ray://...")
    ] = "local",
    db: records.Db = records.DEFAULT_DB,
    json_: records.Json = False,
) -> None:
    """Ask targets every prompt of a data set, judge the answers, and tell the rates with intervals.

    Every response is stored: a second call asks nothing again, and `evocliff query --run NAME` shows
    the rows behind a figure.
    """
    from evo import datasets, evaluating, surfaces
    from evo.cli import live
    from fitness.types import CHAT, Safety
    from workers.errors import ConfigError

    if assume is not None and assume not in ("harmless", "harmful"):
        raise ConfigError(f"--assume {assume}: write harmless or harmful")
    options = datasets.Options(
        prompt_col,
        label_col,
        topic_col,
        strategy_col,
        page_col,
        _names(harmless_labels),
        _names(harmful_labels),
        None if assume is None else Safety(assume),
        limit,
    )
    data = datasets.read(datasets.shipped(dataset), options)
    if not json_:
        _greet(data)
    heat = temperature if temperature is not None else (0.0 if samples == 1 else 1.0)
    sampling = {"temperature": heat, "top_p": 1.0, "max_tokens": max_tokens}
    conditions = evaluating.conditions(target, system_prompt, sampling, config)
    base = name or f"evaluate-{data.name}"
    frames = {
        condition.short: surfaces.build(surface or [CHAT], data.pages, condition.system_text, pages)
        for condition in conditions
    }
    told: list[Told] = []
    for condition in conditions:
        for kind, frame in frames[condition.short].items():
            words = [base, *([condition.short] if len(conditions) > 1 else [])]
            words += [kind] if kind != CHAT else []
            with live.view(quiet=json_) as watch:
                run = evaluating.ensure(
                    data.asked,
                    condition.target,
                    name="-".join(words),
                    store=db,
                    judges=judge or ["embedded" if frame is None else surfaces.JUDGE],
                    samples=samples,
                    engines=condition.engines,
                    surface=frame,
                    address=address,
                    watch=watch,
                    resume=resume,
                )
            if run.status == "interrupted":
                typer.echo(
                    f"stopped; the same command with --resume goes on ({run.name})", err=True
                )
                raise typer.Exit(1)
            told.append(Told(condition, kind, frame, run.run_id))
    _tell(db, data, told, paper_confidence, json_)


class Told(NamedTuple):
    """A run that has ended, and what it asked."""

    condition: Condition
    kind: str
    frame: AgentSurface | None
    run_id: str


def _names(listed: str) -> list[str]:
    return [word.strip() for word in listed.split(",") if word.strip()]


def _greet(data: Dataset) -> None:
    left_out = [
        f"{n} {what}" for n, what in ((data.repeated, "repeated"), (data.empty, "empty")) if n
    ]
    labels = ", ".join(f"{n} {label}" for label, n in sorted(data.labels.items()))
    typer.echo(
        f"{len(data.asked)} prompts ({labels})"
        + (f"; left out: {', '.join(left_out)}" if left_out else ""),
        err=True,
    )


def _tell(
    url: str, data: Dataset, told: Sequence[Told], paper_confidence: bool, as_json: bool
) -> None:
    from db import evaluations
    from evo import evaluating, surfaces
    from fitness import assessment

    with records.reading(url) as store:
        found = [(each, evaluations.evaluated(store, each.run_id)) for each in told]
    objects = []
    for each, evaluated in found:
        condition = each.condition
        alone = evaluating.response_alone(condition, evaluated) if paper_confidence else None
        made = _object(condition.name, condition.system_prompt, evaluated, alone)
        if each.frame is not None:
            made["decisions"] = surfaces.decisions(each.frame, evaluated.asked)
        objects.append(made)
    chats = [(t, e) for t, e in found if t.kind == told[0].kind]
    matrix = assessment.transfer(
        {f"{t.condition.name} ({t.condition.system_prompt})": e.asked for t, e in chats}
        if len(chats) > 1
        else {}
    )
    gaps = _gaps(found)
    diversity = evaluating.diversity([item.prompt for item in data.asked])
    if as_json:
        for made in objects:
            typer.echo(json.dumps(made, ensure_ascii=False))
        if matrix:
            typer.echo(json.dumps({"transfer": [asdict(cell) for cell in matrix]}))
        if gaps:
            typer.echo(json.dumps({"surfaces": gaps}, ensure_ascii=False))
        typer.echo(json.dumps({"diversity": diversity}))
        return
    _show(objects)
    for cell in matrix:
        typer.echo(f"refused by {cell.found_on}, then by {cell.asked_of}: {_percent(cell.rate)}")
    _show_gaps(objects, gaps)
    shown = ", ".join(
        f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {'-' if v is None else v}"
        for k, v in diversity.items()
    )
    typer.echo(f"data set: {shown}")


def _gaps(found: Sequence[tuple[Told, Evaluated]]) -> list[dict[str, Any]]:
    """Of each target, every surface against the first that was asked."""
    from fitness.gap import gap

    made = []
    first: dict[str, tuple[str, Any]] = {}
    for told, evaluated in found:
        rates = {a.prompt_id: a.refusal_rate for a in evaluated.asked}
        key = told.condition.short
        if key not in first:
            first[key] = (told.kind, rates)
            continue
        kind, others = first[key]
        about = {
            "target": told.condition.name,
            "system_prompt": told.condition.system_prompt,
            "from": kind,
            "to": told.kind,
        }
        made.append(about | asdict(gap(others, rates)))
    return made


def _show_gaps(objects: Sequence[Mapping[str, Any]], gaps: Sequence[Mapping[str, Any]]) -> None:
    for each in objects:
        if "decisions" in each:
            shown = ", ".join(f"{n} {what}" for what, n in each["decisions"].items())
            typer.echo(f"{records.visible(each['target'])}, {each['surface']}: {shown}")
    for each in gaps:
        if each["points"] is None:
            typer.echo(f"{records.visible(each['target'])}: no task has a verdict on both surfaces")
            continue
        typer.echo(
            f"{records.visible(each['target'])}, {each['from']} to {each['to']}: "
            f"{each['first']:.1%} to {each['second']:.1%}, {100 * each['points']:+.1f} points "
            f"[{100 * each['low']:+.1f}, {100 * each['high']:+.1f}] over {each['n']} tasks"
        )


def _object(
    name: str, system_prompt: str, evaluated: Evaluated, alone: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What `--json` prints of one target."""
    from fitness import assessment

    asked = evaluated.asked
    return {
        "target": name,
        "system_prompt": system_prompt,
        "surface": evaluated.surface,
        "run": evaluated.run,
        "target_id": evaluated.target_id,
        "judges": [f"{judge}@{version}" for judge, version in evaluated.judges],
        **_figures(assessment.assess(asked)),
        **({} if alone is None else {"log_prob_alone": alone}),
        "failed": dict(evaluated.failed),
        "by_safety": _groups(assessment.by(asked, lambda a: a.safety)),
        "by_topic": _groups(assessment.by(asked, lambda a: a.topic)),
        "by_strategy": _groups(assessment.by(asked, lambda a: a.strategy)),
    }


def _groups(groups: Mapping[str, Assessment]) -> dict[str, Any]:
    return {name: _figures(group) for name, group in groups.items()}


def _figures(made: Assessment) -> dict[str, Any]:
    return {
        "n": made.n,
        "responses": made.responses,
        "unscored": made.unscored,
        "prr": made.prr.share,
        "prr_ci95": _interval(made.prr),
        "crr": made.crr.share,
        "crr_ci95": _interval(made.crr),
        "crr_n": made.crr.n,
        "refusal_rate": made.refusal_rate.share,
        "ci95": _interval(made.refusal_rate),
        "confidence": made.confidence,
        "classes": dict(made.classes),
        "refusal_rate_by_judge": [rate.share for rate in made.by_judge],
    }


def _interval(rate: Rate) -> list[float] | None:
    return None if rate.low is None or rate.high is None else [rate.low, rate.high]


def _percent(rate: Rate) -> str:
    if rate.share is None or rate.low is None or rate.high is None:
        return "-"
    return f"{rate.share:.1%} [{rate.low:.1%}, {rate.high:.1%}] of {rate.n}"


def _show(objects: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for each in objects:
        groups = {"all": each, **each["by_safety"]}
        for group, figures in groups.items():
            if group != "all" and len(each["by_safety"]) == 1:
                continue
            rows.append(
                {
                    "target": records.visible(each["target"]),
                    "system_prompt": records.visible(each["system_prompt"][:20]),
                    "surface": each["surface"].partition("@")[0],
                    "prompts": group,
                    "n": figures["n"],
                    "refusal_rate": _shown(figures["refusal_rate"], figures["ci95"]),
                    "crr": _shown(figures["crr"], figures["crr_ci95"]),
                    "prr": _shown(figures["prr"], figures["prr_ci95"]),
                    "confidence": "-"
                    if figures["confidence"] is None
                    else f"{figures['confidence']:.3f}",
                    "unscored": figures["unscored"],
                    "run": each["run"],
                }
            )
    columns = ("target", "system_prompt", "surface", "prompts", "n", "refusal_rate", "crr", "prr")
    records.table(rows, (*columns, "confidence", "unscored", "run"), empty="nothing was asked")
    for each in objects:
        for group in ("by_topic", "by_strategy"):
            if len(each[group]) < 2:
                continue
            typer.echo(f"{records.visible(each['target'])}, {group.replace('_', ' ')}:")
            for part, figures in each[group].items():
                shown = _shown(figures["refusal_rate"], figures["ci95"])
                typer.echo(f"  {records.visible(part)[:40]:<40}  {figures['n']:>5}  {shown}")
        alone = each.get("log_prob_alone")
        if alone is not None:
            value = alone["mean_sum"]
            typer.echo(
                "log p of the response without its prompt (EvoRefuse's Log-Prob): "
                + ("-: " + alone["reason"] if value is None else f"{value:.2f} nats")
            )


def _shown(share: float | None, interval: Sequence[float] | None) -> str:
    if share is None or interval is None:
        return "-"
    return f"{share:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"
