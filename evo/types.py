"""The values of evolution: strategies, candidates, assignments, drafts and outcomes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from fitness.types import Evaluation, GateDecision
from workers.interface import Failure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evo.view import View


# The stored form of a named strategy.
TACTIC = re.compile(r"tactic:[a-z0-9]+(?:-[a-z0-9]+)*")


class Strategy(StrEnum):
    """The nine mutation strategies of EvoRefuse (arXiv 2505.23473, section 3) in three families,
    with recombination and the untouched seed beside them, and the user's own, `tactic:NAME`."""

    CONTROVERSIAL_TOPIC = "controversial_topic"
    IMAGINED_SCENARIO = "imagined_scenario"
    IMPLIED_HARM = "implied_harm"
    VIOLENT_WORDS = "violent_words"
    PREJUDICED_WORDS = "prejudiced_words"
    OTHER_SENSITIVE_WORDS = "other_sensitive_words"
    ANGER = "anger"
    DISGUST = "disgust"
    DESPAIR = "despair"
    RECOMBINATION = "recombination"
    SEED = "seed"

    @classmethod
    def _missing_(cls, value: object) -> Strategy | None:
        """`Strategy("tactic:NAME")`: a named strategy of the user's (docs/tactics.md). It is no member
        that anybody iterates over; the same name is always the same object, in stored rows too.

        >>> Strategy("tactic:angry-printer") is Strategy("tactic:angry-printer")
        True
        """
        if not isinstance(value, str) or not TACTIC.fullmatch(value):
            return None
        named = str.__new__(cls, value)
        named._name_, named._value_ = value, value
        cls._value2member_map_[value] = named
        return named

    @property
    def is_tactic(self) -> bool:
        return self.value.startswith("tactic:")


FAMILIES: dict[str, tuple[Strategy, ...]] = {
    "deceptive_context": (
        Strategy.CONTROVERSIAL_TOPIC,
        Strategy.IMAGINED_SCENARIO,
        Strategy.IMPLIED_HARM,
    ),
    "sensitive_words": (
        Strategy.VIOLENT_WORDS,
        Strategy.PREJUDICED_WORDS,
        Strategy.OTHER_SENSITIVE_WORDS,
    ),
    "extreme_emotion": (Strategy.ANGER, Strategy.DISGUST, Strategy.DESPAIR),
}
MUTATIONS: tuple[Strategy, ...] = tuple(s for family in FAMILIES.values() for s in family)


# The operator of a choice that brings a known prompt more samples: the parent itself, once more.
RESAMPLE = "resample"


def normalise(text: str) -> str:
    """The form under which two prompts count as the same: NFKC, case folded, white space collapsed.

    >>> normalise("How do I  KILL\\na process?")
    'how do i kill a process?'
    """
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip().casefold()


def prompt_id(text: str) -> str:
    """Content hash of the normalised text, 32 hex digits. Inserting a prompt twice is harmless."""
    return hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Seed:
    """A prompt given by the user to start from, with where it came from. `strategy` is what once made
    it, where a data set says so."""

    text: str
    source: str
    licence: str | None = None
    topic: str | None = None
    strategy: Strategy = Strategy.SEED


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt that may go to the target, with its lineage. `parents` are prompt ids; `topic` and
    `seed_id` (the prompt id of the seed that it descends from) are inherited from the first parent."""

    prompt_id: str
    text: str
    operator: str
    strategy: Strategy
    parents: tuple[str, ...]
    topic: str | None
    seed_id: str
    rationale: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a proposer is asked to do: one mutation (one parent) or recombination (two parents).

    `index` counts the run's proposals from 0. `seed` comes from SHA-256 of (run seed, index) and is
    the proposer's only source of chance. `asked_after` is the number of outcomes that the search had
    been told when it asked: with it a stored run can be replayed, choices included. `view` is what it
    knew then; it is not stored but rebuilt by the replay.
    """

    index: int
    operator: str
    strategy: Strategy
    parents: tuple[Candidate, ...]
    seed: int
    asked_after: int = 0
    view: View | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposer's reply: the new instruction and, where there is one, why it should be refused
    though harmless. The rationale is stored and shown to nobody who decides on safety."""

    instruction: str
    rationale: str | None = None


class Proposer(Protocol):
    """Turns assignments into drafts; same length, same order; what did not work is a `Failure`."""

    @property
    def name(self) -> str: ...

    async def propose(self, assignments: Sequence[Assignment]) -> list[Draft | Failure]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Screened:
    """What the screen said of one proposal: the predictor's guess in [0, 1], None without one, and
    whether it went through unseen."""

    guess: float | None
    blind: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one proposal ended: with an evaluation or with a failure, never both, never neither.

    `candidate` is None only when no text came into being. `embedding` is the candidate's unit
    vector (dim,), None when it was not computed. `cost_usd` is what endpoints charged for all of it:
    drafting, gates, samples and verdicts. `screened` is what was guessed of it before it was sampled.
    """

    assignment: Assignment
    candidate: Candidate | None
    evaluation: Evaluation | None = None
    failure: Failure | None = None
    gate_decisions: tuple[GateDecision, ...] = ()
    embedding: NDArray[np.float32] | None = field(default=None, compare=False)
    cost_usd: float = 0.0
    screened: Screened | None = None

    def __post_init__(self) -> None:
        if (self.evaluation is None) == (self.failure is None):
            raise ValueError("an outcome is an evaluation or a failure, exactly one")
        if self.evaluation is not None and self.candidate is None:
            raise ValueError("an evaluation needs its candidate")
