"""What is known of a cluster's nodes beside those that are up."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers import cluster
from workers.interface import ConfigError

FILE = """
max_workers: 3
head_node_type: head
available_node_types:
  head: {resources: {CPU: 4}, node_config: {}}
  small: {resources: {CPU: 8, GPU: 1}, max_workers: 3, node_config: {}}
  large: {resources: {CPU: 48, GPU: 4}, max_workers: 2, node_config: {}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "ray_bootstrap_config.yaml"


def test_nodes_that_may_be_added_are_those_of_the_file_as_far_as_there_is_room(file: Path) -> None:
    file.write_text(FILE)
    assert [n.gpus for n in cluster._may_be_added(file, workers=0)] == [4, 4, 1]
    assert [n.gpus for n in cluster._may_be_added(file, workers=2)] == [4]
    assert cluster._may_be_added(file, workers=5) == []


@pytest.mark.parametrize(
    "text", ["", "[]", "max_workers: 1", "a: [", FILE.replace("GPU: 4", "GPU: x")]
)
def test_a_file_that_is_another_is_named(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match="ray_bootstrap_config"):
        cluster._may_be_added(file, workers=0)


def test_an_autoscaler_whose_limits_cannot_be_read_is_noticed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_enable_autoscaler_v2", raising=False)
    assert not cluster.grows_unseen()
    monkeypatch.setenv("RAY_enable_autoscaler_v2", "1")
    assert cluster.grows_unseen()
    file.write_text(FILE)  # `ray up` says what it may add
    assert not cluster.grows_unseen()
