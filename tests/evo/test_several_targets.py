"""`targets`: what the config takes, and what is placed for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from evo import api, hosting, wiring
from evo.cli import app
from evo.config import Config, validate, with_overrides
from workers.interface import ConfigError, EngineDescription
from workers.placement import Node

MODEL = {"model": "local:smollm2"}


def raw(**changes: Any) -> dict[str, Any]:
    return {
        "seeds": {"dataset": "xstest-safe"},
        "targets": {"a": MODEL, "b": MODEL | {"system_prompt": "safety-prior", "replicas": 2}},
        "budget": {"evaluations": 10},
    } | changes


def config(**changes: Any) -> Config:
    return validate(raw(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": {"a": MODEL}}, "two or more"),
        ({"target": {"model": "other"}}, "either 'target' or 'targets'"),
        ({"search": {"fitness_over": "median"}}, "search.fitness_over"),
        ({"search": {"quantile": 1.5}}, "search.quantile"),
        ({"targets": {"a": MODEL, "b": {"modle": "x"}}}, "did you mean 'model'"),
        ({"targets": {"a": {"modle": "x"}, "b": MODEL}}, "'targets.a.modle'"),
        ({"targets": {"a b": MODEL, "b": MODEL}}, "targets.a b"),
        ({"targets": {"a": "x", "b": MODEL}}, "targets.a"),
        ({"targets": [MODEL, MODEL]}, "targets"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(raw(**changes), sort_keys=False))
    result = CliRunner().invoke(app, ["search", str(path), "--dry-run"])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert said in line


def test_the_stored_form_is_the_same_config_again() -> None:
    made = config()
    assert validate(made.model_dump(mode="json")) == made
    assert list(made.every_target) == ["a", "b"]
    assert made.about("b").target == made.targets["b"]
    assert list(made.about("b").every_target) == ["target"]


def test_a_resumed_run_may_change_the_replicas_of_each_target_and_no_more() -> None:
    again = with_overrides(config(), ["targets.a.replicas=3"])
    assert (again.target.replicas, again.targets["b"].replicas) == (3, 2)
    with pytest.raises(ConfigError, match="may change"):
        api.stored_config("sqlite:///none.db", "run", ["targets.a.model=x"])


def test_every_target_has_a_pool_and_its_share_of_the_cores() -> None:
    made = config()
    assert [name for name, _ in hosting.pools(made)] == ["target-a", "target-b"]
    assert hosting.shared_cores(made, [Node("n", 6, 0)]) == 6
    assert hosting.cpus(made.targets["b"], made, 6) == 2
    pools = wiring.target_pools(made, cores=6)
    assert [(n, p.name, p.limits.max) for n, p in pools.items()] == [
        ("a", "target-a", 1),
        ("b", "target-b", 2),
    ]


def test_a_target_that_fits_no_node_is_named() -> None:
    gpu = MODEL | {"gpus": 1}
    with pytest.raises(ConfigError, match="target-b"):
        hosting.require_room(config(targets={"a": MODEL, "b": gpu}), [Node("n", 4, 0)])


def test_targets_may_name_blocks_and_share_the_limit_of_one_endpoint() -> None:
    served = {"engine": "openai", "model": "m", "base_url": "http://h:1/v1"}
    made = config(
        engines={"served": served},
        targets={"a": {"engine": "served"}, "b": {"engine": "served", "system_prompt": "x"}},
    )
    assert made.targets["b"].base_url == "http://h:1/v1"
    assert hosting.sharers(made.targets["a"], made) == 2


def test_two_targets_that_are_the_same_are_refused_by_name() -> None:
    one = EngineDescription("fake", "m", "r", "t", "float32", "cpu", 100)
    with pytest.raises(
        ConfigError, match=r"targets.b: the same target as targets.a.*targets.a.rep"
    ):
        api._targets(config(targets={"a": MODEL, "b": MODEL}), [one, one])


def test_the_estimate_counts_what_every_target_may_generate(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(raw(), sort_keys=False))
    arguments = ["search", str(path), "--dry-run", "--db", f"sqlite:///{tmp_path}/x.db"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "# target samples: at least 38 " in result.output
    assert "at most 200: 2 of each prompt" in result.output
    assert "# target tokens: at most 10000" in result.output
    assert "# replicas: 2 of local:smollm2" in result.output
