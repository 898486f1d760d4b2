"""How a refusal probe is made: a logistic regression per layer with the topic controlled. Pure numpy.

The paper's probe sees refused harmful requests against answered chat, so it may learn the topic. Here

- items are weighed within their cell, (topic, harmful): the side that is rarer in it counts 1 an item, the
  other as much in sum; a cell with one side alone says nothing and counts 0. So of what a topic or its harm
  tells nothing is left to learn: harmful requests that were answered and harmless ones that were refused
  are what the probe learns from;
- some topics are set aside for the figure that is reported, and the layer is chosen by leaving the other
  topics out one portion at a time.

    min over w, b of  sum_i c_i H(y_i, sigmoid(w.z_i + b)) / sum_i c_i + (L2 / 2) |w|^2

with z the states standardised by the (weighted) mean and spread of training, folded into w and b at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.cliff.course import sigmoid
from fitness.cliff.probe import About, LayerQuality, Probe
from fitness.descent import minimum
from workers.interface import ConfigError, EngineDescription

L2 = 0.03
_FOLDS = 5
_HELD_OUT_SHARE = 0.25  # of the topics that have both sides
_FEWEST_TOPICS = 3
_MOST_STEPS, _TOLERANCE = 300, 1e-5

_Mask = NDArray[np.bool_]
_Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """States (n, layers, width) before the answer; `layers` says which layers, in order. `refused` (n,)
    what the target then did, `harmful` (n,) and `topics` (n,) what was asked."""

    states: NDArray[np.float32]
    layers: tuple[int, ...]
    refused: _Mask
    harmful: _Mask
    topics: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.topics)
        if self.states.ndim != 3 or self.states.shape[:2] != (n, len(self.layers)):
            raise ValueError(f"states {self.states.shape} for {n} items, {len(self.layers)} layers")
        if self.refused.shape != (n,) or self.harmful.shape != (n,):
            raise ValueError(f"{n} topics need as many labels")
        if not np.isfinite(self.states).all():
            raise ValueError("a hidden state is not finite")


def cell_weights(refused: _Mask, harmful: _Mask, topics: Sequence[str]) -> _Reals:
    """What each item counts, (n,), in [0, 1].

    >>> cell_weights(np.array([True, False, False, True]), np.zeros(4, bool), ["a", "a", "a", "b"]).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    cells: dict[tuple[str, bool], list[int]] = {}
    for i, topic in enumerate(topics):
        cells.setdefault((topic, bool(harmful[i])), []).append(i)
    weights = np.zeros(len(topics))
    for members in cells.values():
        cell = np.array(members)
        n_refused = int(refused[cell].sum())
        n_answered = len(cell) - n_refused
        smaller = min(n_refused, n_answered)
        if smaller:
            weights[cell] = np.where(refused[cell], smaller / n_refused, smaller / n_answered)
    return weights


def train(
    data: Labelled,
    description: EngineDescription,
    *,
    n_layers: int,
    seed: int = 0,
    layer: int | None = None,
    l2: float = L2,
) -> Probe:
    """The probe of the layer that does best on topics that it was not trained on, or of `layer`.

    `n_layers` counts the model's; the data may hold fewer. The seed says which topics are set aside.

    Raises:
        ConfigError: fewer than three topics in which some items were refused and others answered.
    """
    weights = cell_weights(data.refused, data.harmful, data.topics)
    held_out, folds = _sides(data.topics, weights, seed)
    topics = np.array(data.topics, dtype=object)
    aside = np.isin(topics, list(held_out)) & (weights > 0)
    learning = ~np.isin(topics, list(held_out)) & (weights > 0)
    places = range(len(data.layers)) if layer is None else [_place(data.layers, layer)]
    measured: list[LayerQuality] = []
    fits: list[tuple[_Reals, float]] = []
    for place in places:
        states = data.states[:, place].astype(np.float64)  # (n, width)
        guesses = np.zeros(len(topics))
        for fold in folds:
            out = np.isin(topics, list(fold)) & learning
            weight, bias = fit(*_rows(states, data.refused, weights, learning & ~out), l2)
            guesses[out] = states[out] @ weight + bias
        weight, bias = fit(*_rows(states, data.refused, weights, learning), l2)
        fits.append((weight, bias))
        found = (data.refused[learning], guesses[learning], weights[learning])
        asked = (data.refused[aside], states[aside] @ weight + bias, weights[aside])
        measured.append(
            LayerQuality(data.layers[place], auroc(*found), _loss(*found), auroc(*asked))
        )
    best = min(range(len(measured)), key=lambda i: (-round(measured[i].auroc, 3), measured[i].loss))
    about = About.of(
        description, n_layers=n_layers, width=data.states.shape[2], layer=measured[best].layer
    )
    weight, bias = fits[best]
    return Probe(
        about, weight.astype(np.float32), float(np.float32(bias)), tuple(measured), held_out
    )


