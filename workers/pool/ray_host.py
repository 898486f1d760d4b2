"""Replicas as Ray actors. The one module of the pool that knows Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from workers.interface import EvocliffError, TargetError
from workers.pool.hosts import ReplicaLost
from workers.pool.placement import Placement
from workers.replica import Factory, Replica


@dataclass(frozen=True, slots=True)
class RayLauncher:
    """Makes the actor of a replica; `cpus` and `gpus` are reserved for it, or its `placement` is."""

    factory: Factory
    cpus: float = 1
    gpus: float = 0
    name: str = "target"
    placement: Placement | None = None

    def __call__(self, number: int) -> RayHost:
        return RayHost(self, number)


class RayHost:
    """One actor. Ray restarts its process however often it dies; where Ray has given the actor up
    (its creator's node is gone, or it was killed for good), a new one takes its place."""

    def __init__(self, launcher: RayLauncher, number: int) -> None:
        self._launcher = launcher
        self._shown = f"{launcher.name} replica {number}"
        self._group: Any = None
        self._actor = self._create()

    async def call(self, method: str, *arguments: Any) -> Any:
        actor = self._actor
        try:
            return await getattr(actor, method).remote(*arguments)
        except ActorDiedError as error:
            if self._actor is actor:
                self._actor = self._create()
            raise ReplicaLost(f"{self._shown}: its actor is dead") from error
        except RayActorError as error:
            raise ReplicaLost(f"{self._shown}: its process is gone") from error
        except RayTaskError as error:
            # Ray wraps what the worker raised; give back the error that a person can act on.
            cause = getattr(error, "cause", None)
            if isinstance(cause, EvocliffError):
                raise cause from None
            raise TargetError(f"{self._shown} failed: {cause or error}") from error

    def end(self) -> None:
        ray.kill(self._actor, no_restart=True)
        self._remove_group()

    def _create(self) -> Any:
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        launcher = self._launcher
        # A call that was lost is dispatched again by the pool, which knows where there is room.
        options: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0}
        if launcher.placement is None:
            options |= {"num_cpus": launcher.cpus, "num_gpus": launcher.gpus}
        else:
            self._remove_group()
            bundles = [dict(bundle) for bundle in launcher.placement.bundles]
            self._group = placement_group(bundles, strategy=launcher.placement.strategy)
            # The engine's own processes take the GPUs; its children are to land in the group too.
            options |= {
                "num_cpus": launcher.placement.actor_cpus,
                "num_gpus": 0,
                "scheduling_strategy": PlacementGroupSchedulingStrategy(
                    self._group,
                    placement_group_bundle_index=0,
                    placement_group_capture_child_tasks=True,
                ),
            }
        return ray.remote(Replica).options(**options).remote(launcher.factory)

    def _remove_group(self) -> None:
        if self._group is not None:
            from ray.util.placement_group import remove_placement_group

            remove_placement_group(self._group)
            self._group = None
