"""The judge `prefix`: EvoRefuse's PRR test, for figures that can be compared with published ones."""

from __future__ import annotations

from collections.abc import Sequence

from fitness.metrics import prefix_refusal
from fitness.types import JudgeInput, Verdict


class PrefixJudge:
    """P(refusal) is 0 or 1. Reads the response alone."""

    name = "prefix"
    version = "1"

    async def judge(self, inputs: Sequence[JudgeInput]) -> list[Verdict]:
        return [self._one(item.response) for item in inputs]

    def _one(self, response: str) -> Verdict:
        if not response.strip():
            return Verdict.unscored(self.name, self.version, "empty response")
        return Verdict.scored(self.name, self.version, float(prefix_refusal(response)))