def fit(states: _Reals, refused: _Mask, weights: _Reals, l2: float = L2) -> tuple[_Reals, float]:
    """w (width,) and b of raw states (n, width); `weights` (n,) say what each item counts.

    Raises:
        ValueError: all items that count are on one side.
    """
    share = weights / weights.sum()
    if not 0.0 < share @ refused < 1.0:
        raise ValueError("a probe needs refused and answered items")
    mean = share @ states
    spread = np.sqrt(share @ (states - mean) ** 2)
    spread = np.where(spread > 1e-6 * max(1e-12, float(spread.max())), spread, np.inf)
    z = (states - mean) / spread  # a component that does not vary says nothing
    y = refused.astype(np.float64)

    def slope_at(beta: _Reals) -> tuple[float, _Reals]:
        w, b = beta[:-1], beta[-1]
        odds = z @ w + b
        wrong = share * (sigmoid(odds) - y)
        loss = float(share @ (np.logaddexp(0.0, odds) - y * odds) + l2 / 2 * (w @ w))
        return loss, np.append(wrong @ z + l2 * w, wrong.sum())

    best = minimum(slope_at, np.zeros(z.shape[1] + 1), _TOLERANCE, _MOST_STEPS)
    weight = best[:-1] / spread
    return weight, float(best[-1] - mean @ weight)


def auroc(refused: _Mask, odds: _Reals, weights: _Reals) -> float:
    """The weighted chance that a refused item is above an answered one, ties counting half.

    >>> auroc(np.array([True, False, True]), np.array([1.0, 0.0, 0.0]), np.ones(3))
    0.75
    """
    order = np.argsort(odds, kind="stable")
    values, y, w = odds[order], refused[order], weights[order]
    _, tie = np.unique(values, return_inverse=True)
    answered = np.bincount(tie, weights=np.where(y, 0.0, w))
    of_refused = np.bincount(tie, weights=np.where(y, w, 0.0))
    below = np.cumsum(answered) - answered
    total = float(answered.sum() * of_refused.sum())
    if not total:
        raise ValueError("an AUROC needs refused and answered items")
    return float(of_refused @ (below + answered / 2)) / total


def _loss(refused: _Mask, odds: _Reals, weights: _Reals) -> float:
    cross = np.logaddexp(0.0, odds) - refused * odds
    return float(weights @ cross / weights.sum())


def _rows(
    states: _Reals, refused: _Mask, weights: _Reals, which: _Mask
) -> tuple[_Reals, _Mask, _Reals]:
    return states[which], refused[which], weights[which]


def _place(layers: tuple[int, ...], layer: int) -> int:
    if layer not in layers:
        raise ConfigError(f"--layer {layer}: not one of {layers[0]} to {layers[-1]}")
    return layers.index(layer)


def _sides(
    topics: Sequence[str], weights: _Reals, seed: int
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Topics set aside, and the others in portions; only of topics that have both sides."""
    both = sorted({topic for topic, weight in zip(topics, weights, strict=True) if weight > 0})
    if len(both) < _FEWEST_TOPICS:
        raise ConfigError(
            f"a probe needs at least {_FEWEST_TOPICS} topics in each of which some requests that are "
            f"alike in harm were refused and others answered, and there are {len(both)}; add harmful "
            "requests that were answered and harmless ones that were refused"
        )
    shuffled = [both[i] for i in np.random.default_rng(seed).permutation(len(both))]
    n_aside = max(1, min(len(both) - 2, round(_HELD_OUT_SHARE * len(both))))
    rest = shuffled[n_aside:]
    n_folds = min(_FOLDS, len(rest))
    return tuple(sorted(shuffled[:n_aside])), [tuple(rest[i::n_folds]) for i in range(n_folds)]
