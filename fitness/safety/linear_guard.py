"""A latent guard by regression: one plane between harmful and harmless states, one between refused and
answered ones. Pure numpy.

    Delta_harmful = w.h^l + b at t_inst, of the layer l that tells best on topics that were left out

Centroids show little of the harm that a small model's states hold: the mean of few types is mostly of their
topics. The line is drawn for triage, on scores by fits that left the prompt's topic out: in every topic
`SAFE_SIDE` of the harmless prompts that the model refuses lie below it, for these are what a search is
after and what a guard must not call harmful (of all harmless prompts, where fewer than `LEAST` were
refused). The topic that needs the highest line decides, since a prompt of a new topic may be as far off.
Prompts without a topic are learned from and never measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.cliff.training import auroc
from fitness.cliff.training import fit as regression
from fitness.directions import Plane
from fitness.safety.latent_guard import LEAST, Guard, Kind
from workers.interface import ConfigError, EngineDescription

L2 = 0.1
SAFE_SIDE = 0.9
_MOST_FOLDS = 8
_FEWEST_TOPICS = 3
# Layers below a quarter of the depth hold words rather than thoughts; every third of the others is enough.
_FROM, _EVERY = 0.25, 3

_Mask = NDArray[np.bool_]
_Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """States (n, layers, 2, width) at `latent_guard.PLACES` and what is known of each prompt: whether it
    is harmful; whether it was refused, None where nobody asked; its topic, None: learned from alone."""

    states: NDArray[np.float32]
    harmful: _Mask
    refused: Sequence[bool | None]
    topics: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Quality:
    """Of the chosen layer, each prompt scored by a fit on other topics: AUROC of harmful against
    harmless, and the shares on their own sides of the line, of over-refused prompts (None: too few)
    and of harmful ones. The line was drawn on these over-refused prompts."""

    layer: int
    auroc: float
    over_refused_harmless_side: float | None
    harmful_harmful_side: float


def fit(
    data: Labelled,
    description: EngineDescription,
    layers: Sequence[int],
    *,
    system_prompt: str | None = None,
    safe_side: float = SAFE_SIDE,
) -> tuple[Guard, Quality]:
    """A guard, and how well it does on topics that it did not see. `layers` names the layers of the states.

    Raises:
        ConfigError: fewer than `LEAST` prompts of a group, or fewer than three topics.
    """
    harmful, known = data.harmful, np.array([r is not None for r in data.refused])
    refused = np.array([bool(r) for r in data.refused])
    measured = np.array([t is not None for t in data.topics])
    over = measured & known & refused & ~harmful
    groups = {
        "harmful": harmful & measured,
        "harmless": ~harmful & measured,
        "refused": known & refused,
        "answered": known & ~refused,
    }
    for name, group in groups.items():
        if group.sum() < LEAST:
            raise ConfigError(
                f"a linear guard needs {LEAST} {name} prompts or more, got {group.sum()}; give it more data"
            )
    folds = _folds(data.topics, harmful)
    tried: list[tuple[float, int, _Reals]] = []
    for place in _candidates(len(layers)):
        rows = data.states[:, place, 0].astype(np.float64)
        scores = left_out_scores(rows, harmful, folds)
        told = auroc(harmful[measured], scores[measured], np.ones(int(measured.sum())))
        tried.append((told, place, scores))
    found, place, scores = max(tried, key=lambda each: each[0])
    has_over = over.sum() >= LEAST
    line = _line(scores, over if has_over else measured & ~harmful, data.topics, safe_side)
    harm = _plane(data.states[:, place, 0], harmful, np.ones(len(harmful), bool), line)
    refusal = _plane(data.states[:, place, 1], refused, known, 0.0)
    guard = Guard(
        Kind.LINEAR,
        description.model,
        description.revision,
        description.adapter,
        description.template,
        system_prompt,
        (layers[place],),
        harm,
        refusal,
    )
    return guard, Quality(
        layers[place],
        found,
        float((scores < line)[over].mean()) if has_over else None,
        float((scores >= line)[harmful & measured].mean()),
    )


def left_out_scores(states: _Reals, harmful: _Mask, folds: Sequence[_Mask]) -> _Reals:
    """Odds of harm of states (n, width), each by a fit on all but its own fold: (n,); 0 outside of folds."""
    scores = np.zeros(len(states))
    for out in folds:
        weight, bias = regression(states[~out], harmful[~out], np.ones(int((~out).sum())), L2)
        scores[out] = states[out] @ weight + bias
    return scores


def _line(scores: _Reals, harmless: _Mask, topics: Sequence[str | None], safe_side: float) -> float:
    """Below which `safe_side` of these harmless prompts lie, in each topic that has `LEAST` of them."""
    named = np.array([t or "" for t in topics])
    groups = [harmless & (named == topic) for topic in sorted(set(named[harmless]))]
    large = [group for group in groups if group.sum() >= LEAST] or [harmless]
    return max(float(np.quantile(scores[group], safe_side)) for group in large)


def _plane(states: NDArray[np.float32], first: _Mask, known: _Mask, line: float) -> Plane:
    rows = states[known].astype(np.float64)
    weight, bias = regression(rows, first[known], np.ones(len(rows)), L2)
    return Plane(weight[None, :], bias - line)


def _candidates(n_layers: int) -> list[int]:
    """Places among the layers.

    >>> _candidates(30)
    [8, 11, 14, 17, 20, 23, 26, 29]
    >>> _candidates(2)
    [1]
    """
    return list(range(n_layers - 1, int(_FROM * n_layers) - 1, -_EVERY))[::-1]


def _folds(topics: Sequence[str | None], harmful: _Mask) -> list[_Mask]:
    """Topics in portions that are left out together; what stays always holds both sides."""
    named = sorted({t for t in topics if t is not None})
    if len(named) < _FEWEST_TOPICS:
        raise ConfigError(
            f"a linear guard needs prompts of at least {_FEWEST_TOPICS} topics, to be measured on those that "
            f"it has not seen, got {len(named)}; name their column with --topic-col"
        )
    n = min(_MOST_FOLDS, len(named))
    at = np.array([-1 if t is None else named.index(t) % n for t in topics])
    folds = [at == fold for fold in range(n)]
    if any(len(set(harmful[~out])) < 2 for out in folds):
        raise ConfigError("a linear guard needs harmful and harmless prompts of several topics")
    return folds
