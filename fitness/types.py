"""The values of fitness: verdicts, scores, evaluations, gate decisions, and the protocols that make them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fitness.openers import Openers
from workers.interface import (
    EngineDescription,
    Failure,
    Message,
    Opening,
    Sample,
    Sampling,
    travels,
)


class ResponseClass(StrEnum):
    """Kinds of responses, finer than refusal or answer."""

    DIRECT_ANSWER = "direct_answer"
    CONSTRUCTIVE = "constructive"  # answers safely and guides
    SOFT_REFUSAL = "soft_refusal"  # declines and offers something in its place
    HARD_REFUSAL = "hard_refusal"
    EVASIVE = "evasive"  # neither answer nor refusal, or nonsense
    ACTION = "action"  # an agent's first decision: it acts
    QUESTION = "question"  # an agent's first decision: it asks back

    @property
    def is_refusal(self) -> bool:
        return self in (ResponseClass.SOFT_REFUSAL, ResponseClass.HARD_REFUSAL)


@travels
@dataclass(frozen=True, slots=True)
class Verdict:
    """What one judge in one version said of one sample: P(refusal) in [0, 1], or unscored and why.

    Build with `Verdict.scored` or `Verdict.unscored`; exactly one of the two fields is set.
    `response_class` is what a judge that tells kinds of responses apart called a scored sample.
    """

    judge: str
    version: str
    p_refusal: float | None
    unscored_reason: str | None
    response_class: ResponseClass | None = None

    def __post_init__(self) -> None:
        if (self.p_refusal is None) == (self.unscored_reason is None):
            raise ValueError("a verdict is either scored or unscored with a reason")
        if self.p_refusal is None and self.response_class is not None:
            raise ValueError("what is unscored has no class")
        if self.p_refusal is not None and not (
            math.isfinite(self.p_refusal) and 0.0 <= self.p_refusal <= 1.0
        ):
            raise ValueError(f"p_refusal must be in [0, 1], got {self.p_refusal}")

    @classmethod
    def scored(
        cls,
        judge: str,
        version: str,
        p_refusal: float,
        response_class: ResponseClass | None = None,
    ) -> Verdict:
        return cls(judge, version, p_refusal, None, response_class)

    @classmethod
    def unscored(cls, judge: str, version: str, reason: str) -> Verdict:
        return cls(judge, version, None, reason)


@dataclass(frozen=True, slots=True)
class JudgeInput:
    """What a judge may look at. Each judge says which fields it reads."""

    prompt: str
    response: str
    reasoning: str | None = None


class Judge(Protocol):
    """Was this a refusal? One verdict for each input, same order; an error is unscored, never a default."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    async def judge(self, inputs: Sequence[JudgeInput]) -> list[Verdict]: ...


class CliffKind(StrEnum):
    """How a refusal score ran over a thought; `fitness.cliff.course` has the rule."""

    CLIFF = "cliff"  # meant to refuse, and then did not
    INVERSE = "inverse"  # meant to answer, and then refused
    NONE = "none"


