"""What the pools of a config take of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from evo import hosting
from evo.config import Config, validate
from workers.interface import ConfigError
from workers.placement import Node

TWO = [Node("a", 8, 2), Node("b", 8, 2)]


def config(**changes: Any) -> Config:
    raw: dict[str, Any] = {
        "seeds": {"dataset": "xstest-safe"},
        "target": {"model": "m"},
        "budget": {"evaluations": 9},
    }
    return validate(raw | changes)


def test_a_replica_without_cpus_takes_one_node_and_no_more() -> None:
    assert hosting.shared_cores(config(), TWO) == 8
    assert hosting.shared_cores(config(target={"model": "m", "replicas": 4}), TWO) == 16
    hosting.require_room(config(), TWO)


def test_cores_that_others_reserve_are_not_shared() -> None:
    mixed = config(
        target={"model": "m", "gpus": 1, "replicas": 4},
        proposer={"operators": ["llm"], "engine": {"model": "p"}},
    )
    assert hosting.shared_cores(mixed, TWO) == 6
    hosting.require_room(mixed, TWO)


def test_all_pools_count() -> None:
    judged_by_a_model = config(
        target={"model": "m", "gpus": 1, "replicas": 4}, safety=["llm:another/model"]
    )
    with pytest.raises(ConfigError, match=r"target \(4 replicas\) and gate .* need 5 GPUs in all"):
        hosting.require_room(judged_by_a_model, TWO)


def test_a_proposer_that_no_operator_uses_takes_nothing() -> None:
    greedy = {"model": "p", "gpus": 9, "cpus": 5}
    unused = config(proposer={"operators": ["lexical"], "engine": greedy})
    hosting.require_room(unused, TWO)
    assert hosting.shared_cores(unused, TWO) == hosting.shared_cores(config(), TWO)
    used = config(proposer={"operators": ["llm"], "engine": greedy})
    with pytest.raises(ConfigError, match="9 GPUs"):
        hosting.require_room(used, TWO)


def test_a_replica_that_no_node_holds_is_named_with_the_mend() -> None:
    with pytest.raises(ConfigError, match="needs 4 GPUs on one node, the largest node has 2") as e:
        hosting.require_room(config(target={"model": "m", "gpus": 4}), TWO)
    assert "change gpus, cpus or replicas" in str(e.value)
