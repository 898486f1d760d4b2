"""Where a replica's processes go when it needs more than one: bundles of resources, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Strategy = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]


@dataclass(frozen=True, slots=True)
class Placement:
    """The placement group of one replica: one bundle for each process of its engine.

    A bundle maps a resource of Ray to an amount, for example {"GPU": 1, "CPU": 1}. The replica's own
    actor sits in the first bundle and takes no GPU of it; what its engine starts sits in the group.
    `actor_cpus` is what the actor itself takes of the first bundle.
    """

    bundles: tuple[Mapping[str, float], ...]
    strategy: Strategy = "PACK"
    actor_cpus: float = 0.0
