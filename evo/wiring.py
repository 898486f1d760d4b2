"""The one place that turns a config into parts: engines, judges, gates, proposers, pools.

An edge: it may import everything. Nothing imports it but the other edges.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from evo import algorithms, hosting, looking, tracing
from evo import seeds as seed_sets
from evo.config import Config, EngineConfig, SamplingConfig, TargetConfig
from evo.operators.lexical.tactics import tactic_templates
from evo.operators.resample import ResampleProposer
from evo.operators.seeds import SeedProposer
from evo.tactics import arms
from evo.types import Proposer, Seed
from fitness import judges, safety
from fitness.cliff.probe import Probe
from fitness.evaluate import Evaluator
from fitness.types import Evaluation, EvaluationRequest, Gate, Judge, Surface
from workers import engines, local_models
from workers.embedders import RememberingEmbedder, SentenceTransformerEmbedder
from workers.interface import (
    Embedder,
    Engine,
    FirstToken,
    Generation,
    GenerationRequest,
    Sampling,
    WhiteBox,
    Worker,
)
from workers.metering import Account, MeteredEngine
from workers.pool import Placement, Pool, Prioritised, Priority, Replicas
from workers.replica import EngineWorker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evo.asktell import Search
    from evo.operators.guided import Rates

GenerationPool = Pool[GenerationRequest, Generation]


def check(config: Config) -> None:
    """Look up every name that can be looked up before anything starts.

    Raises:
        ConfigError: an unknown judge, gate, engine, a model that is neither here nor an id, or no such
            probe.
    """
    check_names(config)
    tracing.probe_of(config)  # for its errors
    for engine in hosting.named_engines(config):
        if engine.engine not in engines.ENDPOINTS:  # these say at start which models they have
            local_models.resolve(engine.model)
    local_models.resolve(config.embedder.model)


def seeds(config: Config, url: str) -> list[Seed]:
    """The run's seeds; what was imported is read from the database at `url`.

    Raises:
        ConfigError: there are none such.
        StoreError: the database cannot be read.
    """
    if config.seeds.store is None:
        return seed_sets.load(config.seeds, config.seed)
    import db
    from db import imported

    with contextlib.closing(db.open(url, read_only=True)) as store:
        return seed_sets.load(config.seeds, config.seed, partial(imported.seeds, store))


def check_names(config: Config) -> None:
    """The part of `check` that holds on every machine: models may lie on the cluster alone.

    Raises:
        ConfigError: an unknown algorithm, judge, gate or engine, or pieces that do not match the GPUs.
    """
    operators = config.proposer.operators
    algorithms.build(  # for its errors
        config.search, operators, config.seed, arms(config.proposer.tactics, operators)
    )
    for name in config.judges:
        judges.require(name)
    for name in config.safety:
        safety.require(name)
    hosting.require_states(config)
    for engine in hosting.named_engines(config):
        engines.require(engine.engine)
        hosting.footprint(engine, 1)


def sampling(config: SamplingConfig) -> Sampling:
    return Sampling(config.temperature, config.top_p, config.top_k, config.max_tokens)


def target_sampling(config: TargetConfig) -> Sampling:
    """With the target's rule for first tokens."""
    rules = config.first_token
    return replace(
        sampling(config.sampling),
        first_token=tuple(FirstToken(tuple(r.tokens), r.threshold) for r in rules),
    )


def embedder(config: Config) -> Embedder:
    return RememberingEmbedder(SentenceTransformerEmbedder(config.embedder.model))


def gates(
    config: Config,
    embedder: Embedder,
    hosted: Mapping[str, safety.Hosted],
    boxes: Mapping[str, WhiteBox] | None = None,
) -> list[Gate]:
    """The safety gates; `hosted`: the started pools of `gate_pools` with their models' revisions;
    `boxes`: the faces of the started pools of `guard_pools`."""
    look = None if boxes is None else boxes.__getitem__
    return [safety.build(name, embedder, hosted.__getitem__, look) for name in config.safety]


def guard_pools(config: Config, cores: int) -> dict[str, Pool[Any, Any]]:
    """By the gate's name, a replica with a white box for each latent guard."""
    return {
        name: looking.white_box_pool(
            settings,
            threads=hosting.threads(settings, config, cores),
            cpus=hosting.cpus(settings, config, cores),
            name="guard",
        )
        for name, settings in hosting.guard_engines(config).items()
    }


