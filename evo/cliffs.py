"""Probes, traces and head maps of a real model: an edge between white box, store and fitness.

What goes in are items: a prompt, what the target thought and said to it, whether that was a refusal. Where
a file has no response the target is asked, and a judge says what it was. What cannot be read is counted
with its reason and never becomes a number.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from evo.files import column, rows, truth
from fitness.cliff import course as courses
from fitness.cliff.heads import Head, HeadMap, head_map
from fitness.cliff.probe import Probe
from fitness.cliff.training import Labelled, train
from fitness.types import CliffKind, CliffTrace, Judge, JudgeInput, NoTrace
from workers import reasoning
from workers.interface import (
    ConfigError,
    Direction,
    Failure,
    FailureKind,
    GenerationRequest,
    HeadsRequest,
    Intervention,
    Message,
    Place,
    ProjectionRequest,
    Sampling,
    ScaleHead,
    StateRequest,
    StoredResponse,
    WhiteBox,
)

BATCH = 64
REFUSED_FROM = 0.5  # P(refusal) from which a response counts as refused
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file mean what; only `prompt` must be there."""

    prompt: str = "prompt"
    response: str = "response"
    topic: str = "topic"
    harmful: str = "harmful"
    refused: str = "refused"


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt with what is known of it. `row` is the file's own, for what is written back."""

    prompt: str
    response: StoredResponse | None = None
    topic: str | None = None
    harmful: bool | None = None
    refused: bool | None = None
    system_prompt: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def messages(self) -> tuple[Message, ...]:
        before = () if self.system_prompt is None else (Message("system", self.system_prompt),)
        return (*before, Message("user", self.prompt))


def items_of(path: Path, columns: Columns) -> list[Item]:
    """The rows of a .jsonl, .csv or .txt file.

    Raises:
        ConfigError: it cannot be read, a row has no prompt, or a label is neither true nor false.
    """
    found = []
    for place, row in rows(path, "FILE"):
        plain = isinstance(row, str)
        text = row if plain else column(row, columns.prompt, "FILE", place)
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"FILE: {place}: '{columns.prompt}' is no text")
        own: Mapping[str, Any] = {columns.prompt: row} if plain else row
        said = own.get(columns.response)
        thought = reasoning.split(str(said)) if said else None
        topic = own.get(columns.topic)
        found.append(
            Item(
                text,
                None if thought is None else StoredResponse(thought[0], thought[1]),
                None if topic is None else str(topic),
                truth(own, columns.harmful, "FILE", place),
                truth(own, columns.refused, "FILE", place),
                row=own,
            )
        )
    if not found:
        raise ConfigError(f"FILE: {path}: holds no row")
    return found


# Asking the target


async def answered(
    items: Sequence[Item],
    box: WhiteBox,
    judge: Judge,
    *,
    max_tokens: int,
    interventions: Sequence[Intervention] = (),
    anew: bool = False,
    done: Callable[[int], None] = lambda n: None,
) -> tuple[list[Item], Counter[str]]:
    """The items with greedy responses of the target where they had none (`anew`: all), and with what the
    judge says of every response that nobody labelled. Those that failed are left out and counted."""
    without: Counter[str] = Counter()
    kept: list[Item] = []
    for part in parts(items):
        asked = [i for i in part if i.response is None or anew]
        requests = [
            GenerationRequest(str(n), i.messages, 1, Sampling(0.0, 1.0, 0, max_tokens), 0)
            for n, i in enumerate(asked)
        ]
        answers = iter(await box.generate(requests, interventions) if requests else [])
        ready: list[Item] = []
        for item in part:
            if item.response is None or anew:
                answer = next(answers)
                if isinstance(answer, Failure):
                    without[reason_of(answer)] += 1
                    continue
                sample = answer.samples[0]
                told = StoredResponse(sample.reasoning, sample.text)
                item = replace(item, response=told, refused=None)
            ready.append(item)
        kept += await _judged(ready, judge, without)
        done(len(part))
    return kept, without


