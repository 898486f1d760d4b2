"""How far raters agree beyond chance. A rater is a person, a judge or a gate."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Raters over the `n` things that all of them labelled (for alpha: at least two of them).

    same   share with the same label, in [0, 1]; None for more than two raters
    kappa  Cohen's kappa, in [-1, 1]; None for more than two raters, or where both always said the same one label
    alpha  Krippendorff's alpha, nominal, at most 1; None where only one label was ever given
    """

    raters: tuple[str, ...]
    n: int
    same: float | None
    kappa: float | None
    alpha: float | None


def agreements(labels: Mapping[str, Mapping[Thing, str]]) -> list[Agreement]:
    """Of each pair of raters with something in common, and of all people together when they are
    three or more. `labels`: rater -> thing -> label; things of two kinds never meet.

    >>> agreements({"a": {1: "x", 2: "y"}, "b": {1: "x", 2: "y", 3: "y"}})[0].kappa
    1.0
    """
    found = []
    for pair in combinations(sorted(labels), 2):
        common = sorted(set(labels[pair[0]]) & set(labels[pair[1]]), key=repr)
        if common:
            found.append(_pair(pair, [[labels[r][thing] for thing in common] for r in pair]))
    people = tuple(rater for rater in sorted(labels) if rater.startswith("human:"))
    if len(people) > 2:
        shared = [t for t in _things(labels, people) if sum(t in labels[r] for r in people) > 1]
        if shared:
            said = [[labels[r].get(thing) for thing in shared] for r in people]
            found.append(Agreement(people, len(shared), None, None, _alpha(said)))
    return found


def _things(labels: Mapping[str, Mapping[Thing, str]], raters: tuple[str, ...]) -> list[Thing]:
    return sorted({thing for r in raters for thing in labels[r]}, key=repr)


def _pair(raters: tuple[str, ...], said: list[list[str]]) -> Agreement:
    from sklearn.metrics import cohen_kappa_score

    first, second = said
    same = sum(a == b for a, b in zip(first, second, strict=True)) / len(first)
    kappa = None if len({*first, *second}) < 2 else float(cohen_kappa_score(first, second))
    return Agreement(raters, len(first), same, kappa, _alpha([list(row) for row in said]))


def _alpha(said: list[list[str | None]] | list[list[str]]) -> float | None:
    """Krippendorff's alpha; None marks what a rater did not label."""
    import krippendorff
    import numpy as np

    values = sorted({label for row in said for label in row if label is not None})
    if len(values) < 2:
        return None
    place = {label: float(i) for i, label in enumerate(values)}
    data = np.array(
        [[place.get(label, np.nan) if label else np.nan for label in row] for row in said]
    )
    return float(krippendorff.alpha(reliability_data=data, level_of_measurement="nominal"))
