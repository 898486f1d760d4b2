"""Evaluations: a data set asked of a target, as a run of its own kind.

An edge, as `evo.api`, whose run it uses: what a search has, an evaluation has too. Its samples are
stored before they are counted and used again by whoever asks the same target the same prompt; it can be
killed and resumed; `evocliff query --run NAME` shows its rows. Unlike a search it makes no prompt, and
it turns none away: harmful prompts are asked to see that their refusals stay, and keep their label, by
which they are never exported.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evo import api, hosting
from evo.api import Asking, Run, Watcher
from evo.config import Config, TargetConfig, validate
from evo.types import Seed, Strategy
from fitness import judges
from fitness.safety.said import SaidGate
from fitness.types import Safety, Surface
from workers import engines, local_models
from workers.interface import ConfigError


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt of a data set with what the data set says of it. `label` None: it does not say whether
    the prompt is harmless. `strategy` is any word; those of evocliff's own keep their meaning."""

    prompt: str
    label: Safety | None = None
    topic: str | None = None
    strategy: str | None = None
    source: str = "dataset"
    licence: str | None = None


def evaluate(
    items: Sequence[Asked],
    target: TargetConfig | Mapping[str, Any],
    *,
    name: str,
    store: str,
    judges: Sequence[str] = ("embedded",),
    samples: int = 1,
    seed: int = 0,
    threshold: float = 0.5,
    surface: Surface | None = None,
    engines: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    address: str = "local",
    resume: str | None = None,
    watch: Watcher | None = None,
) -> Run:
    """Ask every prompt `samples` times of one target, judge what it says, store all of it.

    The run of kind `evaluate` that this makes is called `name` (`name-2` where that is taken). Samples
    that are stored already are not asked again. How it went is read from the store: `db.evaluations`.

    Args:
        items: the prompts; one that comes twice is asked once, the second a counted failure.
        target: a block as under `target:` of a config: model, adapter, engine, system_prompt, sampling.
        store: database URL.
        judges: names as in a config; the first decides.
        surface: the frame in which the target is asked; None: chat.
        engines: named engine blocks, as in a config, for judges.
        settings: further sections of a config, such as `embedder`.
        address, watch: as `evo.search`.
        resume: an interrupted evaluation, by name or id, of the same items and target.

    Raises:
        ConfigError, StoreError: bad input; nothing was started.
        TargetError: the model could not go on; what had ended is stored, and the run can be resumed.
    """
    if not items:
        raise ConfigError("DATASET: holds no prompt")
    for number, item in enumerate(items, 1):
        if not item.prompt.strip():
            raise ConfigError(f"DATASET: prompt {number} is empty; leave it out")
    asked = target.model_dump(mode="json") if isinstance(target, TargetConfig) else dict(target)
    gate = SaidGate({item.prompt: item.label for item in items if item.label is not None})
    config = validate(
        {
            "name": name,
            "seed": seed,
            # Where the prompts come from is not asked again: they are given.
            "seeds": {"store": f"dataset {gate.version}"},
            "target": asked,
            "judges": list(judges),
            "safety": [SaidGate.name],
            "engines": dict(engines or {}),
            "search": {
                "algorithm": "seeds-only",
                "samples": {"first": samples, "max": samples},
                "threshold": threshold,
                "racing": False,
                "settle": 0.0,
                "screening": {"predictor": False, "opening": False},
            },
            "budget": {"evaluations": len(items), "proposals": len(items)},
            "store": store,
            **(settings or {}),
        },
        "evaluate",
    )
    _check(config)
    if resume is not None:
        _require_the_same(store, resume, config)
    seeds = [Seed(i.prompt, i.source, i.licence, i.topic, strategy_of(i.strategy)) for i in items]
    return api.live(
        config, seeds, store, address, resume, watch, Asking(gates=[gate], surface=surface)
    )


def strategy_of(word: str | None) -> Strategy:
    """A data set's own word for how a prompt was made, as a strategy.

    >>> strategy_of("anger"), strategy_of("Figurative language").value, strategy_of(None).value
    (<Strategy.ANGER: 'anger'>, 'tactic:figurative-language', 'seed')
    """
    if word is None:
        return Strategy.SEED
    with contextlib.suppress(ValueError):
        return Strategy(word)
    slug = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
    return Strategy(f"tactic:{slug[:56].strip('-')}") if slug else Strategy.SEED


def _check(config: Config) -> None:
    """Look up every name before anything starts.

    Raises:
        ConfigError: an unknown judge or engine, or a model that is neither here nor an id.
    """
    for name in config.judges:
        judges.require(name)
    for engine in hosting.named_engines(config):
        engines.require(engine.engine)
        hosting.footprint(engine, 1)
        if engine.engine not in engines.ENDPOINTS:
            local_models.resolve(engine.model)
    local_models.resolve(config.embedder.model)


def _require_the_same(store: str, run: str, config: Config) -> None:
    """Raise ConfigError where the run to resume asked other prompts or another target."""
    stored = api.stored_config(store, run)
    if stored.search.algorithm != config.search.algorithm:
        raise ConfigError(f"--resume {run}: that is a search; use evocliff search --resume {run}")
    for what in ("seeds", "target", "judges", "seed"):
        if getattr(stored, what) != getattr(config, what):
            raise ConfigError(f"--resume {run}: its {what} differ from what is asked now")
