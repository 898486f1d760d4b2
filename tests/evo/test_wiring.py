"""Which engine stands behind a name, who shares what, and which pools a config makes."""

from __future__ import annotations

from typing import Any

import pytest

from evo import hosting, wiring
from evo.config import Config, validate
from workers.interface import ConfigError
from workers.pool import Pool, Prioritised, Replicas

HERE = {"engine": "openai", "model": "m", "base_url": "http://here/v1", "requests_per_minute": 60}
THERE = HERE | {"base_url": "http://there/v1"}


def config(**changes: Any) -> Config:
    raw: dict[str, Any] = {
        "seeds": {"dataset": "xstest-safe"},
        "target": {"model": "local:smollm2"},
        "budget": {"evaluations": 4},
    }
    return validate(raw | changes)


def test_a_name_is_a_block_before_it_is_a_model() -> None:
    made = config(engines={"judge": THERE}, target={"model": "judge-model", "dtype": "float32"})
    assert hosting.asked_engine(made, "judge").base_url == "http://there/v1"
    bare = hosting.asked_engine(made, "local:smollm2")
    assert (bare.engine, bare.model, bare.dtype) == ("transformers", "local:smollm2", "float32")


def test_beside_a_target_on_an_endpoint_another_model_needs_a_block() -> None:
    made = config(target=HERE)
    assert hosting.asked_engine(made, "m").base_url == "http://here/v1"
    with pytest.raises(ConfigError, match=r"llm:other.*under 'engines'"):
        wiring.check(config(target=HERE, judges=["llm:other"]))


def test_models_on_endpoints_are_not_looked_for_here() -> None:
    named = {"judge": THERE | {"model": "gpt-4o-mini"}}
    wiring.check(config(target=HERE, engines=named, judges=["embedded", "llm:judge"]))
    with pytest.raises(ConfigError, match="'nowhere'"):
        wiring.check(config(engines={"judge": {"model": "nowhere"}}, safety=["llm:judge"]))


def test_endpoints_take_no_cores_and_leave_them_to_models_that_run_here() -> None:
    made = config(
        engines={"judge": THERE},
        proposer={"operators": ["llm"], "engine": {"engine": "judge"}},
        safety=["llm:judge"],
    )
    assert made.proposer.engine is not None
    assert hosting.cpus(made.target, made, 4) == 4
    assert hosting.cpus(made.proposer.engine, made, 4) == 0


def test_processes_that_ask_one_endpoint_share_its_rate() -> None:
    made = config(
        target=HERE | {"replicas": 2},
        engines={"gate": HERE | {"model": "another"}, "judge": THERE},
        proposer={"operators": ["llm"], "engine": HERE},
        judges=["embedded", "llm:judge"],
        safety=["seed-contrast", "llm:gate"],
    )
    assert hosting.sharers(made.target, made) == 2 + 1 + 1
    assert hosting.sharers(made.engines["judge"], made) == 2


GATE = "llm:local:smollm2"


def gated(proposer_model: str, **target: Any) -> Config:
    return validate(
        {
            "seeds": {"dataset": "xstest-safe"},
            "target": {"model": "local:smollm2-overcautious", **target},
            "proposer": {"operators": ["llm"], "engine": {"model": proposer_model}},
            "safety": [GATE],
            "budget": {"evaluations": 10},
        }
    )


def gate_pool(settings: Config) -> object:
    proposing = wiring.proposer_pool(settings, cores=4)
    (pool,) = wiring.gate_pools(settings, 4, proposing).values()
    return pool


def test_a_gate_that_asks_the_proposers_model_shares_its_replicas() -> None:
    assert isinstance(gate_pool(gated("local:smollm2")), Prioritised)


def test_a_gate_with_another_model_has_a_replica_of_its_own() -> None:
    pool = gate_pool(gated("local:smollm2-overcautious"))
    assert isinstance(pool, Pool)
    assert pool.limits == Replicas(1, 1)


@pytest.mark.parametrize(
    ("replicas", "limits"), [(3, Replicas(3, 3)), ({"min": 1, "max": 5}, Replicas(1, 5))]
)
def test_the_target_has_as_many_replicas_as_the_config_says(
    replicas: object, limits: Replicas
) -> None:
    settings = gated("local:smollm2", replicas=replicas)
    assert wiring.target_pool(settings, cores=4).limits == limits


def test_a_target_on_vllm_is_built_with_all_that_vllm_alone_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    def build(name: str, **settings: Any) -> object:
        asked.append({"engine": name} | settings)
        return object()

    monkeypatch.setattr(wiring.engines, "build", build)
    target = {"engine": "vllm", "model": "m", "gpus": 2, "vllm": {"tensor_parallel": 2}}
    wiring._evaluator(config(target=target).model_dump(mode="json"), threads=1)
    (settings,) = asked
    assert (settings["engine"], settings["executor"]) == ("vllm", "ray")
    assert (settings["tensor_parallel"], settings["kv_cache_gib"]) == (2, None)
