"""The one place that turns a config into parts: engines, judges, gates, proposers, pools.

An edge: it may import everything. Nothing imports it but the other edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from evo import algorithms
from evo.config import Config, EngineConfig, SamplingConfig
from evo.operators.seeds import SeedProposer
from evo.types import Proposer, Seed
from fitness import judges, safety
from fitness.evaluate import Evaluator
from fitness.types import Evaluation, EvaluationRequest, Gate
from workers import engines, local_models
from workers.embedders import RememberingEmbedder, SentenceTransformerEmbedder
from workers.engines import parallel
from workers.interface import (
    Embedder,
    Engine,
    Generation,
    GenerationRequest,
    Sampling,
)
from workers.pool import Pool
from workers.replica import EngineWorker


def check(config: Config) -> None:
    """Look up every name that can be looked up before anything starts.

    Raises:
        ConfigError: an unknown judge, gate, engine, or a model that is neither here nor an id.
    """
    algorithms.require(config.search.algorithm)
    for name in config.judges:
        judges.require(name)
        for model in judges.needs_engine(name):
            local_models.resolve(model)
    for name in config.safety:
        safety.require(name)
        if (asked := safety.needs_model(name)) is not None:
            local_models.resolve(asked)
    for engine in (config.target, config.proposer.engine):
        if engine is not None:
            engines.require(engine.engine)
            local_models.resolve(engine.model)
            if engine.engine == "vllm":
                footprint(engine, cpus=1)
    local_models.resolve(config.embedder.model)


def sampling(config: SamplingConfig) -> Sampling:
    return Sampling(config.temperature, config.top_p, config.top_k, config.max_tokens)


def embedder(config: Config) -> Embedder:
    return RememberingEmbedder(SentenceTransformerEmbedder(config.embedder.model))


def gates(config: Config, embedder: Embedder, hosted: Mapping[str, safety.Hosted]) -> list[Gate]:
    """The safety gates; `hosted`: the started pools of `gate_pools` with their models' revisions."""
    return [safety.build(name, embedder, hosted.__getitem__) for name in config.safety]


def gate_pools(config: Config, cores: int) -> dict[str, Pool[GenerationRequest, Generation]]:
    """By model, a replica for each safety gate that asks a language model."""
    return {
        settings.model: Pool(
            partial(
                _engine_worker, settings.model_dump(mode="json"), _threads(settings, config, cores)
            ),
            replicas=1,
            cpus=_cpus(settings, config, cores),
            gpus=settings.gpus,
            name="gate",
        )
        for settings in _gate_engines(config)
    }


def _gate_engines(config: Config) -> list[EngineConfig]:
    """The models of the `llm` gates, hosted as the target is."""
    models = [safety.needs_model(name) for name in config.safety]
    target = config.target
    return [
        EngineConfig(
            engine=target.engine,
            model=model,
            dtype=target.dtype,
            device=target.device,
            gpus=target.gpus,
        )
        for model in dict.fromkeys(models)
        if model is not None
    ]


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
        partial(
            _engine_worker, settings.model_dump(mode="json"), _threads(settings, config, cores)
        ),
        replicas=settings.replicas,
        cpus=cpus,
        gpus=settings.gpus,
        name="proposer",
    )


def proposers(
    config: Config, seeds: Sequence[Seed], pool: Pool[GenerationRequest, Generation] | None
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


def footprint(settings: EngineConfig, cpus: float) -> parallel.Footprint:
    """What one replica takes of the cluster.

    Raises:
        ConfigError: the GPUs and the pieces of the model do not match.
    """
    cut = settings.vllm
    return parallel.footprint(
        tensor_parallel=cut.tensor_parallel,
        pipeline_parallel=cut.pipeline_parallel,
        cpus=cpus,
        gpus=settings.gpus,
    )


def _threads(settings: EngineConfig, config: Config, cores: int) -> int:
    return max(1, int(_cpus(settings, config, cores)))


def _cpus(settings: EngineConfig, config: Config, cores: int) -> float:
    """Cores for each replica: as configured, else the cluster's cores shared evenly."""
    if settings.cpus is not None:
        return settings.cpus
    if settings.gpus:
        return 1
    pools: list[EngineConfig] = [config.target, *_gate_engines(config)]
    pools += [config.proposer.engine] if config.proposer.engine else []
    replicas = sum(p.replicas for p in pools if p.cpus is None and not p.gpus)
    share = cores / replicas
    # Ray wants whole cores from one up; below one, replicas share a core.
    return float(int(share)) if share >= 1 else round(share, 2)


def _engine(settings: Mapping[str, Any], threads: int) -> Engine:
    of_vllm: dict[str, Any] = {}
    if settings["engine"] == "vllm":
        cut = {key: settings["vllm"][key] for key in ("tensor_parallel", "pipeline_parallel")}
        placed = parallel.footprint(**cut, cpus=threads, gpus=settings["gpus"])
        of_vllm = {**settings["vllm"], "executor": placed.executor}
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


def _evaluator(raw: Mapping[str, Any], threads: int) -> Evaluator:
    """Runs inside a replica."""
    config = Config.model_validate(raw)
    target = _engine(raw["target"], threads)

    def engine_of(model: str) -> Engine:
        """A judge that is the target itself shares its weights."""
        if model == config.target.model and config.target.adapter is None:
            return target
        return engines.build(config.target.engine, model=model, threads=threads)

    return Evaluator(
        target,
        [judges.build(name, engine_of) for name in config.judges],
        sampling=sampling(config.target.sampling),
        system_prompt=config.target.system_text,
        weight=config.search.confidence_weight,
        entropy_weight=config.search.entropy_weight,
    )


def _engine_worker(settings: Mapping[str, Any], threads: int) -> EngineWorker:
    """Runs inside a replica."""
    return EngineWorker(_engine(settings, threads))
