"""Evaluations: a data set asked of a target, as a run of its own kind.

An edge, as `evo.api`, whose run it uses: what a search has, an evaluation has too. Its samples are
stored before they are counted and used again by whoever asks the same target the same prompt; it can be
killed and resumed; `evocliff query --run NAME` shows its rows. Unlike a search it makes no prompt, and
it turns none away: harmful prompts are asked to see that their refusals stay, and keep their label, by
which they are never exported.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from evo import api, hosting
from evo.api import Asking, Run, Watcher
from evo.config import Config, TargetConfig, load, validate
from evo.types import Seed, Strategy
from fitness import judges
from fitness.safety.said import SaidGate
from fitness.types import Safety, Surface
from workers import engines, local_models
from workers.interface import ConfigError, Failure

if TYPE_CHECKING:
    from db.evaluations import Evaluated


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
    openings: bool = False,
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
        openings: how each response would begin is asked too, and stored.
        engines: named engine blocks, as in a config, for judges.
        settings: further sections of a config, such as `embedder`.
        address, watch: as `evo.search`.
        resume: an interrupted evaluation, by name or id, of the same items and target.

    Raises:
        ConfigError, StoreError: bad input; nothing was started.
        TargetError: the model could not go on; what had ended is stored, and the run can be resumed.
    """
    gate = _gate(items)
    config = _config(
        items,
        target,
        name=name,
        store=store,
        judges=judges,
        samples=samples,
        seed=seed,
        threshold=threshold,
        openings=openings,
        engines=engines,
        settings=settings,
    )
    _check(config)
    if resume is not None:
        _require_the_same(store, resume, config)
    seeds = [Seed(i.prompt, i.source, i.licence, i.topic, strategy_of(i.strategy)) for i in items]
    return api.live(
        config, seeds, store, address, resume, watch, Asking(gates=[gate], surface=surface)
    )


def _gate(items: Sequence[Asked]) -> SaidGate:
    return SaidGate({item.prompt: item.label for item in items if item.label is not None})


def _config(
    items: Sequence[Asked],
    target: TargetConfig | Mapping[str, Any],
    *,
    name: str,
    store: str,
    judges: Sequence[str] = ("embedded",),
    samples: int = 1,
    seed: int = 0,
    threshold: float = 0.5,
    openings: bool = False,
    engines: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **_: Any,
) -> Config:
    """The run's config, for whoever reads the store.

    Raises:
        ConfigError: no prompt, an empty one, or a value out of range.
    """
    if not items:
        raise ConfigError("DATASET: holds no prompt")
    for number, item in enumerate(items, 1):
        if not item.prompt.strip():
            raise ConfigError(f"DATASET: prompt {number} is empty; leave it out")
    asked = target.model_dump(mode="json") if isinstance(target, TargetConfig) else dict(target)
    prompts = hashlib.sha256("\0".join(i.prompt for i in items).encode("utf-8", "surrogatepass"))
    return validate(
        {
            "name": name,
            "seed": seed,
            # Where the prompts come from is not asked again: they are given.
            "seeds": {"store": f"dataset {prompts.hexdigest()[:16]}"},
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
                "screening": {"predictor": False, "opening": openings},
            },
            "budget": {"evaluations": len(items), "proposals": len(items)},
            "store": store,
            **(settings or {}),
        },
        "evaluate",
    )


def ensure(
    items: Sequence[Asked],
    target: TargetConfig | Mapping[str, Any],
    *,
    name: str,
    store: str,
    resume: bool = False,
    **how: Any,
) -> Run:
    """As `evaluate`; with `resume` the run of this name goes on, and one that is finished is only read.

    Raises:
        ConfigError: also: the run of this name asked something else.
    """
    if not resume:
        return evaluate(items, target, name=name, store=store, **how)
    import db
    from db import queries

    with contextlib.closing(db.open(store)) as opened:
        known = {row["name"]: row for row in queries.runs(opened)}
    if name not in known:
        return evaluate(items, target, name=name, store=store, **how)
    run = known[name]
    if run["status"] == "finished":
        _require_the_same(store, name, _config(items, target, name=name, store=store, **how))
        return Run(store, run["run"], name, "finished", "it was finished before")
    return evaluate(items, target, name=name, store=store, resume=name, **how)


