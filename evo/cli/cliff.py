"""`evocliff cliff`: probes of a target's hidden states, traces of its thoughts, heads, selections."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evo.cli import guard, traced

if TYPE_CHECKING:
    from fitness.cliff.probe import Probe
    from workers.interface import WhiteBox

cliff = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Inside the target: where its refusal arises, and where it falls off.",
)
guard.attach(cliff)
traced.attach(cliff)
_TRAIN = """Examples:

  evocliff cliff train labelled.jsonl --model local:smollm2-thinking --out probe

  evocliff cliff train answered.csv --model Qwen/Qwen3-4B --layer 30 --out probe

FILE has a prompt, its topic and whether it is harmful in each row; a response (with its thinking) and
whether it was a refusal, if you have them: else the target is asked and the judge decides. Each of
three topics or more needs harmful requests that were answered, or harmless ones that were refused.
"""
_TRACE = """Examples:

  evocliff cliff trace probe --run thinkers

  evocliff cliff trace probe --data prompts.jsonl --model local:smollm2-thinking --json

  evocliff query --run thinkers --sort cliff          (then)
"""
_HEADS = """Examples:

  evocliff cliff heads probe --data harmful.jsonl --model local:smollm2-thinking

  evocliff cliff heads probe --data mixed.jsonl --model local:smollm2-thinking --ablate 8 --plain text.txt
"""
_SELECT = """Examples:

  evocliff cliff select --run thinkers --fraction 0.1 --inverse --out out/inverse

  evocliff cliff select probe --data training.jsonl --model local:smollm2-thinking --fraction 0.02 \
