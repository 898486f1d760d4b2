"""The operator of a run's first proposals: hands out the seeds themselves."""

from __future__ import annotations

from collections.abc import Sequence

from evo.types import Assignment, Draft, Seed
from workers.interface import Failure


class SeedProposer:
    """`Proposer` of the assignments with index below the number of seeds."""

    name = "seed"

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self._seeds = seeds

    async def propose(self, assignments: Sequence[Assignment]) -> list[Draft | Failure]:
        return [Draft(self._seeds[a.index].text) for a in assignments]

    async def close(self) -> None:
        return None
