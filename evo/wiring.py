"""The one place that turns a config into parts: engines, judges, gates, proposers, pools.

An edge: it may import everything. Nothing imports it but the other edges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from evo import algorithms
from evo.config import Config, EngineConfig, SamplingConfig
from evo.operators.seeds import SeedProposer
from evo.types import Proposer, Seed
from fitness import judges, safety
from fitness.evaluate import Evaluator
from fitness.types import Evaluation, EvaluationRequest, Gate, Judge
from workers import engines, local_models
from workers.embedders import RememberingEmbedder, SentenceTransformerEmbedder
from workers.interface import (
    ConfigError,
    Embedder,
    Engine,
    Generation,
    GenerationRequest,
    Sampling,
    Worker,
)
from workers.metering import Account, MeteredEngine
from workers.placement import Need, Node, even_share, left_over, problem
from workers.pool import Pool
from workers.replica import EngineWorker


def check(config: Config) -> None:
    """Look up every name that can be looked up before anything starts.

    Raises:
        ConfigError: an unknown judge, gate, engine, or a model that is neither here nor an id.
    """
    check_names(config)
    for engine in _asked(config):
        if engine.engine not in engines.ENDPOINTS:  # these say at start which models they have
            local_models.resolve(engine.model)
    local_models.resolve(config.embedder.model)


def check_names(config: Config) -> None:
    """The part of `check` that holds on every machine: models may lie on the cluster alone.

    Raises:
        ConfigError: an unknown algorithm, judge, gate or engine.
    """
    algorithms.require(config.search.algorithm)
    for name in config.judges:
        judges.require(name)
    for name in config.safety:
        safety.require(name)
    for engine in _asked(config):
        engines.require(engine.engine)


def _asked(config: Config) -> list[EngineConfig]:
    """Every engine that the config speaks of."""
    judging = [asked_engine(config, m) for name in config.judges for m in judges.needs_engine(name)]
    gating = [asked_engine(config, m) for m in map(safety.needs_model, config.safety) if m]
    proposing = [config.proposer.engine] if config.proposer.engine else []
    return [config.target, *proposing, *config.engines.values(), *judging, *gating]


def shared_cores(config: Config, nodes: Sequence[Node]) -> int:
    """The cores that replicas without `cpus` share: what the others leave, and no more than lets
    each replica lie on one node."""
    sharing = sum(engine.replicas for engine in _sharing_cores(config))
    if not sharing:
        return 1
    fixed = [need for engine, need in _needs(config, 1) if engine not in _sharing_cores(config)]
    return even_share(left_over(nodes, fixed), sharing)


def require_room(config: Config, nodes: Sequence[Node]) -> None:
    """Say before anything starts that replicas would wait for ever.

    Raises:
        ConfigError: the pools do not fit these nodes.
    """
    needs = [need for _, need in _needs(config, shared_cores(config, nodes))]
    found = problem(nodes, needs)
    if found is not None:
        raise ConfigError(f"{found}; change gpus, cpus or replicas, or give the cluster more nodes")


def asked_engine(config: Config, name: str) -> EngineConfig:
    """The engine behind `llm:NAME`: a block of `engines`, else the model NAME hosted as the target is.

    Raises:
        ConfigError: the target is on an endpoint, and NAME is neither a block nor the target's model.
    """
    if name in config.engines:
        return config.engines[name]
    target = config.target
    if name == target.model and target.adapter is None:
        same = target.model_dump(include=set(EngineConfig.model_fields))
        return EngineConfig.model_validate(same | {"replicas": 1})
    if target.engine in engines.ENDPOINTS:
        raise ConfigError(
            f"llm:{name}: the target is on an endpoint, so say where this model is: give it a block "
            f"under 'engines' and write llm: and the name of the block"
        )
    return EngineConfig(
        engine=target.engine,
        model=name,
        dtype=target.dtype,
        device=target.device,
        gpus=target.gpus,
    )


def sampling(config: SamplingConfig) -> Sampling:
    return Sampling(config.temperature, config.top_p, config.top_k, config.max_tokens)


def embedder(config: Config) -> Embedder:
    return RememberingEmbedder(SentenceTransformerEmbedder(config.embedder.model))


def gates(config: Config, embedder: Embedder, hosted: Mapping[str, safety.Hosted]) -> list[Gate]:
    """The safety gates; `hosted`: the started pools of `gate_pools` with their models' revisions."""
    return [safety.build(name, embedder, hosted.__getitem__) for name in config.safety]


