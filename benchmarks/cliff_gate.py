"""The latent guard on the over-cautious organism: XSTest's types left out one after another.

A type and its contrasts leave together (the four discriminating and private types by their family), so
a guard has seen neither side of what it judges. Beside the guard a logistic regression on the same states
says how much of the harm could be read at all.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo import cliffs
from evo.cliffs import Item
from evo.config import EngineConfig
from evo.looking import white_box
from fitness import directions, judges
from fitness.cliff.training import auroc, fit
from fitness.safety import latent_guard
from workers.interface import Failure

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
    every = tuple(range(1, box.n_layers + 1))
    read = await latent_guard.read(box, [i.prompt for i in ready], every, None)
    states = np.stack([s for s in read if not isinstance(s, Failure)])  # (n, layers, 2, width)
    if len(states) != len(ready):
        raise SystemExit("a prompt could not be read")
    harmful = np.array([bool(i.harmful) for i in ready])
    refused = np.array([bool(i.refused) for i in ready])
    kinds = np.array([family(i.row["type"]) for i in ready])
    tried = {
        f"{kind.value}, {name} layers": left_out(
            states[:, list(np.array(layers) - 1), 0], harmful, refused, kinds, kind
        )
        for kind in latent_guard.Kind
        for name, layers in LAYERS.items()
    }
    tried["logistic regression, layer 20"] = left_out_regression(states[:, 19, 0], harmful, kinds)
    result: dict[str, Any] = {
        "n": len(ready),
        "over_refused": int((refused & ~harmful).sum()),
        "families": len(set(kinds.tolist())),
    }
    for name, scores in tried.items():
        result[name] = {
            "auroc": round(auroc(harmful, scores, np.ones(len(scores))), 3),
            "over_refused_harmless_side": round(float((scores < 0)[refused & ~harmful].mean()), 3),
            "harmful_harmful_side": round(float((scores >= 0)[harmful].mean()), 3),
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


def left_out_regression(states: NDArray[np.float32], harmful: _Mask, kinds: Any) -> _Reals:
    """Logits of harm of states (n, width), each by a fit on the other families: (n,)."""
    scores = np.zeros(len(states))
    rows = states.astype(np.float64)
    for out in np.unique(kinds):
        learning = kinds != out
        weight, bias = fit(rows[learning], harmful[learning], np.ones(int(learning.sum())))
        scores[~learning] = rows[~learning] @ weight + bias
    return scores