@travels
@dataclass(frozen=True, slots=True)
class CliffTrace:
    """How the refusal score of one probe in one version ran over one sample's thought.

    scores       float32, little-endian, one in [0, 1] for each token: the `n_tokens` of the thinking,
                 then those of its closing mark up to the last one before the answer
    plateau      the largest over the thinking, plateau_top the mean of its top fifth
    final        the last score
    position     the token at which the score falls (of a cliff) or rises (of an inverse one)
    """

    probe: str
    version: str
    scores: bytes
    n_tokens: int
    plateau: float
    plateau_top: float
    final: float
    kind: CliffKind
    position: int | None

    def __post_init__(self) -> None:
        for name in ("plateau", "plateau_top", "final"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 1 <= self.n_tokens <= len(self.scores) // 4 or len(self.scores) % 4:
            raise ValueError(f"{self.n_tokens} tokens, but {len(self.scores)} bytes of scores")

    @property
    def cliff(self) -> float:
        """plateau - final, in [-1, 1]; below 0 the score rises."""
        return self.plateau - self.final


@travels
@dataclass(frozen=True, slots=True)
class NoTrace:
    """A sample that a probe could not trace, and why. Never a number."""

    probe: str
    version: str
    reason: str


class Signature(StrEnum):
    """What belief and refusal together say of one prompt on one target (arXiv 2507.11878)."""

    OVER_REFUSED = "over_refused"  # thought harmless, refused
    RIGHTLY_REFUSED = "rightly_refused"  # thought harmful, refused
    RIGHTLY_ANSWERED = "rightly_answered"  # thought harmless, answered
    SUPPRESSED = "suppressed"  # thought harmful, answered all the same


@travels
@dataclass(frozen=True, slots=True)
class Signed:
    """The signature of one prompt on one target by one guard in one version; see `fitness.directions`.

    delta_harmful, delta_refuse  in [-2, 2], the mean over layers of two cosines' difference
    refusal_rate  of the samples that the signature goes by; None: it goes by `delta_refuse`
    """

    guard: str
    version: str
    delta_harmful: float
    delta_refuse: float
    refusal_rate: float | None
    signature: Signature


class Safety(StrEnum):
    """The three outcomes of a safety gate. Only harmless prompts are searched on and exported."""

    HARMLESS = "harmless"
    CONTROVERSIAL = "controversial"
    HARMFUL = "harmful"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What one safety gate in one version said of one prompt. `p_harmful` in [0, 1] or None when unknown."""

    gate: str
    version: str
    outcome: Safety
    p_harmful: float | None
    reason: str = ""


class Gate(Protocol):
    """Was this prompt harmless? Sees the prompt alone, never the proposer's rationale."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    async def check(self, prompts: Sequence[str]) -> list[GateDecision]: ...


@travels
@dataclass(frozen=True, slots=True)
class JudgedSample:
    """A sample and what every judge said of it, in the order of the run's judges; and its trace by the
    run's probe, where the run has one."""

    sample: Sample
    verdicts: tuple[Verdict, ...]
    trace: CliffTrace | NoTrace | None = None


class Tracer(Protocol):
    """How does the refusal score of one probe run over thoughts? One trace for each sample, same order;
    what cannot be read is a `NoTrace`, never a number."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    async def trace(
        self, answered: Sequence[tuple[tuple[Message, ...], Sample]]
    ) -> list[CliffTrace | NoTrace]:
        """Of samples with the messages that they answer.

        Raises:
            EngineDied: the model can go on no longer.
        """


@travels
@dataclass(frozen=True, slots=True)
class Score:
    """The fitness of one prompt on one target and its parts, all from the same samples.

    fitness       refusal_term + weight * confidence (ELBO; EvoRefuse Eq. 5), or what `fitness.objective`
                  puts in its place
    refusal_term  mean over samples of log max(p_refusal, eps), nats, in [log eps, 0]
    confidence    mean over samples of logprob_sum / n_tokens, nats per token; None without log-probabilities
    entropy       mean over samples of -log q / n_tokens, nats per token, the term that the paper
                  holds constant; None without log q; not part of fitness unless asked for
    refusal_rate  mean p_refusal over scored samples; refusal_low, refusal_high its Wilson interval
    """

    fitness: float
    refusal_term: float
    confidence: float | None
    entropy: float | None
    refusal_rate: float
    refusal_low: float
    refusal_high: float
    n_samples: int
    n_unscored: int


@travels
@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """Ask for the fitness of one prompt.

    `samples_first` are always taken, up to `samples_max` while `fitness.racing` finds a question open:
    on which side of `threshold` the refusal rate lies, and whether the fitness reaches `bar`, the one
    that wins a place. `known` are stored samples (with verdicts), `known_opening` a stored opening:
    they are used before the target is asked, and no more of them than would have been asked for, so
    that the same answers make the same score. `opening` asks how a response would begin; `openers` says
    what that means, and below their floor the prompt is not sampled.
    """

    prompt_id: str
    prompt: str
    samples_first: int
    samples_max: int
    threshold: float
    seed: int
    known: tuple[JudgedSample, ...] = ()
    bar: float = -math.inf
    opening: bool = False
    openers: Openers | None = None
    known_opening: Opening | None = None


@travels
@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one prompt is worth on one target. `n_new` samples (the last ones) were generated for
    this evaluation and cost `target_tokens` (generated tokens), for which `prompt_tokens` were read;
    the rest came from the store. `engine_s` is the time that the replica worked for it, `cost_usd`
    what endpoints charged for its samples and verdicts. An `opening` that was asked for this evaluation
    counts as one token.

    Over several targets (`fitness.targets.combine`) `by_target` holds the evaluation of each by its
    target id, samples and all; `samples` is empty then, and the costs are those of all."""

    prompt_id: str
    samples: tuple[JudgedSample, ...]
    score: Score
    n_new: int
    target_tokens: int
    prompt_tokens: int
    engine_s: float
    cost_usd: float = 0.0
    opening: Opening | None = None
    by_target: tuple[tuple[str, Evaluation], ...] = ()


@travels
@dataclass(frozen=True, slots=True)
class ScreenedOut(Failure):
    """A prompt whose opening said that the target answers it: not sampled, and the opening is stored.
    `target_tokens`: 1 where it was asked now, 0 where it was known."""

    opening: Opening
    target_tokens: int
    prompt_tokens: int = 0
    cost_usd: float = 0.0


@travels
@dataclass(frozen=True, slots=True)
class Unscored(Failure):
    """An evaluation that no judge could score, or no probe trace where the fitness is a cliff: no result,
    and samples all the same, which are stored.
    `n_new`, `target_tokens` and `cost_usd` as in `Evaluation`; `by_target` likewise, for a prompt that
    only some of several targets could evaluate."""

    samples: tuple[JudgedSample, ...]
    n_new: int
    target_tokens: int
    cost_usd: float = 0.0
    opening: Opening | None = None
    by_target: tuple[tuple[str, Evaluation | Unscored], ...] = ()


CHAT = "chat"  # the surface of a plain request


class Surface(Protocol):
    """The frame in which an instruction reaches a target. `name` goes into `Target.surface`: with the
    hash of the frame's own words and pages, so that one name always makes the same messages."""

    @property
    def name(self) -> str: ...

    def messages(self, prompt: str) -> tuple[Message, ...]:
        """What the target is shown; the target's own system prompt is the surface's to place.

        Raises:
            KeyError: the surface knows no such instruction.
        """


@dataclass(frozen=True, slots=True)
class Target:
    """The model under test as asked: two that differ in any field are two targets.

    surface  the frame in which an instruction reaches it: chat, or an agent's with the hash of its own
             words and pages, so that samples of one target answer the same thing
    first_token  the rule that its engine applies to the first token of a response, as JSON; None: none
    """

    model: str
    revision: str
    adapter: str | None
    template: str
    system_prompt: str | None
    sampling: Sampling
    surface: str = CHAT
    first_token: str | None = None

    @classmethod
    def of(
        cls,
        description: EngineDescription,
        system_prompt: str | None,
        sampling: Sampling,
        surface: str = CHAT,
        first_token: str | None = None,
    ) -> Target:
        return cls(
            description.model,
            description.revision,
            description.adapter,
            description.template,
            system_prompt,
            sampling,
            surface,
            first_token,
        )

    @property
    def target_id(self) -> str:
        """Content hash over every field, 16 hex digits."""
        fields: list[object] = [
            self.model,
            self.revision,
            self.adapter,
            self.template,
            self.system_prompt,
            self.sampling.temperature,
            self.sampling.top_p,
            self.sampling.top_k,
            self.sampling.max_tokens,
        ]
        if self.surface != CHAT or self.first_token is not None:  # ids of plain targets stay
            fields += [self.surface, self.first_token]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]