def gate_pools(config: Config, cores: int) -> dict[str, Pool[GenerationRequest, Generation]]:
    """By the name behind `llm:`, a replica for each safety gate that asks a language model."""
    return {
        name: Pool(
            _hosting(settings, config, cores),
            replicas=1,
            cpus=_cpus(settings, config, cores),
            gpus=settings.gpus,
            name="gate",
        )
        for name, settings in _gate_engines(config).items()
    }


def _gate_engines(config: Config) -> dict[str, EngineConfig]:
    """The models of the `llm` gates, by the name behind `llm:`; one replica is enough for a gate."""
    names = [safety.needs_model(name) for name in config.safety]
    return {
        name: asked_engine(config, name).model_copy(update={"replicas": 1})
        for name in names
        if name is not None
    }


def judge(name: str, named: Mapping[str, EngineConfig]) -> Judge:
    """A judge in this process, for the command line. `llm:NAME` asks the engine `named` so, else a
    model that is loaded here."""

    def engine_of(model: str) -> Engine:
        if model in named:
            return _engine(named[model].model_dump(mode="json"), threads=None)
        return engines.build("transformers", model=model)

    return judges.build(name, engine_of)


def target_pool(config: Config, cores: int) -> Pool[EvaluationRequest, Evaluation]:
    """Replicas that hold an Evaluator each: fitness is computed beside the model."""
    cpus = _cpus(config.target, config, cores)
    return Pool(
        partial(_evaluator, config.model_dump(mode="json"), _threads(config.target, config, cores)),
        replicas=config.target.replicas,
        in_flight=config.search.in_flight,
        cpus=cpus,
        gpus=config.target.gpus,
        name="target",
    )


def proposer_pool(config: Config, cores: int) -> Pool[GenerationRequest, Generation] | None:
    """Replicas of the proposer's model; None when no operator needs one."""
    settings = config.proposer.engine
    if settings is None or "llm" not in config.proposer.operators:
        return None
    cpus = _cpus(settings, config, cores)
    return Pool(
        _hosting(settings, config, cores),
        replicas=settings.replicas,
        cpus=cpus,
        gpus=settings.gpus,
        name="proposer",
    )


def proposers(
    config: Config, seeds: Sequence[Seed], pool: Worker[GenerationRequest, Generation] | None
) -> dict[str, Proposer]:
    """Operator name -> proposer, the seeds' own included."""
    made: dict[str, Proposer] = {SeedProposer.name: SeedProposer(seeds)}
    if "lexical" in config.proposer.operators:
        from evo.operators.lexical import LexicalProposer

        made["lexical"] = LexicalProposer()
    if pool is not None and config.proposer.engine is not None:
        from evo.operators.llm import LlmProposer

        made["llm"] = LlmProposer(
            pool, sampling(config.proposer.engine.sampling), config.proposer.attempts
        )
    return made


def _hosting(settings: EngineConfig, config: Config, cores: int) -> Callable[[], EngineWorker]:
    """What builds a bare engine inside a replica."""
    threads, sharers = _threads(settings, config, cores), _sharers(settings, config)
    return partial(_engine_worker, settings.model_dump(mode="json"), threads, sharers)


def _threads(settings: EngineConfig, config: Config, cores: int) -> int:
    return max(1, int(_cpus(settings, config, cores)))


