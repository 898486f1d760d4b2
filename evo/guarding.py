"""Latent guards out of files and into the record: an edge between white box, store and fitness."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evo.cliffs import parts
from evo.config import EngineConfig
from evo.files import column, rows, truth
from fitness.safety import latent_guard, linear_guard
from fitness.safety.latent_guard import Guard, Kind
from fitness.safety.linear_guard import SAFE_SIDE, Quality
from fitness.types import Signature, Signed
from workers.interface import ConfigError, Failure, WhiteBox

CONTRAST = "contrast_prompts.csv"
_PORTIONS = 5


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prompt, whether it is harmful, whether the model refused it (None: nobody asked), its topic."""

    prompt: str
    harmful: bool
    refused: bool | None
    topic: str | None = None


def labelled(
    path: Path, prompt: str, harmful: str, refused: str, topic: str = "topic"
) -> list[Labelled]:
    """The rows of a user's file; the last four name its columns. The topic need not be there.

    Raises:
        ConfigError: it cannot be read, lacks a column, or a label is neither true nor false.
    """
    found = []
    for place, row in rows(path, "FILE"):
        text = column(row, prompt, "FILE", place)
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"FILE: {place}: '{prompt}' is no text")
        labels = []
        for name in (harmful, refused):
            column(row, name, "FILE", place)
            label = truth(row, name, "FILE", place)
            if label is None:
                raise ConfigError(f"FILE: {place}: '{name}' is empty; write true or false")
            labels.append(label)
        named = str(row.get(topic) or "").strip() or None
        found.append(Labelled(text, labels[0], labels[1], named))
    return found


def contrast_prompts() -> list[Labelled]:
    """Harmful and harmless prompts of like words, which come with evocliff; what a model does with them
    nobody asked, and they are of no topic."""
    path = resources.files("fitness.safety") / "artifacts" / CONTRAST
    lines = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return [Labelled(row["prompt"], row["harmful"] == "true", None) for row in lines]


async def fitted(
    data: Sequence[Labelled], box: WhiteBox, kind: Kind, safe_side: float = SAFE_SIDE
) -> tuple[Guard, Quality | None]:
    """A guard over every layer but the embeddings, of one prefill a prompt, and how well a linear one does
    on topics that it has not seen. Where no prompt has a topic, portions of the prompts stand for them.

    Raises:
        ConfigError: too few prompts of a group, or one that cannot be read.
    """
    if not data:
        raise ConfigError("FILE: holds no row")
    layers = tuple(range(1, box.n_layers + 1))
    known = list(data) if kind is Kind.LINEAR else [d for d in data if d.refused is not None]
    states = await _states(known, box, layers)
    harmful = np.array([d.harmful for d in known])
    if kind is not Kind.LINEAR:
        refused = [bool(d.refused) for d in known]
        about = box.description
        made = latent_guard.fit(
            states, harmful, refused, kind=kind, description=about, layers=layers
        )
        return made, None
    topics = [d.topic for d in known]
    if not any(topics):
        topics = [
            None if d.refused is None else f"portion {n % _PORTIONS}" for n, d in enumerate(known)
        ]
    read = linear_guard.Labelled(states, harmful, [d.refused for d in known], topics)
    return linear_guard.fit(read, box.description, layers, safe_side=safe_side)


async def _states(
    data: Sequence[Labelled], box: WhiteBox, layers: tuple[int, ...]
) -> NDArray[np.float32]:
    """(n, layers, 2, width)."""
    states: list[NDArray[np.float32]] = []
    for part in parts(data):
        for item, state in zip(
            part, await latent_guard.read(box, [d.prompt for d in part], layers, None), strict=True
        ):
            if isinstance(state, Failure):
                raise ConfigError(f"FILE: {item.prompt[:60]!r}: {state.kind}: {state.message}")
            states.append(state)
    return np.stack(states)


def look_into(model: str, adapter: str | None, device: str) -> WhiteBox:
    """Raises ConfigError: the model cannot be loaded or looked into."""
    from evo.looking import white_box

    return white_box(EngineConfig(model=model, adapter=adapter, device=device))


async def sign_run(path: Path, run: str, url: str, device: str) -> dict[str, int]:
    """Store the signatures of a run's evaluated prompts by their refusal rates; how many of each kind,
    and how many had none. What is stored is renewed.

    Raises:
        ConfigError: no such run or guard, or the run asked no target that the guard was fitted on.
        StoreError: the database cannot be written.
    """
    import db
    from db import traces
    from db.query import Query

    guard = latent_guard.load(path)
    counts = {**{s.value: 0 for s in Signature}, "none": 0}
    with contextlib.closing(db.open(url)) as store:
        targets = traces.targets_of(
            store, guard.revision, guard.template, guard.adapter, guard.system_prompt
        )
        threshold = traces.threshold_of(store, run)
        found = [r for r in Query(store).where(run=run).iterate() if r["target"] in targets]
        if not found:
            raise ConfigError(
                f"--run {run}: asked no target that {path} was fitted on ('{guard.model}' with the "
                "same template and system prompt); fit a guard on its target"
            )
        box = look_into(guard.model, guard.adapter, device)
        try:
            guard.require(box.description)
            for part in parts(found):
                signed = await latent_guard.sign(
                    guard,
                    box,
                    [row["prompt"] for row in part],
                    [row["refusal_rate"] for row in part],
                    name=latent_guard.NAME,
                    threshold=threshold,
                )
                kept = [
                    (row["target"], row["prompt_id"], each)
                    for row, each in zip(part, signed, strict=True)
                    if isinstance(each, Signed)
                ]
                traces.record_signatures(store, kept)
                for _, _, each in kept:
                    counts[each.signature.value] += 1
                counts["none"] += len(part) - len(kept)
        finally:
            await box.close()
    return counts
