"""What a data set says of its own prompts, as a gate: harmless, harmful, or nothing.

It reads labels that were given to it and judges nothing itself. A prompt that has none is
controversial: unknown is never harmless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from fitness.types import GateDecision, Safety

NAME = "dataset"


class SaidGate:
    """`Gate` over the labels of one data set. `version` is a hash of them, 16 hex digits.

    Args:
        labels: prompt -> what its data set calls it.
    """

    name = NAME

    def __init__(self, labels: Mapping[str, Safety]) -> None:
        self._labels = dict(labels)
        said = json.dumps(sorted((p, s.value) for p, s in self._labels.items()))
        self.version = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    async def check(self, prompts: Sequence[str]) -> list[GateDecision]:
        return [self._decide(self._labels.get(p)) for p in prompts]

    def _decide(self, said: Safety | None) -> GateDecision:
        if said is None:
            return GateDecision(
                self.name, self.version, Safety.CONTROVERSIAL, None, "the data set does not say"
            )
        return GateDecision(self.name, self.version, said, None, "as the data set says")