def _cpus(settings: EngineConfig, config: Config, cores: int) -> float:
    """Cores for each replica: as configured, else the cluster's cores shared evenly by those that
    compute here."""
    if settings.cpus is not None:
        return settings.cpus
    if settings.engine in engines.ENDPOINTS:
        return 0
    if settings.gpus:
        return 1
    share = cores / sum(engine.replicas for engine in _sharing_cores(config))
    # Ray wants whole cores from one up; below one, replicas share a core.
    return float(int(share)) if share >= 1 else int(100 * share) / 100  # together never too much


def _pools(config: Config) -> list[tuple[str, EngineConfig]]:
    """Every pool of the run by its name."""
    pools: list[tuple[str, EngineConfig]] = [("target", config.target)]
    pools += [("gate", gate) for gate in _gate_engines(config).values()]
    if config.proposer.engine is not None and "llm" in config.proposer.operators:
        pools.append(("proposer", config.proposer.engine))
    return pools


def _sharing_cores(config: Config) -> list[EngineConfig]:
    """The engines whose replicas compute here and share the cluster's cores evenly."""
    return [
        engine
        for _, engine in _pools(config)
        if engine.cpus is None and not engine.gpus and engine.engine not in engines.ENDPOINTS
    ]


def _needs(config: Config, cores: int) -> list[tuple[EngineConfig, Need]]:
    """What the replicas of each pool take of a cluster."""
    return [
        (engine, Need(name, engine.replicas, _cpus(engine, config, cores), engine.gpus))
        for name, engine in _pools(config)
    ]


def _sharers(settings: EngineConfig, config: Config) -> int:
    """How many processes ask the endpoint of `settings`: they share its rate limit evenly."""
    if settings.engine not in engines.ENDPOINTS:
        return 1
    judging = [asked_engine(config, m) for name in config.judges for m in judges.needs_engine(name)]

    def asks(engine: EngineConfig) -> bool:
        return engine.engine in engines.ENDPOINTS and engine.base_url == settings.base_url

    # Judges live beside the target, in its processes.
    beside = config.target.replicas if any(map(asks, [config.target, *judging])) else 0
    return max(1, beside + sum(e.replicas for _, e in _pools(config)[1:] if asks(e)))


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
    return engines.build(
        settings["engine"],
        model=settings["model"],
        adapter=settings["adapter"],
        dtype=settings["dtype"],
        device=settings["device"],
        batch_tokens=settings["batch_tokens"],
        threads=threads,
    )


# What two engines that are one may differ in.
_NOT_THE_ENGINE = {"replicas", "cpus", "gpus", "sampling"}


def _evaluator(raw: Mapping[str, Any], threads: int) -> Evaluator:
    """Runs inside a replica."""
    config = Config.model_validate(raw)
    built: dict[str, Engine] = {}
    judging = Account()

    def engine_for(settings: EngineConfig) -> Engine:
        """Judges of one model share its weights, with the target too."""
        kept = set(EngineConfig.model_fields) - _NOT_THE_ENGINE
        key = settings.model_dump_json(include=kept)
        if key not in built:
            built[key] = _engine(
                settings.model_dump(mode="json"), threads, _sharers(settings, config)
            )
        return built[key]

    target = engine_for(config.target)
    return Evaluator(
        target,
        [
            judges.build(
                name,
                lambda model: MeteredEngine(engine_for(asked_engine(config, model)), judging),
            )
            for name in config.judges
        ],
        sampling=sampling(config.target.sampling),
        system_prompt=config.target.system_text,
        weight=config.search.confidence_weight,
        entropy_weight=config.search.entropy_weight,
        side_costs=judging.take,
    )


def _engine_worker(settings: Mapping[str, Any], threads: int, sharers: int) -> EngineWorker:
    """Runs inside a replica."""
    return EngineWorker(_engine(settings, threads, sharers))