async def guard_boxes(pools: Mapping[str, Pool[Any, Any]]) -> dict[str, WhiteBox]:
    """The white boxes of `guard_pools`, started."""
    from workers.looking import PooledWhiteBox

    return {name: await PooledWhiteBox.started(pool) for name, pool in pools.items()}


def gate_pools(
    config: Config, cores: int, proposing: GenerationPool | None = None
) -> dict[str, GenerationPool | Prioritised[GenerationRequest, Generation]]:
    """By the name behind `llm:`, a replica for each safety gate that asks a language model. A gate
    whose model is the proposer's shares its replicas, and its short questions go first."""
    return {
        name: proposing.at(Priority.SCORE)
        if proposing is not None and hosting.shares_the_proposers(settings, config)
        else _generation_pool(settings, config, cores, name="gate")
        for name, settings in hosting.gate_engines(config).items()
    }


def judge(name: str, named: Mapping[str, EngineConfig]) -> Judge:
    """A judge in this process, for the command line. `llm:NAME` asks the engine `named` so, else a
    model that is loaded here."""

    def engine_of(model: str) -> Engine:
        if model in named:
            return _engine(named[model].model_dump(mode="json"), threads=None)
        return engines.build("transformers", model=model)

    return judges.build(name, engine_of)


def target_pools(
    config: Config, cores: int, surface: Surface | None = None
) -> dict[str, Pool[EvaluationRequest, Evaluation]]:
    """By the target's name: replicas that hold an Evaluator each, so fitness is computed beside the
    model. `surface`: the frame in which they are asked."""
    return {name: target_pool(config, cores, name, surface) for name in config.every_target}


def target_pool(
    config: Config, cores: int, name: str = "target", surface: Surface | None = None
) -> Pool[EvaluationRequest, Evaluation]:
    settings = config.every_target[name]
    threads = hosting.threads(settings, config, cores)
    return Pool(
        partial(
            _evaluator,
            config.model_dump(mode="json"),
            threads,
            name,
            tracing.probe_of(config),
            surface,
        ),
        in_flight=config.search.in_flight,
        name=hosting.pool_name(config, name),
        weigh=lambda request: request.samples_first,
        tokens=lambda evaluation: evaluation.target_tokens,
        **_place(settings, config, cores),
    )


def proposer_pool(config: Config, cores: int) -> GenerationPool | None:
    """Replicas of the proposer's model; None when no operator needs one."""
    settings = hosting.proposing_engine(config)
    if settings is None:
        return None
    return _generation_pool(settings, config, cores, name="proposer")


def _generation_pool(
    settings: EngineConfig, config: Config, cores: int, *, name: str
) -> GenerationPool:
    return Pool(
        _hosting(settings, config, cores),
        in_flight=None,
        name=name,
        weigh=lambda request: request.n_samples,
        tokens=lambda answer: sum(sample.n_tokens for sample in answer.samples),
        **_place(settings, config, cores),
    )


def _place(settings: EngineConfig, config: Config, cores: int) -> dict[str, Any]:
    """How many replicas, and what each takes: arguments of `Pool`."""
    taken = hosting.footprint(settings, hosting.cpus(settings, config, cores))
    return {
        "replicas": Replicas(settings.least_replicas, settings.most_replicas),
        "cpus": taken.actor_cpus,
        "gpus": taken.actor_gpus,
        "placement": Placement(taken.bundles, "PACK", taken.actor_cpus) if taken.bundles else None,
    }


def proposers(
    config: Config,
    seeds: Sequence[Seed],
    worker: Worker[GenerationRequest, Generation] | None,
    rates: Rates | None = None,
) -> dict[str, Proposer]:
    """Operator name -> proposer, the seeds' own included.

    `rates` is for `guided`: what refusal rates are guessed of texts; without it all are guessed alike.
    """
    tactics = config.proposer.tactics
    made: dict[str, Proposer] = {
        SeedProposer.name: SeedProposer(seeds),
        ResampleProposer.name: ResampleProposer(),
    }
    if "lexical" in config.proposer.operators:
        from evo.operators.lexical import LexicalProposer

        made["lexical"] = LexicalProposer(tactic_templates(tactics))
    if "guided" in config.proposer.operators:
        from evo.operators.guided import GuidedProposer, alike

        made["guided"] = GuidedProposer(rates or alike, tactic_templates(tactics))
    if worker is not None and config.proposer.engine is not None:
        from evo.operators.llm import LlmProposer

        made["llm"] = LlmProposer(
            worker,
            sampling(config.proposer.engine.sampling),
            config.proposer.attempts,
            {tactic.strategy: tactic.instruction for tactic in tactics},
        )
    return made