--out out/chosen
"""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str | None, typer.Option(help="The target, a transformers model.")]
Adapter = Annotated[str | None, typer.Option(help="Of the model, if it has one.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
JudgeName = Annotated[
    str, typer.Option("--judge", metavar="JUDGE", help="See evocliff judge list.")
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Of a response, where the target is asked.")]
PromptCol = Annotated[str, typer.Option(help="Column of the prompts.")]
Db = Annotated[str, typer.Option("--db", envvar="EVOCLIFF_DB", help="Database URL.")]
ProbeFolder = Annotated[Path, typer.Argument(metavar="PROBE", help="From evocliff cliff train.")]
_DB = "sqlite:///evocliff.db"
_OF_TARGET = ("engine", "model", "adapter")


def register(app: typer.Typer) -> None:
    app.add_typer(cliff, name="cliff")


@cliff.command(epilog=_TRAIN)
def train(
    file: Annotated[Path, typer.Argument(help="A .jsonl or .csv file of prompts.")],
    model: Annotated[str, typer.Option(help="The target, a transformers model.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder that does not exist yet.")],
    layer: Annotated[
        int | None, typer.Option(help="Of this layer alone; else the best on left-out topics.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which topics are set aside.")] = 0,
    adapter: Adapter = None,
    device: Device = "auto",
    judge: JudgeName = "embedded",
    max_tokens: MaxTokens = 512,
    prompt_col: PromptCol = "prompt",
    response_col: Annotated[str, typer.Option(help="Column of responses.")] = "response",
    topic_col: Annotated[str, typer.Option(help="Column of topics.")] = "topic",
    harmful_col: Annotated[str, typer.Option(help="Column of true or false.")] = "harmful",
    refused_col: Annotated[str, typer.Option(help="Column of true or false.")] = "refused",
    json_: Json = False,
) -> None:
    """Train a refusal probe: P(refusal) from one hidden state before the answer, topic controlled."""
    from db.exporters import folder
    from evo import cliffs
    from fitness import judges
    from fitness.cliff import probe as probes

    folder.require_new(out)
    columns = cliffs.Columns(prompt_col, response_col, topic_col, harmful_col, refused_col)
    items = cliffs.items_of(file, columns)
    judges.require(judge)

    async def work(box: WhiteBox) -> tuple[Probe, dict[str, int]]:
        with _progress("answers", len(items)) as done:
            ready, left = await cliffs.answered(
                items, box, judges.build(judge), max_tokens=max_tokens, done=done
            )
        with _progress("states", len(ready)) as done:
            made, unread = await cliffs.train_probe(ready, box, layer=layer, seed=seed, done=done)
        return made, dict(left + unread)

    made, without = _with_box(model, adapter, device, work)
    with folder.new(out) as part:
        probes.write(made, part)
    shown = {
        "probe": str(out),
        "version": made.version,
        "layer": made.about.layer,
        "held_out_topics": list(made.held_out),
        "layers": [
            {"layer": q.layer, "auroc": q.auroc, "held_out_auroc": q.held_out} for q in made.layers
        ],
        "without": without,
    }
    if json_:
        typer.echo(json.dumps(shown))
        return
    typer.echo("layer    AUROC  on topics set aside")
    for q in made.layers:
        mark = "  <- chosen" if q.layer == made.about.layer else ""
        typer.echo(f"{q.layer:>5}    {q.auroc:.3f}  {q.held_out:.3f}{mark}")
    typer.echo(f"topics set aside: {', '.join(made.held_out)}")
    _show_without(without)
    typer.echo(f"{out}: {made.version}")


@cliff.command(epilog=_TRACE)
def trace(
    probe: ProbeFolder,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Trace the stored samples of this run.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Or a file of prompts.")] = None,
    model: Model = None,
    adapter: Adapter = None,
    device: Device = "auto",
    max_tokens: MaxTokens = 512,
    prompt_col: PromptCol = "prompt",
    db: Db = _DB,
    json_: Json = False,
) -> None:
    """How the refusal score runs over the thinking, token by token: cliffs and inverse cliffs.

    With --run the traces are stored beside the samples, and those that are there are not made again;
    with --data they are printed.
    """
    from evo import cliffs
    from fitness.cliff import probe as probes
    from workers import looking
    from workers.errors import ConfigError

    if (run is None) == (data is None):
        raise ConfigError("name either --run RUN or --data FILE")
    read = probes.read(probe)
    if run is not None:
        settings = _target_of(db, run)
        looking.require(settings["engine"])
        own = (_named(model or settings["model"], "--run"), adapter or settings["adapter"])

        async def of_run(box: WhiteBox) -> dict[str, int]:
            with _progress("samples", None) as done:
                return await cliffs.trace_run(db, run, box, read, done)

        counts = _with_box(*own, device, of_run)
        if json_:
            typer.echo(json.dumps({"run": run, "version": read.version, **counts}))
            return
        for name, n in counts.items():
            typer.echo(f"{name:<18}{n}")
        return
    assert data is not None  # noqa: S101 - one of the two was named
    items = cliffs.items_of(data, cliffs.Columns(prompt=prompt_col))

    async def of_file(box: WhiteBox) -> list[dict[str, Any]]:
        ready, left = await _thought(items, box, max_tokens)
        found = await cliffs.traced(ready, box, read)
        return [*map(_row, ready, found), *({"reason": r} for r in left.elements())]

    rows = _with_box(_named(model, "--data"), adapter, device, of_file)
    for row in rows:
        if json_:
            typer.echo(json.dumps(row))
        elif "plateau" in row:
            place = "" if row["position"] is None else f" at token {row['position']}"
            typer.echo(
                f"{row['kind']:<8}{row['plateau']:.2f} -> {row['final']:.2f}{place}  {_short(row['prompt'])}"
            )
        else:
            typer.echo(f"no trace: {row['reason']}  {_short(row.get('prompt', ''))}")


@cliff.command(epilog=_HEADS)
def heads(
    probe: ProbeFolder,
    data: Annotated[
        Path, typer.Option(help="A file of prompts; with responses, if you have them.")
    ],
    model: Annotated[str, typer.Option(help="The target, a transformers model.")],
    ablate: Annotated[
        int,
        typer.Option(min=0, metavar="K", help="Take the K strongest out, and say what changes."),
    ] = 0,
    plain: Annotated[
        Path | None, typer.Option(help="A .txt file: perplexity on its lines, as general ability.")
    ] = None,
    adapter: Adapter = None,
    device: Device = "auto",
    judge: JudgeName = "embedded",
    max_tokens: MaxTokens = 512,
    prompt_col: PromptCol = "prompt",
    harmful_col: Annotated[str, typer.Option(help="Column of true or false.")] = "harmful",
    json_: Json = False,
) -> None:
    """Which attention heads suppress a refusal before the answer, and which promote it."""
    from dataclasses import asdict

    from evo import cliffs
    from evo.files import rows
    from fitness import judges
    from fitness.cliff import probe as probes

    read = probes.read(probe)
    items = cliffs.items_of(data, cliffs.Columns(prompt=prompt_col, harmful=harmful_col))
    texts = [] if plain is None else [str(text) for _, text in rows(plain, "--plain")]
    judges.require(judge)

    async def work(box: WhiteBox) -> dict[str, Any]:
        says = judges.build(judge)
        with _progress("answers", len(items)) as done:
            ready, left = await cliffs.answered(items, box, says, max_tokens=max_tokens, done=done)
        found, unread = await cliffs.heads_of(ready, box, read)
        k = ablate or found.count_of(0.03)
        groups = {"suppressing": found.suppressing(k), "promoting": found.promoting(k)}
        effects = {}
        if ablate:
            for name, chosen in {"none": [], **groups}.items():
                effects[name] = asdict(
                    await cliffs.effect_of(chosen, ready, texts, box, says, max_tokens=max_tokens)
                )
        return {
            "version": read.version,
            "n": found.n,
            "map": found.contributions.tolist(),
            **{name: [asdict(h) for h in chosen] for name, chosen in groups.items()},
            "ablated": effects,
            "without": dict(left + unread),
        }

    shown = _with_box(model, adapter, device, work)
    if json_:
        typer.echo(json.dumps(shown))
        return
    for name in ("suppressing", "promoting"):
        typer.echo(f"{name} refusal, mean of {shown['n']} prompts:")
        for head in shown[name]:
            typer.echo(
                f"  layer {head['layer']:>3} head {head['head']:>3}  {head['contribution']:+.4f}"
            )
    for name, effect in shown["ablated"].items():
        typer.echo(
            f"without {name}: harmful refused {_rate(effect['refusal'])}, harmless refused "
            f"{_rate(effect['over_refusal'])}, perplexity {_number(effect['perplexity'])}"
        )
    _show_without(shown["without"])


@cliff.command(epilog=_SELECT)
def select(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder that does not exist yet.")],
    probe: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PROBE]",
            help="From cliff train: needed with --data, and where several traced the run.",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="From the traces of this run.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Or a file of training examples.")] = None,
    fraction: Annotated[
        float, typer.Option(help="Of the traced examples, above 0, at most 1.")
    ] = 0.1,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="Harmless prompts with the largest inverse cliff.")
    ] = False,
    model: Model = None,
    adapter: Adapter = None,
    device: Device = "auto",
    max_tokens: MaxTokens = 512,
    prompt_col: PromptCol = "prompt",
    harmful_col: Annotated[str, typer.Option(help="Column of true or false.")] = "harmful",
    db: Db = _DB,
    json_: Json = False,
) -> None:
    """Cliff-as-a-Judge: the examples that a repair should learn from, as a dataset."""
    from dataclasses import replace

    from db.exporters import folder
    from evo import cliff_selection, cliffs
    from evo.cli.records import reading
    from fitness.cliff import probe as probes
    from workers.errors import ConfigError

    if (run is None) == (data is None):
        raise ConfigError("name either --run RUN or --data FILE")
    if not 0.0 < fraction <= 1.0:
        raise ConfigError(f"--fraction {fraction}: write a share above 0 and at most 1")
    folder.require_new(out)
    if run is not None:
        version = None if probe is None else probes.read(probe).version
        with reading(db) as store:
            found = cliff_selection.of_run(store, run, fraction, inverse=inverse, version=version)
        source = f"run {run}"
    else:
        assert data is not None  # noqa: S101 - one of the two was named
        if probe is None:
            raise ConfigError("--data FILE needs a PROBE; evocliff cliff train makes one")
        read = probes.read(probe)
        # What the file holds as responses are those to learn from; the target's own are traced.
        columns = cliffs.Columns(prompt=prompt_col, harmful=harmful_col)
        items = [replace(i, response=None) for i in cliffs.items_of(data, columns)]

        async def work(box: WhiteBox) -> cliff_selection.Selection:
            ready, _ = await _thought(items, box, max_tokens)
            traces = await cliffs.traced(ready, box, read)
            return cliff_selection.of_items(ready, traces, fraction, inverse=inverse)

        found = _with_box(_named(model, "--data"), adapter, device, work)
        source = data.name
    digest = cliff_selection.write(found, out, fraction=fraction, inverse=inverse, source=source)
    shown = {
        "out": str(out),
        "rows": len(found.rows),
        "traced": found.of,
        "without": found.without,
        "sha256": digest,
    }
    typer.echo(
        json.dumps(shown)
        if json_
        else f"{out}: {len(found.rows)} of {found.of} traced examples ({found.without} without a trace)"
    )


# Parts


def _with_box(model: str, adapter: str | None, device: str, work: Callable[[WhiteBox], Any]) -> Any:
    """Load the target, work with it, let it go."""
    from evo.config import EngineConfig
    from evo.looking import white_box

    box = white_box(EngineConfig(model=model, adapter=adapter, device=device))

    async def run() -> Any:
        try:
            return await work(box)
        finally:
            await box.close()

    return asyncio.run(run())


async def _thought(items: Any, box: WhiteBox, max_tokens: int) -> Any:
    """The items with the target's own responses; nobody judges them."""
    from dataclasses import replace

    from evo import cliffs
    from fitness import judges

    labelled = [replace(i, refused=False if i.response is not None else None) for i in items]
    with _progress("answers", len(items)) as done:
        return await cliffs.answered(
            labelled, box, judges.build("prefix"), max_tokens=max_tokens, done=done
        )


