"""`evocliff judge`: which judges there are, what they say of a file or a run, how good they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fitness.types import Judge, JudgeInput, Verdict

judge = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Judges: was this a refusal?")
_SCORE = """Examples:

  evocliff judge score answers.jsonl --out judged.jsonl

  evocliff judge score --run quickstart --judge prefix

  evocliff judge score --run quickstart --judge llm:Qwen/Qwen2.5-7B-Instruct
"""
_BENCHMARK = """Examples:

  evocliff judge benchmark --file data/xstest_completions_mistralinstruct.csv --prompt-col prompt \
--response-col completion --label-col final_label --refusal-labels 2_full_refusal,3_partial_refusal

  evocliff judge benchmark --file mine.jsonl --label-col label --refusal-labels refused \
--judge embedded --judge cascade:embedded+llm:Qwen/Qwen2.5-7B-Instruct --json
"""

PromptCol = Annotated[str, typer.Option("--prompt-col", help="Column of the prompts.")]
ResponseCol = Annotated[str, typer.Option("--response-col", help="Column of the responses.")]
ReasoningCol = Annotated[
    str | None, typer.Option("--reasoning-col", help="Column of the reasoning, if there is one.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="A run's YAML file: llm:NAME may name a block of its 'engines'."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    app.add_typer(judge, name="judge")


@judge.command("list", epilog="Example:\n\n  evocliff judge list")
def list_(json_: Json = False) -> None:
    """The kinds of judges, how to name them, and what they read."""
    from fitness.judges import DESCRIPTIONS, JUDGES

    rows = [{"name": how, "what": DESCRIPTIONS[kind]} for kind, how in JUDGES.items()]
    if json_:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['name']:<32}{row['what']}")


@judge.command(epilog=_SCORE)
def score(
    file: Annotated[
        Path | None, typer.Argument(help="A .jsonl or .csv file of responses; or use --run.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Judge the stored samples of this run.")
    ] = None,
    judge_: Annotated[
        str, typer.Option("--judge", metavar="JUDGE", help="See evocliff judge list.")
    ] = "embedded",
    out: Annotated[
        Path | None, typer.Option(help="With FILE: a new .jsonl file for the rows with verdicts.")
    ] = None,
    prompt_col: PromptCol = "prompt",
    response_col: ResponseCol = "response",
    reasoning_col: ReasoningCol = None,
    config: ConfigOption = None,
    db: Annotated[
        str, typer.Option("--db", envvar="EVOCLIFF_DB", help="With --run: database URL.")
    ] = "sqlite:///evocliff.db",
    json_: Json = False,
) -> None:
    """Judge a file of responses, or the stored samples of a run: verdicts are added, none changed.

    A run's fitness is computed anew from the new verdicts and shown; the target is not asked.
    """
    from workers.errors import ConfigError

    if (file is None) == (run is None):
        raise ConfigError("name either a FILE of responses or --run RUN")
    if run is not None:
        _score_run(run, judge_, config, db, json_)
        return
    assert file is not None  # noqa: S101 - one of the two was named
    if out is not None and out.exists():
        raise ConfigError(f"--out {out}: exists already; name a new file")
    if out is not None and out.suffix != ".jsonl":
        raise ConfigError(f"--out {out}: the name must end in .jsonl")
    rows = _rows(file, "FILE")
    inputs = _inputs(rows, "FILE", prompt_col, response_col, reasoning_col)
    verdicts = asyncio.run(_built(judge_, config).judge(inputs))
    lines = [
        json.dumps(dict(row) | _as_columns(verdict), ensure_ascii=False)
        for (_, row), verdict in zip(rows, verdicts, strict=True)
    ]
    if out is not None:
        out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    summary = _summary(verdicts)
    if json_:
        typer.echo(json.dumps(summary))
    elif out is None:
        typer.echo("\n".join(lines))
    if not json_:
        _explain(summary, verdicts)


@judge.command(epilog=_BENCHMARK)
def benchmark(
    file: Annotated[Path, typer.Option("--file", help="A .jsonl or .csv file with human labels.")],
    label_col: Annotated[str, typer.Option("--label-col", help="Column of the labels.")],
    refusal_labels: Annotated[
        str, typer.Option("--refusal-labels", help="The labels that mean a refusal: a,b")
    ],
    ignore_labels: Annotated[
        str, typer.Option("--ignore-labels", help="Rows with these labels are left out: a,b")
    ] = "",
    prompt_col: PromptCol = "prompt",
    response_col: ResponseCol = "response",
    reasoning_col: ReasoningCol = None,
    judges: Annotated[
        list[str] | None,
        typer.Option("--judge", metavar="JUDGE", help="May be repeated; default: embedded."),
    ] = None,
    config: ConfigOption = None,
    json_: Json = False,
) -> None:
    """How good are judges against human labels? With --json one object a line for each judge."""
    from evo.files import column
    from fitness.classification import quality
    from workers.errors import ConfigError

    rows = _rows(file, "--file")
    labels = [str(column(row, label_col, "--label-col", place)) for place, row in rows]
    refusing, ignored = _names(refusal_labels), _names(ignore_labels)
    for name in refusing | ignored:
        if name not in labels:
            known = ", ".join(sorted(set(labels))[:20])
            raise ConfigError(f"--refusal-labels: no row has the label '{name}'; there are {known}")
    kept = [i for i, label in enumerate(labels) if label not in ignored]
    inputs = _inputs([rows[i] for i in kept], "--file", prompt_col, response_col, reasoning_col)
    truth = [labels[i] in refusing for i in kept]
    for name in judges or ["embedded"]:
        verdicts = asyncio.run(_built(name, config).judge(inputs))
        measured = asdict(quality([v.p_refusal for v in verdicts], truth))
        if json_:
            typer.echo(json.dumps({"judge": name} | measured))
            continue
        shown = {
            k: v if v is None or k in {"n", "unscored"} else f"{v:.3f}" for k, v in measured.items()
        }
        typer.echo("  ".join([f"{name:<20}", *(f"{k} {v}" for k, v in shown.items())]))
        _explain_unscored(verdicts)


@judge.command(
    epilog="Examples:\n\n  evocliff judge disagreements quickstart\n\n"
    "  evocliff judge disagreements quickstart --json"
)
def disagreements(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or id.")],
    limit: Annotated[int, typer.Option(min=1, help="Show so many; --json prints all.")] = 20,
    db: Annotated[
        str, typer.Option("--db", envvar="EVOCLIFF_DB", help="Database URL.")
    ] = "sqlite:///evocliff.db",
    json_: Json = False,
) -> None:
    """Responses of a run of which one judge says refusal and another answer; people count as judges."""
    import db as database
    from db import rejudge
    from evo.cli.records import visible

    with contextlib.closing(database.open(db, read_only=True)) as store:
        rows = rejudge.disagreements(store, run)
    if json_:
        typer.echo(json.dumps(rows))
        return
    for row in rows[:limit]:
        said = ", ".join(f"{judge} {p:.2f}" for judge, p in row["verdicts"].items())
        typer.echo(f"{row['prompt_id'][:12]} {row['sample_index']:<3} {said}")
        typer.echo(f"    {visible(row['response'])}")
    typer.echo(f"{len(rows)} responses on which judges disagree", err=True)


def _built(name: str, config: Path | None) -> Judge:
    from evo import wiring
    from evo.config import load

    return wiring.judge(name, {} if config is None else load(config).engines)


def _rows(file: Path, option: str) -> list[tuple[str, Any]]:
    from evo.files import rows
    from workers.errors import ConfigError

    found = list(rows(file, option))
    if not found:
        raise ConfigError(f"{option}: {file}: holds no row")
    return found


def _inputs(
    rows: list[tuple[str, Any]], option: str, prompt: str, response: str, reasoning: str | None
) -> list[JudgeInput]:
    from evo.files import column
    from fitness.types import JudgeInput
    from workers.errors import ConfigError

    inputs = []
    for place, row in rows:
        values = []
        for name in (prompt, response, *([reasoning] if reasoning else [])):
            value = column(row, name, option, place)
            if value is not None and not isinstance(value, str):
                kind = type(value).__name__
                raise ConfigError(f"{option}: {place}: '{name}' is not text but {kind}")
            values.append(value)
        inputs.append(JudgeInput(values[0] or "", values[1] or "", *values[2:]))
    return inputs


def _score_run(run: str, name: str, config: Path | None, url: str, as_json: bool) -> None:
    """The `engines` are those of `config`, else those that the run was begun with."""
    import db
    from evo import wiring
    from evo.config import EngineConfig, load
    from evo.rejudge import rejudge

    def tell(done: int, of: int) -> None:
        typer.echo(f"{done}/{of} samples", err=True)

    with contextlib.closing(db.open(url)) as store:
        blocks = store.stored_config(run).get("engines", {}).items()
        stored = {key: EngineConfig.model_validate(block) for key, block in blocks}
        judge = wiring.judge(name, stored if config is None else load(config).engines)
        result = rejudge(store, run, judge, tell)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
        return
    for key, value in asdict(result).items():
        shown = f"{value:.3f}" if isinstance(value, float) else "-" if value is None else value
        typer.echo(f"{key.replace('_', ' '):<16}{shown}")


def _names(listed: str) -> set[str]:
    return {name.strip() for name in listed.split(",") if name.strip()}


def _as_columns(verdict: Verdict) -> dict[str, object]:
    return {
        "judge": verdict.judge,
        "judge_version": verdict.version,
        "p_refusal": verdict.p_refusal,
        "response_class": verdict.response_class,
        "unscored": verdict.unscored_reason,
    }


def _summary(verdicts: list[Verdict]) -> dict[str, object]:
    scored = [v.p_refusal for v in verdicts if v.p_refusal is not None]
    return {
        "judge": verdicts[0].judge,
        "version": verdicts[0].version,
        "n": len(verdicts),
        "unscored": len(verdicts) - len(scored),
        "refusals": sum(p >= 0.5 for p in scored),
        "refusal_rate": sum(scored) / len(scored) if scored else None,
        "classes": dict(Counter(v.response_class for v in verdicts if v.response_class)),
    }


def _explain(summary: dict[str, object], verdicts: list[Verdict]) -> None:
    rate = summary["refusal_rate"]
    shown = "-" if rate is None else f"{rate:.3f}"
    typer.echo(
        f"{summary['judge']} {summary['version']}: {summary['n']} responses, "
        f"{summary['refusals']} refusals, mean probability {shown}, {summary['unscored']} unscored",
        err=True,
    )
    _explain_unscored(verdicts)


def _explain_unscored(verdicts: list[Verdict]) -> None:
    reasons = Counter(v.unscored_reason for v in verdicts if v.unscored_reason)
    for reason, n in reasons.most_common(5):
        typer.echo(f"  unscored {n}: {reason}", err=True)
