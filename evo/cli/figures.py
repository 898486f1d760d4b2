"""How a search does, in words: screening, racing, strategies, diversity. Pure; for the live view and `show`.

Knows counts and the openers of a target; where they come from, a running loop or the store, it does
not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_TOKENS_SHOWN = 6
_ARMS_SHOWN = 3
COLLAPSED = "collapsed: more seeds and rare cells until it has recovered"


def screened(by: Mapping[str, int], blind: int, looked_at: int) -> str:
    """Who turned how many away, and the share that went past the guesses unseen.

    >>> screened({"predictor": 30, "opening": 20}, blind=10, looked_at=100)
    '30 by predictor, 20 by opening of 100; blind 10%'
    >>> screened({}, blind=0, looked_at=0)
    'nothing yet'
    """
    if not looked_at:
        return "nothing yet"
    counts = ", ".join(f"{by.get(who, 0)} by {who}" for who in ("predictor", "opening"))
    return f"{counts} of {looked_at}; blind {blind / looked_at:.0%}"


def openers(tokens: Sequence[str], p_floor: float | None) -> str:
    """With which tokens this target's refusals begin, and from which P(refusal) on it is sampled.

    >>> openers(["I", " Sorry"], 0.25)
    "'I', ' Sorry'; sampled from P(refusal) 0.25 on"
    >>> openers(["I"], None)
    "'I'; no floor yet"
    """
    shown = ", ".join(repr(token) for token in tokens[:_TOKENS_SHOWN])
    more = len(tokens) - _TOKENS_SHOWN
    floor = "no floor yet" if p_floor is None else f"sampled from P(refusal) {p_floor:.2f} on"
    return shown + (f" and {more} more" if more > 0 else "") + f"; {floor}"


def diversity(effective: float, collapses: int, collapsed: bool) -> str:
    """Effective clusters of the latest over-refusals.

    >>> diversity(12.34, collapses=0, collapsed=False)
    '12.3 effective'
    >>> diversity(3.0, collapses=2, collapsed=True)
    '3.0 effective, 2 collapses; collapsed: more seeds and rare cells until it has recovered'
    """
    times = f", {collapses} {'collapse' if collapses == 1 else 'collapses'}" if collapses else ""
    return f"{effective:.1f} effective{times}" + (f"; {COLLAPSED}" if collapsed else "")


def ranked(arms: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Arms with `proposals` and `over_refusals`, the most successful first.

    By the lower end of the Wilson interval, so that one hit of one does not lead; then by name.
    """
    from fitness.elbo import wilson

    def lower(arm: Mapping[str, Any]) -> float:
        return wilson(arm["over_refusals"], arm["proposals"])[0]

    return sorted(
        (arm for arm in arms if arm["proposals"]),
        key=lambda arm: (-lower(arm), arm["operator"], arm["strategy"]),
    )


def best(arms: Iterable[Mapping[str, Any]]) -> str:
    """The arms that find the most.

    >>> best([{"operator": "lexical", "strategy": "anger", "proposals": 8, "over_refusals": 4}])
    'lexical anger 4/8 50%'
    >>> best([])
    'none yet'
    """
    shown = [
        f"{arm['operator']} {arm['strategy']} {arm['over_refusals']}/{arm['proposals']} "
        f"{arm['over_refusals'] / arm['proposals']:.0%}"
        for arm in ranked(arms)[:_ARMS_SHOWN]
        if arm["over_refusals"]
    ]
    return ", ".join(shown) or "none yet"
