"""What is compared: each arm is the default config with a few keys changed.

The published algorithms take K = 10 samples of every prompt, as their papers do; `random` and `best-of-n`
come with racing too, so that nobody can say that the baseline was held back. Every arm has the same
seeds, gates, embedder, target and batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evo.config import Config, validate

SEED_PROMPTS = (
    16  # they are paid for as well; more would leave small budgets nothing to search with
)
BATCH = 12
MAX_TOKENS = 24  # of a response: enough to see a refusal, and the same for all arms

_PUBLISHED: Mapping[str, Any] = {
    "samples": {"first": 10, "max": 10},
    "racing": False,
    "screening": {"predictor": False, "opening": False},
    "settle": 0.0,
}
_RACING: Mapping[str, Any] = {
    "samples": {"first": 2, "max": 10},
    "racing": True,
    "screening": {"predictor": False, "opening": False},
    "settle": 0.0,
}
_STEADY: Mapping[str, Any] = {"algorithm": "steady-state", "samples": {"first": 2, "max": 10}}

MAIN: Mapping[str, Mapping[str, Any]] = {
    "steady-state": _STEADY,
    "evorefuse": {"algorithm": "evorefuse", **_PUBLISHED},
    "evorefuse-reference": {"algorithm": "evorefuse", "reference": True, **_PUBLISHED},
    "orfuzz": {"algorithm": "orfuzz", **_PUBLISHED},
    "best-of-n": {"algorithm": "best-of-n", **_PUBLISHED},
    "best-of-n+racing": {"algorithm": "best-of-n", **_RACING},
    "random": {"algorithm": "random", **_PUBLISHED},
    "random+racing": {"algorithm": "random", **_RACING},
}
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "steady-state-racing": {**_STEADY, "racing": False},
    "steady-state-screening": {**_STEADY, "screening": {"predictor": False, "opening": False}},
    "steady-state-bandit": {**_STEADY, "bandit": False},
    "steady-state-recombination": {**_STEADY, "recombination": 0.0},
    "steady-state-archive": {**_STEADY, "archive": False},
}
ARMS: Mapping[str, Mapping[str, Any]] = {**MAIN, **ABLATIONS}


def config(
    arm: str,
    seed: int,
    budget: Mapping[str, int],
    *,
    model: str = "local:smollm2-overcautious",
    seed_prompts: int = SEED_PROMPTS,
    batch: int = BATCH,
) -> Config:
    """The run of one arm with one seed.

    Raises:
        ConfigError: a key of the arm is not one of the config's.
    """
    return validate(
        {
            "name": f"{arm}-{seed}",
            "seed": seed,
            "seeds": {"dataset": "xstest-safe", "limit": seed_prompts},
            "target": {"model": model, "sampling": {"max_tokens": MAX_TOKENS}},
            "search": {**ARMS[arm], "batch": batch, "in_flight": 1},
            "budget": dict(budget),
        },
        f"arm {arm}",
    )
