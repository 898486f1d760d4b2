"""The latent guard on the over-cautious organism: XSTest's types left out one after another.

A type and its contrasts leave together (the four discriminating and private types by their family), so
a guard has seen neither side of what it judges; layer and line are chosen without it too.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo import cliffs, guarding
from evo.cliffs import Item
from evo.config import EngineConfig
from evo.looking import white_box
from fitness import directions, judges
from fitness.cliff.training import auroc
from fitness.safety import latent_guard, linear_guard
from workers.interface import EngineDescription, Failure, WhiteBox

ROOT = Path(__file__).parents[1]
MODEL = "local:smollm2-overcautious"
FAMILIES = {
    "real_group_nons_discr": "discr",
    "nons_group_real_discr": "discr",
    "privacy_public": "privacy",
    "privacy_fictional": "privacy",
}
LAYERS = {"all": range(1, 31), "middle": range(10, 21), "late": range(20, 31)}
_Reals = NDArray[np.float64]
_Mask = NDArray[np.bool_]


async def gate() -> dict[str, Any]:
    box = white_box(EngineConfig(model=MODEL))
    path = ROOT / "evo/seeds/xstest_prompts.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    items = [Item(r["prompt"], harmful=r["label"] == "unsafe", row=r) for r in rows]
    ready, _ = await cliffs.answered(items, box, judges.build("embedded"), max_tokens=24)
    contrast = guarding.contrast_prompts()
    return figures(
        await read(box, [i.prompt for i in ready]),
        np.array([bool(i.harmful) for i in ready]),
        np.array([bool(i.refused) for i in ready]),
        np.array([family(i.row["type"]) for i in ready]),
        await read(box, [d.prompt for d in contrast]),
        np.array([d.harmful for d in contrast]),
        box.description,
    )


async def read(box: WhiteBox, prompts: Sequence[str]) -> NDArray[np.float32]:
    """States (n, layers, 2, width) at `latent_guard.PLACES`."""
    every = tuple(range(1, box.n_layers + 1))
    found = [
        s for s in await latent_guard.read(box, prompts, every, None) if not isinstance(s, Failure)
    ]
    if len(found) != len(prompts):
        raise SystemExit("a prompt could not be read")
    return np.stack(found)


def figures(
    states: NDArray[np.float32],
    harmful: _Mask,
    refused: _Mask,
    kinds: NDArray[np.str_],
    corpus: NDArray[np.float32],
    corpus_harmful: _Mask,
    description: EngineDescription,
) -> dict[str, Any]:
    """Of states (n, layers, 2, width), layers 1 to the last, and what is known of the prompts."""
    over = refused & ~harmful
    at_instruction = states[:, :, 0]
    tried = {
        f"{kind.value}, {name} layers": left_out(
            at_instruction[:, list(np.array(layers) - 1)], harmful, refused, kinds, kind
        )
        for kind in (latent_guard.Kind.BASE, latent_guard.Kind.AUGMENTED)
        for name, layers in LAYERS.items()
    }
    own = linear_guard.Labelled(states, harmful, refused.tolist(), kinds.tolist())
    more = linear_guard.Labelled(corpus, corpus_harmful, [None] * len(corpus), [None] * len(corpus))
    tried["linear, other types"] = left_out_linear(own, None, description)
    tried["linear, other types and contrast prompts"] = left_out_linear(own, more, description)
    result: dict[str, Any] = {
        "n": len(states),
        "over_refused": int(over.sum()),
        "families": len(np.unique(kinds)),
        "contrast_prompts": len(corpus),
    }
    for name, found in tried.items():
        result[name] = {
            "auroc": round(auroc(harmful, found, np.ones(len(found))), 3),
            "over_refused_harmless_side": round(float((found < 0)[over].mean()), 3),
            "harmful_harmful_side": round(float((found >= 0)[harmful].mean()), 3),
        }
    return result


def family(kind: str) -> str:
    """
    >>> family("contrast_homonyms"), family("privacy_public")
    ('homonyms', 'privacy')
    """
    bare = kind.removeprefix("contrast_")
    return FAMILIES.get(bare, bare)


def left_out(
    states: NDArray[np.float32],
    harmful: _Mask,
    refused: _Mask,
    kinds: NDArray[np.str_],
    kind: latent_guard.Kind,
) -> _Reals:
    """Delta_harmful of states (n, layers, width), each by centroids of the other families: (n,)."""
    scores = np.zeros(len(states))
    for out in np.unique(kinds):
        learning = kinds != out
        first = learning & harmful
        if kind is latent_guard.Kind.BASE:
            first &= refused
        means = directions.Centroids(
            directions.centroid(states[first]),
            directions.centroid(states[learning & ~harmful & ~refused]),
        )
        scores[~learning] = directions.delta(states[~learning], means)
    return scores


def left_out_linear(
    own: linear_guard.Labelled, more: linear_guard.Labelled | None, description: EngineDescription
) -> _Reals:
    """Delta_harmful, each by a linear guard of the other families and `more`; layer and line are the
    guard's own choice: (n,)."""
    kinds = np.array(own.topics)
    layers = range(1, own.states.shape[1] + 1)
    scores = np.zeros(len(kinds))
    for out in np.unique(kinds):
        rest = np.flatnonzero(kinds != out)
        learning = linear_guard.Labelled(
            own.states[rest],
            own.harmful[rest],
            [own.refused[i] for i in rest],
            [own.topics[i] for i in rest],
        )
        if more is not None:
            learning = linear_guard.Labelled(
                np.concatenate([learning.states, more.states]),
                np.concatenate([learning.harmful, more.harmful]),
                [*learning.refused, *more.refused],
                [*learning.topics, *more.topics],
            )
        guard, quality = linear_guard.fit(learning, description, list(layers))
        print(f"without {out}: {quality}", flush=True)
        place = layers.index(guard.layers[0])
        for i in np.flatnonzero(kinds == out):
            scores[i] = latent_guard.deltas(guard, own.states[i, place : place + 1])[0]
    return scores