@dataclass(frozen=True, slots=True)
class Condition:
    """A target as it is to be asked. `name` is as the user wrote it, `short` fits a run's name."""

    name: str
    short: str
    system_prompt: str
    target: Mapping[str, Any]
    engines: Mapping[str, Any]

    @property
    def system_text(self) -> str | None:
        """What `system_prompt` stands for."""
        return TargetConfig.model_validate(self.target).system_text


def conditions(
    targets: Sequence[str],
    system_prompt: str,
    sampling: Mapping[str, Any],
    config: Path | None = None,
) -> list[Condition]:
    """Every target under every system prompt that is asked for ("both": none and safety-prior).

    A target is a model, MODEL+ADAPTER, or the name of a target or engine of the run in `config`.

    Raises:
        ConfigError: the config cannot be read, or two conditions are the same.
    """
    named: dict[str, Mapping[str, Any]] = {}
    blocks: Mapping[str, Any] = {}
    if config is not None:
        loaded = load(config)
        blocks = {key: block.model_dump(mode="json") for key, block in loaded.engines.items()}
        every = {k: t.model_dump(mode="json") for k, t in loaded.every_target.items()}
        named = {**blocks, **every}
    made = []
    for name in dict.fromkeys(targets):
        model, plus, adapter = name.partition("+")
        if name in named:
            block = {**named[name]}
        else:
            block = {"model": model, **({"adapter": adapter} if plus else {})}
        for prompt in ("none", "safety-prior") if system_prompt == "both" else (system_prompt,):
            asked = {**block, "system_prompt": prompt, "sampling": dict(sampling)}
            words = name if prompt == "none" else f"{name}-{prompt}"
            short = re.sub(r"[^A-Za-z0-9.]+", "-", words.removeprefix("local:")).strip("-")[-48:]
            made.append(Condition(name, short, prompt, asked, blocks))
    if len(made) < len(targets):
        raise ConfigError("--target: one of them is named twice")
    shorts = [condition.short for condition in made]
    if len(set(shorts)) < len(shorts):
        raise ConfigError(f"--target: two of them are alike in name ({', '.join(shorts)})")
    return made


def response_alone(condition: Condition, evaluated: Evaluated) -> dict[str, Any]:
    """EvoRefuse's Log-Prob (its metric/prob.py): log p of each response without its prompt, the sum over
    tokens from the second on, the mean over responses. It is p(y), not p(y | x): only for comparison.

    "mean_sum" is None, with the reason, where the engine cannot say.
    """
    from evo import looking

    try:
        box = looking.white_box(TargetConfig.model_validate(condition.target))
    except ConfigError as error:
        return {"mean_sum": None, "n": 0, "reason": str(error)}
    texts = [a.text for each in evaluated.asked for a in each.answers if a.text.strip()]

    async def ask() -> list[Any]:
        try:
            return list(await box.logprobs(texts))
        finally:
            await box.close()

    sums = [x.logprob_sum for x in asyncio.run(ask()) if not isinstance(x, Failure)]
    if not sums:
        return {"mean_sum": None, "n": 0, "reason": "no response could be read"}
    return {"mean_sum": fmean(sums), "n": len(sums), "failed": len(texts) - len(sums)}


def diversity(prompts: Sequence[str], embedder: str = "local:all-minilm-l6-v2") -> dict[str, Any]:
    """How unlike the prompts of a data set are, in words and by meaning; None where there are too few.

    msttr is EvoRefuse's (window 800), msttr_50 the usual one; hdd draws 42 tokens; embedding is the mean
    cosine distance of all pairs.
    """
    from fitness import metrics
    from workers.embedders import SentenceTransformerEmbedder

    tokens = [word for prompt in prompts for word in metrics.words(prompt)]
    vectors = SentenceTransformerEmbedder(embedder).embed(prompts) if len(prompts) > 1 else None
    return {
        "n": len(prompts),
        "tokens": len(tokens),
        "msttr": metrics.msttr(tokens) if tokens else None,
        "msttr_50": metrics.msttr(tokens, 50) if tokens else None,
        "hdd": metrics.hdd(tokens) if len(tokens) >= metrics.HDD_DRAW else None,
        "mtld": metrics.mtld(tokens) if tokens else None,
        "embedding": None if vectors is None else metrics.mean_distance(vectors),
    }


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
