"""Who asks which model, and what of a cluster that takes. Pure: from the config to names and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from evo.config import Config, EngineConfig
from fitness import judges, safety
from workers import engines
from workers.engines.parallel import Footprint
from workers.engines.parallel import footprint as _footprint
from workers.interface import ConfigError
from workers.placement import Need, Node, even_share, left_over, problem

# What two engines may differ in that one process can serve.
_NOT_THE_MODEL = {"replicas", "cpus", "gpus", "sampling"}


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
        vllm=target.vllm,
    )


def judge_engines(config: Config) -> list[EngineConfig]:
    """Of the `llm` judges; they live beside the target, in its processes."""
    return [
        asked_engine(config.about(target), model)
        for target in config.every_target
        for name in config.judges
        for model in judges.needs_engine(name)
    ]


def gate_engines(config: Config) -> dict[str, EngineConfig]:
    """Of the `llm` gates, by the name behind `llm:`; one replica is enough for a gate."""
    names = [safety.needs_model(name) for name in config.safety]
    return {
        name: asked_engine(config, name).model_copy(update={"replicas": 1})
        for name in names
        if name is not None
    }


def guard_engines(config: Config) -> dict[str, EngineConfig]:
    """What the latent guards look into, by the gates' names: the target's model, or the named one."""
    found = {}
    for gate in config.safety:
        guarding = safety.guard_of(gate)
        if guarding is not None:
            name = guarding[1] or config.target.model
            own = name == config.target.model and name not in config.engines
            settings = config.target if own else asked_engine(config, name)
            same = settings.model_dump(include=set(EngineConfig.model_fields))
            found[gate] = EngineConfig.model_validate(same | {"replicas": 1})
    return found


def require_states(config: Config) -> None:
    """Refuse latent guards, and a fitness that reads thoughts, over engines without hidden states.

    Raises:
        ConfigError: names the gate or the fitness, the engine and the mend.
    """
    for name, target in config.every_target.items():
        if config.search.objective.reads_thoughts and target.engine != "transformers":
            key = f"targets.{name}" if config.targets else name
            raise ConfigError(
                f"search.fitness: '{config.search.fitness}' reads hidden states, which the engine "
                f"'{target.engine}' of '{target.model}' does not show; set {key}.engine to transformers"
            )
    for gate, settings in guard_engines(config).items():
        if settings.engine != "transformers":
            raise ConfigError(
                f"safety: '{gate}' reads hidden states, which the engine '{settings.engine}' of "
                f"'{settings.model}' does not show; set target.engine to transformers, or write "
                "@NAME behind it with a block of 'engines' that is"
            )


def proposing_engine(config: Config) -> EngineConfig | None:
    """Of the `llm` operator, where it is used."""
    return config.proposer.engine if "llm" in config.proposer.operators else None


def named_engines(config: Config) -> list[EngineConfig]:
    """Every engine that the config speaks of."""
    proposing = [config.proposer.engine] if config.proposer.engine else []
    gating = gate_engines(config).values()
    return [
        *config.every_target.values(),
        *proposing,
        *config.engines.values(),
        *judge_engines(config),
        *gating,
        *guard_engines(config).values(),
    ]


def model_key(settings: EngineConfig) -> str:
    """Equal for two engines that one process can serve."""
    return settings.model_dump_json(include=set(EngineConfig.model_fields) - _NOT_THE_MODEL)


def shares_the_proposers(settings: EngineConfig, config: Config) -> bool:
    """Whether a gate of this engine asks the proposer's replicas."""
    proposing = proposing_engine(config)
    return proposing is not None and model_key(settings) == model_key(proposing)


def pools(config: Config) -> list[tuple[str, EngineConfig]]:
    """Every pool of the run, by its name."""
    gating = [g for g in gate_engines(config).values() if not shares_the_proposers(g, config)]
    proposing = proposing_engine(config)
    return [
        *((pool_name(config, name), target) for name, target in config.every_target.items()),
        *(("gate", gate) for gate in gating),
        *(("guard", guard) for guard in guard_engines(config).values()),
        *([("proposer", proposing)] if proposing is not None else []),
    ]


def pool_name(config: Config, target: str) -> str:
    """Of a target's pool: "target", and of several "target-NAME"."""
    return f"target-{target}" if config.targets else "target"


def sharers(settings: EngineConfig, config: Config) -> int:
    """How many processes ask the endpoint of `settings`: they share its rate limit evenly."""
    if settings.engine not in engines.ENDPOINTS:
        return 1

    def asks(engine: EngineConfig) -> bool:
        return engine.engine in engines.ENDPOINTS and engine.base_url == settings.base_url

    beside = sum(
        target.most_replicas
        for name, target in config.every_target.items()
        if any(map(asks, [target, *judge_engines(config.about(name))]))
    )
    others = pools(config)[len(config.every_target) :]
    return max(1, beside + sum(e.most_replicas for _, e in others if asks(e)))


def cpus(settings: EngineConfig, config: Config, cores: int) -> float:
    """Cores for each replica: as configured, else the cluster's cores shared evenly by those that
    compute here."""
    if settings.cpus is not None:
        return settings.cpus
    if settings.engine in engines.ENDPOINTS:
        return 0
    if settings.gpus:
        return 1
    share = cores / sum(engine.most_replicas for engine in _sharing_cores(config))
    # Ray wants whole cores from one up; below one, replicas share a core.
    return float(int(share)) if share >= 1 else int(100 * share) / 100  # together never too much


def threads(settings: EngineConfig, config: Config, cores: int) -> int:
    return max(1, int(cpus(settings, config, cores)))


def footprint(settings: EngineConfig, cores: float) -> Footprint:
    """What one replica with so many cores takes of the cluster.

    Raises:
        ConfigError: the GPUs and the pieces of the model do not match.
    """
    if settings.engine != "vllm":
        return Footprint("uni", cores, settings.gpus)
    return _footprint(
        tensor_parallel=settings.vllm.tensor_parallel,
        pipeline_parallel=settings.vllm.pipeline_parallel,
        cpus=cores,
        gpus=settings.gpus,
    )


def shared_cores(config: Config, nodes: Sequence[Node]) -> int:
    """The cores that replicas without `cpus` share: what the others leave, and no more than lets
    each replica lie on one node."""
    sharing = sum(engine.most_replicas for engine in _sharing_cores(config))
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


def _sharing_cores(config: Config) -> list[EngineConfig]:
    """The engines whose replicas compute here and share the cluster's cores evenly."""
    return [
        engine
        for _, engine in pools(config)
        if engine.cpus is None and not engine.gpus and engine.engine not in engines.ENDPOINTS
    ]


def _needs(config: Config, cores: int) -> list[tuple[EngineConfig, Need]]:
    """What the replicas of each pool take of a cluster; the pieces of one layer lie on one node."""
    return [
        (
            engine,
            Need(
                name,
                engine.least_replicas,
                cpus(engine, config, cores),
                engine.gpus / engine.vllm.pipeline_parallel,
                engine.vllm.pipeline_parallel,
            ),
        )
        for name, engine in pools(config)
    ]
