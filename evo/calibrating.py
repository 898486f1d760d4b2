"""`evocliff calibrate`: which threshold on the first token makes a target refuse as often as wished.

An edge. One part of a labelled data set is asked as an evaluation that keeps how each response would begin:
from it come the tokens that open refusals. The same prompts are asked with all responses opened by such a
token and with none, because a response that begins as a refusal is not always one, nor the other way; both
together tell the rate under any threshold. On the rest of the prompts the chosen thresholds are measured.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import db
from db import evaluations
from db.evaluations import Evaluated
from evo import evaluating
from evo.api import Watcher
from evo.evaluating import Asked
from evo.seeding import generator
from fitness import calibration
from fitness.assessment import Rate, assess
from fitness.calibration import Point, Threshold
from fitness.openers import OpenerCalibration, log_odds
from fitness.types import Safety
from workers.interface import ConfigError, Opening

_FEWEST = 20  # prompts to calibrate on
_FAR = 1e6  # nats: no log-odds reach it


@dataclass(frozen=True, slots=True)
class Checked:
    """A rule on fresh prompts: how often the target refused under it, as the judge says."""

    wished: float
    refused: Rate
    run: str


@dataclass(frozen=True, slots=True)
class Calibrated:
    """`tokens` open this target's refusals; `without`: prompts that have no score, by why."""

    target: str
    target_id: str
    tokens: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    curve: tuple[Point, ...]
    auroc: float | None
    n: int
    without: Mapping[str, int]
    checked: tuple[Checked, ...]

    def as_json(self) -> dict[str, Any]:
        """What `--out` writes and `--json` prints."""
        return {
            "target": self.target,
            "target_id": self.target_id,
            "tokens": list(self.tokens),
            "n": self.n,
            "without": dict(self.without),
            "auroc": self.auroc,
            "rates": [
                {
                    "wished": t.wished,
                    "threshold": t.threshold,
                    "bias": t.bias,
                    "calibrated": t.measured,
                    "ci95": [t.low, t.high],
                    "first_token": {"tokens": list(self.tokens), "threshold": t.threshold},
                }
                for t in self.thresholds
            ],
            "checked": [
                {
                    "wished": c.wished,
                    "refused": c.refused.share,
                    "n": c.refused.n,
                    "ci95": [c.refused.low, c.refused.high],
                    "run": c.run,
                }
                for c in self.checked
            ],
            "curve": [asdict(point) for point in self.curve],
        }