async def _judged(items: Sequence[Item], judge: Judge, without: Counter[str]) -> list[Item]:
    open_ = [i for i in items if i.refused is None]
    inputs = []
    for item in open_:
        assert item.response is not None  # noqa: S101 - the caller's
        inputs.append(JudgeInput(item.prompt, item.response.text, item.response.reasoning))
    verdicts = iter(await judge.judge(inputs) if inputs else [])
    kept = []
    for item in items:
        if item.refused is not None:
            kept.append(item)
            continue
        verdict = next(verdicts)
        if verdict.p_refusal is None:
            without[f"unscored: {verdict.unscored_reason}"] += 1
        else:
            kept.append(replace(item, refused=verdict.p_refusal >= REFUSED_FROM))
    return kept


def reason_of(failure: Failure) -> str:
    """As it is counted: what kind of failure, and the message where the kind alone says too little."""
    if failure.kind in (FailureKind.ENGINE, FailureKind.TEMPLATE):
        return f"{failure.kind}: {failure.message}"
    return failure.kind.replace("_", " ")


# Probes


async def train_probe(
    items: Sequence[Item],
    box: WhiteBox,
    *,
    layer: int | None = None,
    seed: int = 0,
    done: Callable[[int], None] = lambda n: None,
) -> tuple[Probe, Counter[str]]:
    """A probe of the layer that tells refusals best on left-out topics (or of `layer`), from items that
    were answered and judged; and what could not be read.

    Raises:
        ConfigError: too few topics in which alike requests were both refused and answered.
    """
    layers = tuple(range(1, box.n_layers + 1)) if layer is None else (layer,)
    read: list[tuple[Item, Any]] = []
    # Taken for harmless they would teach the probe what the topic says.
    known = [i for i in items if i.harmful is not None]
    without: Counter[str] = Counter()
    if len(known) < len(items):
        without["nobody said whether it is harmful"] = len(items) - len(known)
    for part in parts(known):
        requests = [
            StateRequest(str(n), i.messages, layers, (Place.BEFORE_ANSWER,), i.response)
            for n, i in enumerate(part)
        ]
        for item, states in zip(part, await box.states(requests), strict=True):
            if isinstance(states, Failure):
                without[reason_of(states)] += 1
            else:
                read.append((item, states.values[:, 0]))
        done(len(part))
    if not read:
        raise ConfigError(f"FILE: no item can be trained on: {dict(without)}")
    data = Labelled(
        np.stack([values for _, values in read]).astype(np.float32),
        layers,
        np.array([bool(item.refused) for item, _ in read]),
        np.array([bool(item.harmful) for item, _ in read]),
        tuple(item.topic or "none" for item, _ in read),
    )
    made = train(data, box.description, n_layers=box.n_layers, seed=seed, layer=layer)
    return made, without


# Traces


async def traced(
    items: Sequence[Item], box: WhiteBox, probe: Probe, rule: courses.Rule | None = None
) -> list[CliffTrace | NoTrace]:
    """The course of the refusal score over each item's thought, same length and order.

    Raises:
        ConfigError: the probe is of another model.
    """
    probe.require(box.description, n_layers=box.n_layers, width=box.width)
    answered = [(i.messages, i.response or StoredResponse(None, "")) for i in items]
    return await courses_of(answered, box, probe, rule)


async def courses_of(
    answered: Sequence[tuple[tuple[Message, ...], StoredResponse]],
    box: WhiteBox,
    probe: Probe,
    rule: courses.Rule | None = None,
) -> list[CliffTrace | NoTrace]:
    """As `traced`, of messages with the response to each; the probe is the model's."""
    along = (Direction(probe.about.layer, probe.weight, probe.bias),)
    made: list[CliffTrace | NoTrace] = []
    for part in parts(answered):
        requests = [
            ProjectionRequest(str(n), messages, response, along)
            for n, (messages, response) in enumerate(part)
        ]
        for seen in await box.project(requests):
            if isinstance(seen, Failure):
                made.append(NoTrace(probe.name, probe.version, reason_of(seen)))
                continue
            found = courses.course(seen.values[0], seen.n_thinking, rule)
            if isinstance(found, courses.NoCourse):
                made.append(NoTrace(probe.name, probe.version, found.reason))
            else:
                made.append(as_trace(found, probe))
    return made


