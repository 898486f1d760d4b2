"""The proposer that needs no model: each assignment is one pure rewrite or recombination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evo.operators.lexical.grammar import Template
from evo.operators.lexical.rewrite import recombine, rewrite
from evo.types import MUTATIONS, Assignment, Draft, Strategy
from workers.interface import Failure, FailureKind


class LexicalProposer:
    """`Proposer` over the built-in grammar. Same assignment, same draft, on any machine.
    `tactics`: the templates of named strategies beside the nine."""

    def __init__(self, tactics: Mapping[Strategy, Sequence[Template]] | None = None) -> None:
        self._tactics = dict(tactics or {})

    @property
    def name(self) -> str:
        return "lexical"

    async def propose(self, assignments: Sequence[Assignment]) -> list[Draft | Failure]:
        return [_propose_one(assignment, self._tactics) for assignment in assignments]

    async def close(self) -> None:
        return None


def _propose_one(
    assignment: Assignment, tactics: Mapping[Strategy, Sequence[Template]]
) -> Draft | Failure:
    rng = np.random.default_rng(assignment.seed)
    texts = [parent.text for parent in assignment.parents]
    if assignment.strategy is Strategy.RECOMBINATION:
        if len(texts) != 2:
            return Failure(
                FailureKind.UNCHANGED, f"recombination needs two parents, got {len(texts)}"
            )
        return recombine(texts[0], texts[1], rng)
    if assignment.strategy in tactics and texts:
        return rewrite(texts[0], assignment.strategy, rng, tactics[assignment.strategy])
    if assignment.strategy not in MUTATIONS or not texts:
        return Failure(
            FailureKind.UNCHANGED,
            f"the lexical proposer has no operator {assignment.strategy} for {len(texts)} parents",
        )
    return rewrite(texts[0], assignment.strategy, rng)
