"""ray_cluster.yaml and deploy/kuberay: sound, guarded by the token, and in step with the code."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from evo.cli import app
from workers import cluster

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "ray_cluster.yaml"
KUBERAY = ROOT / "deploy/kuberay"


def pinned(name: str) -> str:
    found = re.search(rf"^{name}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found.group(1)


def words_in(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a document with its value, however deep."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from words_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from words_in(value)


# ray up


@pytest.fixture
def launcher() -> dict[str, Any]:
    return dict(yaml.safe_load(LAUNCHER.read_text(encoding="utf-8")))


def test_ray_accepts_the_launcher_file(launcher: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(launcher))
    validate_config(prepared)
    gpu = prepared["available_node_types"]["gpu"]
    assert gpu["min_workers"] <= gpu["max_workers"] <= prepared["max_workers"]
    assert prepared["available_node_types"][launcher["head_node_type"]]["max_workers"] == 0


def test_rays_schema_would_notice_a_wrong_key(launcher: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(jsonschema.ValidationError, match="max_nodes"):
        validate_config(prepare_config({**launcher, "max_nodes": 3}))


def test_every_node_starts_with_the_token_and_opens_nothing(launcher: dict[str, Any]) -> None:
    commands = [*launcher["head_start_ray_commands"], *launcher["worker_start_ray_commands"]]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert not any("0.0.0.0" in command for command in commands)  # noqa: S104
    assert "security_group" not in launcher["provider"]  # nothing beside Ray's own: SSH
    assert "/home/ubuntu/.ray/auth_token" in launcher["file_mounts"]


def test_the_nodes_get_our_packages_by_name_and_no_data(launcher: dict[str, Any]) -> None:
    mounts = {there: here for there, here in launcher["file_mounts"].items() if "evocliff" in there}
    assert all((ROOT / here).exists() for here in mounts.values())
    assert {Path(folder).name for folder in cluster.packages()} <= set(mounts.values())
    assert not {"data", "out", ".venv", "."} & set(mounts.values())


def test_the_head_is_no_spot_node_and_gpu_nodes_may_be(launcher: dict[str, Any]) -> None:
    kinds = launcher["available_node_types"]
    assert "InstanceMarketOptions" not in kinds["head"]["node_config"]
    assert kinds["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert kinds["gpu"]["resources"]["GPU"] >= 1


def test_the_limits_of_the_launcher_file_are_read_on_the_head(
    launcher: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text(yaml.safe_dump(launcher))
    added = cluster._may_be_added(file, workers=1)
    assert [(node.name, node.cpus, node.gpus) for node in added] == [("gpu", 8, 1)] * 3


# KubeRay


def manifest(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((KUBERAY / name).read_text(encoding="utf-8")))


def cluster_spec(name: str) -> dict[str, Any]:
    spec = manifest(name)["spec"]
    return dict(spec["rayClusterSpec"] if name == "rayjob.yaml" else spec)


@pytest.mark.parametrize(
    ("name", "kind"), [("rayjob.yaml", "RayJob"), ("raycluster.yaml", "RayCluster")]
)
def test_a_manifest_has_the_fields_that_kuberay_needs(name: str, kind: str) -> None:
    whole, spec = manifest(name), cluster_spec(name)
    assert (whole["apiVersion"], whole["kind"]) == ("ray.io/v1", kind)
    assert re.fullmatch(r"[a-z][a-z0-9-]*", whole["metadata"]["name"])
    assert spec["rayVersion"] == pinned("ray")
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(v, str) for v in group["rayStartParams"].values())  # else refused
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    for group in spec["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_a_manifest_asks_for_the_token_and_opens_nothing(name: str) -> None:
    spec = cluster_spec(name)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    found = list(words_in(manifest(name)))
    assert not [key for key, _ in found if key in {"enableIngress", "hostPort", "hostNetwork"}]
    # Secrets come from a Kubernetes secret, never from the file.
    assert not [key for key, _ in found if re.search("PASSWORD|TOKEN|KEY", key)]
    assert "evocliff-secrets" in (KUBERAY / name).read_text()


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_all_pods_run_one_image_with_a_version(name: str) -> None:
    images = {value for key, value in words_in(manifest(name)) if key == "image"}
    assert images == {"REGISTRY/evocliff:0.1.0"}


def test_the_rayjob_runs_a_command_of_ours_and_does_not_repeat_it() -> None:
    spec = manifest("rayjob.yaml")["spec"]
    words = shlex.split(spec["entrypoint"])
    assert words[:4] == ["python", "-m", "evo.cli", "search"]
    known = CliRunner().invoke(app, ["search", "--help"], env={"COLUMNS": "200"}).stdout
    assert all(word in known for word in words if word.startswith("--"))
    assert spec["backoffLimit"] == 0
    assert spec["shutdownAfterJobFinishes"] is True
    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"] == "600"


def test_the_image_is_made_of_the_ray_that_we_pin() -> None:
    text = (KUBERAY / "Dockerfile").read_text()
    assert f"FROM rayproject/ray:{pinned('ray')}-py311-gpu" in text
    for folder in cluster.packages():
        assert f"COPY --chown=ray:users {Path(folder).name} " in text