def _target_of(url: str, run: str) -> Mapping[str, Any]:
    """engine, model and adapter as the run's config has them."""
    from evo.cli.records import reading
    from evo.config import EngineConfig

    with reading(url) as store:
        told = dict(store.stored_config(run).get("target") or {})
    return {name: told.get(name, EngineConfig.model_fields[name].default) for name in _OF_TARGET}


def _named(model: str | None, option: str) -> str:
    from workers.errors import ConfigError

    if model is None:
        raise ConfigError(f"{option}: needs --model, the target to look into")
    return model


def _row(item: Any, trace: Any) -> dict[str, Any]:
    from db.traces import curve
    from fitness.types import CliffTrace

    if not isinstance(trace, CliffTrace):
        return {"prompt": item.prompt, "reason": trace.reason}
    return {
        "prompt": item.prompt,
        "kind": trace.kind.value,
        "plateau": trace.plateau,
        "plateau_top": trace.plateau_top,
        "final": trace.final,
        "cliff": trace.cliff,
        "position": trace.position,
        "n_tokens": trace.n_tokens,
        "scores": curve(trace.scores),
        "reasoning": item.response.reasoning,
        "response": item.response.text,
    }


@contextlib.contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)


def _show_without(without: Mapping[str, int]) -> None:
    for reason, n in without.items():
        typer.echo(f"left out, {reason}: {n}")


def _short(text: str) -> str:
    from evo.cli.records import visible

    return visible(" ".join(text.split())[:70])


def _rate(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "not asked" if value is None else f"{value:.2f}"