def calibrate(
    items: Sequence[Asked],
    target: Mapping[str, Any],
    rates: Sequence[float],
    *,
    name: str,
    store: str,
    tokens: Sequence[str] = (),
    check: float = 0.5,
    judges: Sequence[str] = ("embedded",),
    seed: int = 0,
    resume: bool = False,
    address: str = "local",
    watch: Watcher | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Calibrated:
    """Thresholds for the wished refusal rates, and how they do on fresh prompts.

    Args:
        tokens: that mean a refusal, such as "[refuse]"; none: learned from how the target's refusals
            begin.
        check: the share of the prompts that is kept to measure with; 0: nothing is measured.

    Raises:
        ConfigError: too few prompts, a rate outside 0 to 1, a target that does not show how it begins,
            or one that never refused and has no token for it.
    """
    for rate in rates:
        if not 0.0 <= rate <= 1.0:
            raise ConfigError(f"--rate {rate:g}: a rate is between 0 and 1")
    known, fresh = _parts(items, check, seed)
    if len(known) < _FEWEST:
        raise ConfigError(f"DATASET: {len(known)} prompts to calibrate on; {_FEWEST} are needed")
    how: dict[str, Any] = {
        "store": store,
        "judges": judges,
        "address": address,
        "watch": watch,
        "resume": resume,
    }
    run = evaluating.ensure(known, target, name=name, openings=True, **how)
    with contextlib.closing(db.open(store, read_only=True)) as opened:
        found = evaluations.evaluated(opened, run.run_id)
        openings = opened.known_openings(found.target_id, [a.prompt_id for a in found.asked])
    if not openings:
        raise ConfigError(
            f"--target: {found.model} does not show how its responses would begin; take an engine "
            "that has log-probabilities"
        )
    chosen = tuple(tokens) or _learned(found.asked, openings)
    scores = {
        a.prompt_id: log_odds(openings[a.prompt_id], frozenset(chosen))
        for a in found.asked
        if a.prompt_id in openings
    }
    by_safety = {
        safety: [
            scores[a.prompt_id] for a in found.asked if a.prompt_id in scores and a.safety == safety
        ]
        for safety in (Safety.HARMFUL, Safety.HARMLESS)
    }
    both = all(by_safety.values())
    pair = by_safety[Safety.HARMFUL], by_safety[Safety.HARMLESS]

    def ruled(prompts: Sequence[Asked], threshold: float, label: str) -> Evaluated:
        rule = {"tokens": list(chosen), "threshold": threshold}
        told = evaluating.ensure(prompts, {**target, "first_token": rule}, name=label, **how)
        with contextlib.closing(db.open(store, read_only=True)) as store_:
            return evaluations.evaluated(store_, told.run_id)

    shares: dict[str, list[float]] = {}
    if fresh:
        say(f"asking {len(known)} prompts with every response opened as a refusal, and with none")
        always = _shares(ruled(known, -_FAR, f"{name}-always"))
        never = _shares(ruled(known, _FAR, f"{name}-never"))
        scores = {i: score for i, score in scores.items() if i in always and i in never}
        shares = {"opened": [always[i] for i in scores], "closed": [never[i] for i in scores]}
    thresholds = [
        calibration.threshold_for(list(scores.values()), rate, **shares) for rate in rates
    ]
    checked = []
    for threshold in thresholds if fresh else []:
        say(f"measuring the rule for {threshold.wished:.0%} on {len(fresh)} fresh prompts")
        told = ruled(fresh, threshold.threshold, f"{name}-{round(100 * threshold.wished)}")
        checked.append(Checked(threshold.wished, assess(told.asked).crr, told.run))
    return Calibrated(
        str(target["model"]),
        found.target_id,
        chosen,
        tuple(thresholds),
        tuple(calibration.curve(*pair)) if both else (),
        calibration.auroc(*pair) if both else None,
        len(scores),
        {**found.failed, **_missing(len(found.asked) - len(scores))},
        tuple(checked),
    )


def _parts(items: Sequence[Asked], check: float, seed: int) -> tuple[list[Asked], list[Asked]]:
    """Prompts to calibrate on and fresh ones, each with its share of every safety and topic."""
    order = generator(seed, "calibration").permutation(len(items)).tolist()
    alike = sorted(order, key=lambda i: (items[i].label or "", items[i].topic or ""))  # stable
    fresh = {i for n, i in enumerate(alike) if int((n + 1) * check) > int(n * check)}
    return (
        [item for i, item in enumerate(items) if i not in fresh],
        [items[i] for i in sorted(fresh)],
    )


def _shares(told: Evaluated) -> dict[str, float]:
    """prompt id -> share of its scored responses that are refusals."""
    found = ((a.prompt_id, assess([a]).crr.share) for a in told.asked)
    return {prompt_id: share for prompt_id, share in found if share is not None}


def _missing(n: int) -> dict[str, int]:
    return {"without an opening or a verdict": n} if n else {}


def _learned(asked: Sequence[Any], openings: Mapping[str, Opening]) -> tuple[str, ...]:
    learning = OpenerCalibration()
    for each in asked:
        if each.prompt_id not in openings:
            continue
        said = [
            (a.text, a.p_refusal[0])
            for a in each.answers
            if a.p_refusal and a.p_refusal[0] is not None
        ]
        learning.learn(openings[each.prompt_id], said)
    if learning.openers is None:
        raise ConfigError(
            "no token opens refusals of this target: it refused nothing, or everything alike; name "
            "them with --token, or take prompts that it refuses"
        )
    return learning.openers.tokens


def write(made: Calibrated, out: Path) -> None:
    """The calibration as JSON.

    Raises:
        ConfigError: `out` exists, or its folder does not.
    """
    if out.exists():
        raise ConfigError(f"--out {out}: exists already; name a new file")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it first")
    out.write_text(
        json.dumps(made.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
