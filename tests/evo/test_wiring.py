"""From config to pools: who shares replicas with whom."""

from __future__ import annotations

from typing import Any

import pytest

from evo import wiring
from evo.config import Config, validate
from workers.pool import Pool, Prioritised, Replicas

GATE = "llm:local:smollm2"


def config(proposer_model: str, **target: Any) -> Config:
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
    assert isinstance(gate_pool(config("local:smollm2")), Prioritised)


def test_a_gate_with_another_model_has_a_replica_of_its_own() -> None:
    pool = gate_pool(config("local:smollm2-overcautious"))
    assert isinstance(pool, Pool)
    assert pool.limits == Replicas(1, 1)


@pytest.mark.parametrize(
    ("replicas", "limits"), [(3, Replicas(3, 3)), ({"min": 1, "max": 5}, Replicas(1, 5))]
)
def test_the_target_has_as_many_replicas_as_the_config_says(
    replicas: object, limits: Replicas
) -> None:
    settings = config("local:smollm2", replicas=replicas)
    assert wiring.target_pool(settings, cores=4).limits == limits
