"""How good a judge or gate is against human labels. What it could not score is counted, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures over the rows that were scored; `n` counts all rows, `unscored` those that were not.

    accuracy, f1   at a probability of 0.5; f1 of the positive class
    auroc, auprc   None where the labels are all alike
    ece            expected calibration error, ten bins of equal width
    All are in [0, 1], and None where nothing was scored.
    """

    n: int
    unscored: int
    accuracy: float | None
    f1: float | None
    auroc: float | None
    auprc: float | None
    ece: float | None


def quality(probabilities: Sequence[float | None], labels: Sequence[bool]) -> Quality:
    """Compare probabilities with labels, in the same order. ValueError where the lengths differ.

    >>> quality([0.9, 0.2, None], [True, False, True]).accuracy
    1.0
    """
    scored = [(p, y) for p, y in zip(probabilities, labels, strict=True) if p is not None]
    n, unscored = len(labels), len(labels) - len(scored)
    if not scored:
        return Quality(n, unscored, None, None, None, None, None)
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    p = np.array([p for p, _ in scored])
    y = np.array([y for _, y in scored])
    both = bool(y.any() and not y.all())
    return Quality(
        n=n,
        unscored=unscored,
        accuracy=float(((p >= 0.5) == y).mean()),
        f1=float(f1_score(y, p >= 0.5, zero_division=0.0)),
        auroc=float(roc_auc_score(y, p)) if both else None,
        auprc=float(average_precision_score(y, p)) if both else None,
        ece=ece(p, y),
    )


def ece(p: NDArray[np.float64], labels: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over bins of equal width (Guo et al., 2017, Eq. 3), in [0, 1]."""
    place = np.minimum((p * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(p[place == b].mean() - labels[place == b].mean()) * (place == b).mean()
            for b in range(bins)
            if (place == b).any()
        )
    )
