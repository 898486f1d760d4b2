"""How much more, or less, one target refuses on one surface than on another: paired, prompt by prompt. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Gap:
    """`points`: mean refusal rate of the second minus that of the first, over the `n` prompts that both
    have a verdict on; `low`, `high`: its 95 % bootstrap interval over prompts. None: there is no such prompt.
    `only_first`, `only_second`: prompts that one alone refuses (rate from 0.5 on)."""

    n: int
    first: float | None
    second: float | None
    points: float | None
    low: float | None
    high: float | None
    only_first: int = 0
    only_second: int = 0


def gap(
    first: Mapping[str, float | None], second: Mapping[str, float | None], seed: int = 0
) -> Gap:
    """Of refusal rates by prompt; None: no verdict.

    >>> found = gap({"a": 1.0, "b": 1.0, "c": 0.0}, {"a": 0.0, "b": 1.0, "c": None})
    >>> found.n, found.points, found.only_first
    (2, -0.5, 1)
    """
    pairs = [
        (a, b)
        for prompt, a in first.items()
        if a is not None and (b := second.get(prompt)) is not None
    ]
    if not pairs:
        return Gap(0, None, None, None, None, None)
    rates = np.array(pairs)
    differences = rates[:, 1] - rates[:, 0]
    picks = np.random.default_rng(seed).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    low, high = np.quantile(differences[picks].mean(axis=1), [0.025, 0.975])
    refused = rates >= 0.5
    return Gap(
        len(pairs),
        float(rates[:, 0].mean()),
        float(rates[:, 1].mean()),
        float(differences.mean()),
        float(low),
        float(high),
        int((refused[:, 0] & ~refused[:, 1]).sum()),
        int((~refused[:, 0] & refused[:, 1]).sum()),
    )
