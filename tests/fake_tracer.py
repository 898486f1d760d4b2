"""A tracer that reads thoughts off the hash of what was said: exact, and sometimes without a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitness.cliff.course import course
from fitness.types import CliffKind, CliffTrace, NoTrace
from tests.loop_fakes import unit_hash
from workers.interface import Message, Sample

NAME, VERSION = "refusal-layer-2", "0123456789abcdef"


def a_trace(plateau: float, final: float, version: str = VERSION) -> CliffTrace:
    """Of a thought of two tokens at `plateau` and one token after it at `final`."""
    scores = np.array([plateau, plateau, final], dtype="<f4").tobytes()
    kind = CliffKind.CLIFF if plateau - final >= 0.3 else CliffKind.NONE
    return CliffTrace(NAME, version, scores, 2, plateau, plateau, final, kind, None)


@dataclass
class FakeTracer:
    """`Tracer`. Of the prompts the share `thoughtless` is never thought about, and of all others every
    tenth sample."""

    thoughtless: float = 0.0
    version: str = VERSION
    asked: int = 0
    name: str = NAME

    async def trace(
        self, answered: Sequence[tuple[tuple[Message, ...], Sample]]
    ) -> list[CliffTrace | NoTrace]:
        self.asked += len(answered)
        return [self._one(messages[-1].content, sample) for messages, sample in answered]

    def _one(self, prompt: str, sample: Sample) -> CliffTrace | NoTrace:
        key = f"{sample.index} {prompt}"
        if unit_hash(prompt, "thought") < self.thoughtless or unit_hash(key, "thought") < 0.1:
            return NoTrace(self.name, self.version, "no thought")
        odds = [12.0 * unit_hash(key, salt) - 6.0 for salt in ("first", "second", "end")]
        found = course(odds, n_thinking=2)
        return CliffTrace(
            self.name,
            self.version,
            found.scores.astype("<f4").tobytes(),
            2,
            found.plateau,
            found.plateau_top,
            found.final,
            CliffKind(found.kind.value),
            found.position,
        )
