"""What a replica that is cut into pieces takes of the cluster."""

from __future__ import annotations

import pytest

from workers.engines.parallel import footprint
from workers.interface import ConfigError


def test_a_whole_model_is_one_actor() -> None:
    assert footprint(cpus=4, gpus=0).bundles == ()
    on_gpu = footprint(cpus=1, gpus=1)
    assert (on_gpu.executor, on_gpu.actor_gpus, on_gpu.bundles) == ("uni", 1, ())


def test_replicas_may_share_a_gpu() -> None:
    assert footprint(cpus=1, gpus=0.25).actor_gpus == 0.25


def test_each_piece_on_a_gpu_has_a_bundle_and_the_actor_takes_no_gpu() -> None:
    cut = footprint(tensor_parallel=2, pipeline_parallel=2, cpus=1, gpus=4)
    assert (cut.executor, cut.actor_gpus, cut.actor_cpus) == ("ray", 0.0, 1.0)
    assert [bundle["GPU"] for bundle in cut.bundles] == [1.0] * 4
    assert all(bundle["CPU"] >= 1.0 for bundle in cut.bundles)


def test_the_cores_of_the_actor_lie_in_the_first_bundle() -> None:
    cut = footprint(tensor_parallel=2, cpus=3, gpus=2)
    assert cut.actor_cpus == cut.bundles[0]["CPU"] == 3.0


def test_pieces_on_cpu_are_children_of_the_actor() -> None:
    cut = footprint(tensor_parallel=2, cpus=8, gpus=0)
    assert (cut.executor, cut.actor_cpus, cut.bundles) == ("mp", 8, ())


def test_layers_are_dealt_out_to_gpus_alone() -> None:
    with pytest.raises(ConfigError, match=r"pipeline_parallel.*needs GPUs"):
        footprint(pipeline_parallel=2, cpus=8, gpus=0)


@pytest.mark.parametrize(("pieces", "gpus"), [(1, 2), (2, 1), (4, 2), (2, 0.5)])
def test_gpus_that_do_not_match_the_pieces_are_said_before_anything_starts(
    pieces: int, gpus: float
) -> None:
    with pytest.raises(ConfigError, match="give both the same number"):
        footprint(tensor_parallel=pieces, cpus=1, gpus=gpus)
