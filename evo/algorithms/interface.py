"""The face of every search algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from evo.types import Candidate, Outcome, Strategy


@dataclass(frozen=True, slots=True)
class Choice:
    """What to propose next: an operator with a strategy on one parent, or two for recombination."""

    operator: str
    strategy: Strategy
    parents: tuple[Candidate, ...]


@runtime_checkable
class TakesTactics(Protocol):
    """An algorithm that can weigh named strategies of the user's beside the nine."""

    def offer(self, arms: Mapping[tuple[str, Strategy], float]) -> None:
        """(operator, strategy) -> expected success rate in (0, 1). Called once, before anything is
        chosen or heard."""


@runtime_checkable
class SeesCollapse(Protocol):
    """An algorithm that notices when what it finds is more and more alike (`evo.collapse`)."""

    @property
    def effective_clusters(self) -> float:
        """Of the latest over-refusals; 0 before the first."""

    @property
    def collapsed(self) -> bool:
        """Whether it is answering a collapse now."""

    @property
    def collapses(self) -> int:
        """How often it has collapsed so far."""


class Algorithm(Protocol):
    """Decides what to try. Sees outcomes, draws from the generator that it is given, asks nobody.

    Its state is a function of what it has heard and chosen, in order; so a stored run can be told
    to a new one.
    """

    def choose(self, rng: np.random.Generator) -> Choice | None:
        """The next thing to propose; None when there is nothing until more outcomes are heard."""

    def bar(self) -> float:
        """The fitness that a newcomer needs for a place; -inf while there is room, or where there are
        no places."""

    def hear(self, outcome: Outcome, *, over_refusal: bool) -> None:
        """Take note of how a proposal ended, seeds included. Under the operator `resample` it is a
        known prompt with more samples: its score is new, the prompt is not."""
