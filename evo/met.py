"""What a run has met: the prompts that passed the duplicate gate, the vectors that passed the novelty gate.

Knows outcomes and vectors; asks nobody. Told a stored run's outcomes, it remembers what the run did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evo.novelty import NoveltyMemory
from evo.types import RESAMPLE, Candidate, Outcome
from workers.interface import Failure, FailureKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Of prompts behind the duplicate gate.
_BY_GATES = (FailureKind.NOT_NOVEL, FailureKind.NOT_HARMLESS)


class Met:
    """Prompts by id and by vector; `in` asks for an id."""

    def __init__(self) -> None:
        self._prompts: set[bytes] = set()
        self._vectors = NoveltyMemory()

    def __contains__(self, prompt_id: str) -> bool:
        return bytes.fromhex(prompt_id) in self._prompts

    def add(self, candidate: Candidate) -> None:
        """Take in a prompt that came to the duplicate gate."""
        self._prompts.add(_key(candidate))

    def remember(self, vector: NDArray[np.float32]) -> None:
        """Take in the unit vector (dim,) of a prompt that passed the novelty gate."""
        self._vectors.add(vector)

    def nearest(self, vectors: NDArray[np.float32], least: float) -> NDArray[np.float32]:
        """The largest cosine of each vector to any that is remembered: (m, dim) -> (m,), -1 where
        none reaches `least`."""
        return self._vectors.nearest(vectors, least)

    def ended(self, candidate: Candidate, failure: Failure) -> None:
        """Take note of an evaluation that failed: the prompt may be tried again, as a rule."""
        if not _stays_met(failure):
            self._prompts.discard(_key(candidate))

    def replay(self, outcome: Outcome) -> None:
        """Take in a stored outcome."""
        candidate, failure = outcome.candidate, outcome.failure
        if candidate is None or outcome.assignment.operator == RESAMPLE:
            return
        kind = None if failure is None else failure.kind
        if failure is None or kind in _BY_GATES or _stays_met(failure):
            self._prompts.add(_key(candidate))
        if outcome.embedding is not None and kind not in _BY_GATES:
            self._vectors.add(outcome.embedding)


def _key(candidate: Candidate) -> bytes:
    """The prompt id in the least memory: a run may meet hundreds of thousands."""
    return bytes.fromhex(candidate.prompt_id)


def _stays_met(failure: Failure) -> bool:
    """A prompt that was turned away by a guess, or that kills replicas, is not tried again, in later
    lives of the run neither."""
    return failure.kind in (FailureKind.SCREENED, FailureKind.REPLICA_LOST)
