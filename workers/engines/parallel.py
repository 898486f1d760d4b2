"""How many processes one replica of a model needs and what it takes of the cluster. Pure.

A model cut into pieces (tensor and pipeline parallel) has one worker process for each piece. On GPUs
these are Ray actors in a placement group, one bundle each, so that they may lie on several nodes; on
CPU they are children of the replica's process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workers.interface import ConfigError

# vLLM's names for what starts its workers: its own process, child processes, Ray.
Executor = Literal["uni", "mp", "ray"]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one replica takes.

    Without `bundles`, its actor reserves `actor_cpus` and `actor_gpus`. With them, the replica has a
    placement group of its own (strategy PACK); the actor sits in the first bundle, takes `actor_cpus`
    of it and no GPU, and its children are captured by the group: the workers take the GPUs.
    """

    executor: Executor
    actor_cpus: float
    actor_gpus: float
    bundles: tuple[Mapping[str, float], ...] = ()


def footprint(
    *, tensor_parallel: int = 1, pipeline_parallel: int = 1, cpus: float, gpus: float
) -> Footprint:
    """What a replica takes that is cut into tensor_parallel x pipeline_parallel pieces.

    Args:
        cpus, gpus: of the whole replica; gpus 0 computes on CPU.

    Raises:
        ConfigError: the pieces and the GPUs do not match.

    >>> footprint(tensor_parallel=2, cpus=1, gpus=2).bundles
    ({'GPU': 1.0, 'CPU': 1.0}, {'GPU': 1.0, 'CPU': 1.0})
    >>> footprint(cpus=4, gpus=0)
    Footprint(executor='uni', actor_cpus=4, actor_gpus=0, bundles=())
    """
    pieces = tensor_parallel * pipeline_parallel
    if (gpus > 1 and gpus != pieces) or 0 < gpus <= 1 < pieces:
        raise ConfigError(
            f"gpus: {gpus:g} for a replica that is cut into {pieces} "
            f"(vllm.tensor_parallel {tensor_parallel} x vllm.pipeline_parallel {pipeline_parallel}); "
            "each piece takes one GPU, so give both the same number"
        )
    if pieces == 1:
        return Footprint("uni", cpus, gpus)
    if gpus == 0:
        if (
            pipeline_parallel > 1
        ):  # its runner for CPU does not pass on what lies between two pieces
            raise ConfigError("vllm.pipeline_parallel: needs GPUs; on CPU use vllm.tensor_parallel")
        return Footprint("mp", cpus, 0.0)
    own = max(1.0, float(cpus))
    bundles = ({"GPU": 1.0, "CPU": own}, *({"GPU": 1.0, "CPU": 1.0} for _ in range(pieces - 1)))
    return Footprint("ray", own, 0.0, bundles)