def guessing(search: Search, embedder: Embedder) -> Rates:
    """P(refusal) of texts by what the run's predictor has learned so far; 0.5 before it has."""

    def rates(texts: Sequence[str]) -> NDArray[np.float64]:
        guessed = search.screening.screen.guess(embedder.embed(texts))
        return np.nan_to_num(guessed, nan=0.5)

    return rates


def _hosting(settings: EngineConfig, config: Config, cores: int) -> Callable[[], EngineWorker]:
    """What builds a bare engine inside a replica."""
    threads, sharers = hosting.threads(settings, config, cores), hosting.sharers(settings, config)
    return partial(_engine_worker, settings.model_dump(mode="json"), threads, sharers)


def engine(settings: EngineConfig) -> Engine:
    """A bare engine in this process.

    Raises:
        ConfigError: no such engine, or the model cannot be loaded.
    """
    return _engine(settings.model_dump(mode="json"), None)


def _engine(settings: Mapping[str, Any], threads: int | None, sharers: int = 1) -> Engine:
    if settings["engine"] in engines.ENDPOINTS:
        per_minute = {
            key: None if settings[key] is None else settings[key] / sharers
            for key in ("requests_per_minute", "tokens_per_minute")
        }
        return engines.build(
            settings["engine"],
            model=settings["model"],
            base_url=settings["base_url"],
            api_key_env=settings["api_key_env"],
            concurrency=settings["concurrency"],
            timeout_s=settings["timeout_s"],
            patience_s=settings["patience_s"],
            prompt_price=settings["price"]["prompt"],
            completion_price=settings["price"]["completion"],
            **per_minute,
        )
    of_vllm: dict[str, Any] = {}
    if settings["engine"] == "vllm":
        hosted = {key: settings[key] for key in EngineConfig.model_fields}  # a target has more
        taken = hosting.footprint(EngineConfig.model_validate(hosted), threads or 1)
        of_vllm = {**settings["vllm"], "executor": taken.executor}
    return engines.build(
        settings["engine"],
        model=settings["model"],
        adapter=settings["adapter"],
        dtype=settings["dtype"],
        device=settings["device"],
        batch_tokens=settings["batch_tokens"],
        threads=threads,
        **of_vllm,
    )


def _evaluator(
    raw: Mapping[str, Any],
    threads: int,
    name: str = "target",
    probe: Probe | None = None,
    surface: Surface | None = None,
) -> Evaluator:
    """Runs inside a replica of the target `name`. Probe and surface come with it: no replica looks for
    their files."""
    config = Config.model_validate(raw)
    own = config.about(name)
    built: dict[str, Engine] = {}
    judging = Account()

    def engine_for(settings: EngineConfig) -> Engine:
        """Judges of one model share its weights, with the target too."""
        key = hosting.model_key(settings)
        if key not in built:
            sharers = hosting.sharers(settings, config)
            built[key] = _engine(settings.model_dump(mode="json"), threads, sharers)
        return built[key]

    target = engine_for(own.target)
    return Evaluator(
        target,
        [
            judges.build(
                name,
                lambda model: MeteredEngine(engine_for(hosting.asked_engine(own, model)), judging),
            )
            for name in config.judges
        ],
        sampling=target_sampling(own.target),
        system_prompt=own.target.system_text,
        weight=config.search.confidence_weight,
        entropy_weight=config.search.entropy_weight,
        side_costs=judging.take,
        objective=config.search.objective,
        tracer=None if probe is None else tracing.tracer(target, probe),
        surface=surface,
    )


def _engine_worker(settings: Mapping[str, Any], threads: int, sharers: int) -> EngineWorker:
    """Runs inside a replica."""
    return EngineWorker(_engine(settings, threads, sharers))