def as_trace(found: courses.Course, probe: Probe) -> CliffTrace:
    """A course as it is stored."""
    return CliffTrace(
        probe.name,
        probe.version,
        found.scores.astype("<f4").tobytes(),
        found.n_thinking,
        found.plateau,
        found.plateau_top,
        found.final,
        found.kind,
        found.position,
    )


async def trace_run(
    url: str, run: str, box: WhiteBox, probe: Probe, done: Callable[[int], None] = lambda n: None
) -> dict[str, int]:
    """Trace the samples of a run that this probe has not met, and store what came of it, part by part:
    stopped and begun again, nothing is traced twice. How many of each kind, how many had no trace, and
    how many are of another target.

    Raises:
        ConfigError: no such run, or the probe is of another model.
        StoreError: the database cannot be written.
    """
    import db
    from db import traces

    probe.require(box.description, n_layers=box.n_layers, width=box.width)
    own = box.description
    counts: Counter[str] = Counter({kind.value: 0 for kind in CliffKind})
    with contextlib.closing(db.open(url)) as store:
        targets = traces.targets_under(store, own.revision, own.template, own.adapter)
        for part in traces.waiting(store, run, probe.name, probe.version, BATCH):
            mine = [each for each in part if each.key[0] in targets]
            items = [
                Item(
                    t.prompt, StoredResponse(t.reasoning, t.response), system_prompt=t.system_prompt
                )
                for t in mine
            ]
            found = await traced(items, box, probe)
            traces.record(store, [(t.key, f) for t, f in zip(mine, found, strict=True)])
            for trace in found:
                counts[trace.kind.value if isinstance(trace, CliffTrace) else "no trace"] += 1
            counts["of another target"] += len(part) - len(mine)
            done(len(part))
    return dict(counts)


# Heads


async def heads_of(
    items: Sequence[Item], box: WhiteBox, probe: Probe
) -> tuple[HeadMap, Counter[str]]:
    """The mean contribution of every head to the probe's direction before the answer; and what could
    not be read.

    Raises:
        ConfigError: the probe is of another model, or nothing could be read.
    """
    probe.require(box.description, n_layers=box.n_layers, width=box.width)
    without: Counter[str] = Counter()
    found = []
    for part in parts(items):
        requests = [
            HeadsRequest(str(n), i.messages, probe.weight, Place.BEFORE_ANSWER, i.response)
            for n, i in enumerate(part)
        ]
        for seen in await box.heads(requests):
            if isinstance(seen, Failure):
                without[reason_of(seen)] += 1
            else:
                found.append(seen.values)
    if not found:
        raise ConfigError(f"FILE: no item could be read: {dict(without)}")
    return head_map(found), without


@dataclass(frozen=True, slots=True)
class Effect:
    """What a model does: shares of harmful and of harmless items refused (None: there are none), and its
    perplexity on plain text (None: none was given)."""

    refusal: float | None
    over_refusal: float | None
    perplexity: float | None
    n: int
    without: Mapping[str, int]


async def effect_of(
    heads: Sequence[Head],
    items: Sequence[Item],
    texts: Sequence[str],
    box: WhiteBox,
    judge: Judge,
    *,
    max_tokens: int,
) -> Effect:
    """The same with these heads taken out (none: the model as it is); every item is answered anew."""
    out = tuple(ScaleHead(h.layer, h.head, 0.0) for h in heads)
    kept, without = await answered(
        items, box, judge, max_tokens=max_tokens, interventions=out, anew=True
    )
    perplexity = None
    if texts:
        told = await box.logprobs(texts, out)
        for failed in (x for x in told if isinstance(x, Failure)):
            without[f"plain text: {reason_of(failed)}"] += 1
        logprobs = [x for x in told if not isinstance(x, Failure)]
        n = sum(x.n_tokens for x in logprobs)
        perplexity = float(np.exp(-sum(x.logprob_sum for x in logprobs) / n)) if n else None
    return Effect(
        _share([i for i in kept if i.harmful is True]),
        _share([i for i in kept if i.harmful is False]),
        perplexity,
        len(kept),
        dict(without),
    )


def _share(items: Sequence[Item]) -> float | None:
    return sum(bool(i.refused) for i in items) / len(items) if items else None


def parts(items: Sequence[_T], size: int = BATCH) -> Iterator[Sequence[_T]]:
    return (items[i : i + size] for i in range(0, len(items), size))
