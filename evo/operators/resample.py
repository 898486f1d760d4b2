"""The operator that asks for more samples of a known prompt: hands out its text unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from evo.types import RESAMPLE, Assignment, Draft
from workers.interface import Failure


class ResampleProposer:
    """`Proposer` of assignments with one parent, which is the prompt itself."""

    name = RESAMPLE

    async def propose(self, assignments: Sequence[Assignment]) -> list[Draft | Failure]:
        return [Draft(a.parents[0].text, a.parents[0].rationale) for a in assignments]

    async def close(self) -> None:
        return None
