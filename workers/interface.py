"""The values that cross processes and the protocols that hold the parts together.

Standard library only, so that every package may import it for nothing. It knows of text, tokens
and log-probabilities (natural logarithm, in nats); it does not know what a refusal is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from workers.errors import ConfigError, EngineDied, EvocliffError, StoreError, TargetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "OPENING_TOKENS",
    "Ability",
    "AddDirection",
    "ConfigError",
    "Direction",
    "Embedder",
    "Engine",
    "EngineDescription",
    "EngineDied",
    "EvocliffError",
    "Failure",
    "FailureKind",
    "FirstToken",
    "Generation",
    "GenerationRequest",
    "HeadContributions",
    "HeadsRequest",
    "Intervention",
    "Message",
    "Opening",
    "OpeningEngine",
    "Place",
    "Projection",
    "ProjectionRequest",
    "Response",
    "Sample",
    "Sampling",
    "ScaleHead",
    "StateRequest",
    "States",
    "StoreError",
    "StoredResponse",
    "TargetError",
    "TextLogprob",
    "Where",
    "WhiteBox",
    "Worker",
    "bare",
    "travels",
]


_C = TypeVar("_C", bound=type)


def travels(cls: _C) -> _C:
    """Class decorator of a frozen dataclass with several fields: between processes it goes as its
    class and their values, which a driver reads several times as fast as what dataclasses do by
    themselves."""
    values = attrgetter(*(field.name for field in fields(cls)))

    def reduced(value: Any) -> tuple[type, tuple[Any, ...]]:
        return cls, values(value)

    type.__setattr__(cls, "__reduce__", reduced)
    return cls


class FailureKind(StrEnum):
    """Why one request, proposal or evaluation came to nothing. Counted and shown, never a result."""

    OVERLONG = "overlong"  # the prompt does not fit the model; nothing is truncated quietly
    EMPTY = "empty"  # no text where text is needed
    TEMPLATE = "template"  # the chat template refused these messages
    ENGINE = "engine"  # the engine failed on this request alone
    TIMEOUT = "timeout"
    FILTERED = "filtered"  # the endpoint's content filter withheld prompt or answer
    REPLICA_LOST = "replica_lost"  # the process that held the request died too often
    UNSCORED = "unscored"  # no judge could score any sample, or no probe trace one
    UNPARSED = "unparsed"  # the proposer's reply did not hold an instruction
    UNCHANGED = "unchanged"  # the operator found nothing to change in this parent
    DUPLICATE = "duplicate"  # gate: this prompt was met before
    NOT_NOVEL = "not_novel"  # gate: an embedding neighbour is too near
    NOT_HARMLESS = "not_harmless"  # gate: the safety gates did not call it harmless
    SCREENED = "screened"  # a guess said that the target answers it, so it was not sampled
    NO_THOUGHT = "no_thought"  # no trace: the response has no thinking span
    THOUGHT_CUT = "thought_cut"  # no trace: the thought never closed, as the token limit came first


@travels
@dataclass(frozen=True, slots=True)
class Failure:
    """One request that failed, as data. `message` says what happened to whom."""

    kind: FailureKind
    message: str


@travels
@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat; `role` is system, user or assistant."""

    role: str
    content: str


@travels
@dataclass(frozen=True, slots=True)
class FirstToken:
    """A rule for the first token of a response (Refusal Tokens, arXiv 2412.06748, section 3).

    With P the raw probability of all `tokens` together, the response begins with one of them where
    log(P / (1 - P)) >= `threshold`, and with none of them elsewhere; which one is drawn as ever among
    those left. -inf: always; inf: never. A token stands for its forms with blanks around it too
    (`bare`): a response that may not begin with "I" would begin with " I".

    Of several rules the one whose threshold is exceeded by most decides; where none is reached, the
    response begins with no token of any.
    """

    tokens: tuple[str, ...]
    threshold: float


def bare(token: str) -> str:
    """The text of a token without the blanks around it; a token of blanks alone stays as it is.

    >>> bare(" I"), bare("\\n")
    ('I', '\\n')
    """
    return token.strip() or token


@travels
@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding settings. `temperature` 0 is greedy; `top_p` 1 and `top_k` 0 switch truncation off.
    `first_token`: rules, for engines with that ability."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 50
    first_token: tuple[FirstToken, ...] = ()


@travels
@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Ask for samples number `first_index` to `first_index + n_samples - 1` of one chat.

    `key` names the request for logs and for idempotent dispatch. Sample i draws its random numbers
    from (`seed`, i) alone, so asking for more samples later never repeats an earlier one.
    """

    key: str
    messages: tuple[Message, ...]
    n_samples: int
    sampling: Sampling
    seed: int
    first_index: int = 0


@travels
@dataclass(frozen=True, slots=True)
class Sample:
    """One response.

    `logprob_sum` is log p(y | x, s), the model's raw log-probability of the generated tokens (the
    end-of-turn token included) before temperature and truncation; `sampling_logprob_sum` is log q,
    the same tokens under the distribution that they were drawn from. None: the engine has none.
    `n_tokens` counts the same tokens. `finish_reason` is "stop" or "length".
    """

    index: int
    text: str
    n_tokens: int
    finish_reason: str
    logprob_sum: float | None = None
    sampling_logprob_sum: float | None = None
    reasoning: str | None = None


@travels
@dataclass(frozen=True, slots=True)
class Generation:
    """The answer to one `GenerationRequest`: its samples, in order of index.

    `n_prompt_tokens` counts a prompt that had to be sent several times as often. `cost_usd` is what
    the endpoint charges for it; models of our own cost nothing.
    """

    samples: tuple[Sample, ...]
    n_prompt_tokens: int
    cost_usd: float = 0.0


@travels
@dataclass(frozen=True, slots=True)
class Opening:
    """How a response would begin: the likeliest first tokens, as text, with their raw
    log-probabilities (nats, before temperature and truncation), likeliest first.

    It costs one pass over the prompt and counts as one generated token. Fewer than asked for where
    an engine shows fewer; tokens that are not shown share what is left of the probability.
    """

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    n_prompt_tokens: int
    cost_usd: float = 0.0


class Ability(StrEnum):
    """What an engine can do beyond text; asked before wiring, not found out at hour three."""

    LOGPROBS = "logprobs"
    OPENINGS = "openings"  # is an `OpeningEngine`
    HIDDEN_STATES = "hidden_states"
    ADAPTERS = "adapters"
    FIRST_TOKEN = "first_token"  # noqa: S105 - keeps to `Sampling.first_token`
    DEADLINES = "deadlines"  # ends every request by itself, so nobody else needs to watch the time


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What an engine serves. `adapter` of a folder is its name with a hash of what is in it. `revision` and `template` are hashes of the weights and of the chat
    template, so two engines with equal (model, revision, adapter, template) serve the same model.
    `max_sequences` is how many samples it decodes at once, None where that is not a fixed number.

    An endpoint shows neither hash: its `revision` hashes its address and the model that it names in
    its answers, its `template` is "endpoint", and `context_tokens` is None where it does not tell."""

    engine: str
    model: str
    revision: str
    template: str
    dtype: str
    device: str
    context_tokens: int | None
    adapter: str | None = None
    abilities: frozenset[Ability] = frozenset()
    max_sequences: int | None = None


class Engine(Protocol):
    """A language model behind one call.

    `generate`: list in, list out; same length, same order; a failed request is a `Failure`, a dead
    engine raises `EngineDied`. Safe to call concurrently.
    """

    @property
    def description(self) -> EngineDescription: ...

    async def generate(
        self, requests: Sequence[GenerationRequest]
    ) -> list[Generation | Failure]: ...

    async def close(self) -> None: ...


# How many first tokens an engine is asked for: what endpoints show at most.
OPENING_TOKENS = 20


class OpeningEngine(Engine, Protocol):
    """An engine that tells how responses would begin. `open`: list in, list out, as `generate`;
    of a request it reads key, messages and nothing else."""

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]: ...


class Place(StrEnum):
    """A token whose state is asked for; found from the real chat template."""

    INSTRUCTION = "instruction"  # t_inst: the last token of the user's text (of the last user turn)
    POST_INSTRUCTION = "post_instruction"  # t_post-inst: the last token of the whole prompt
    # The last token before the answer: of the closing think mark and the blank after it; where
    # there is no thought, the last token of the prompt.
    BEFORE_ANSWER = "before_answer"


class Where(StrEnum):
    """Which tokens of a row an added direction touches."""

    EVERYWHERE = "everywhere"
    FROM_PROMPT_END = "from_prompt_end"  # the last token of the prompt and all that come after


@travels
@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """One affine reading of a layer: w . h + b. `layer` counts as in `WhiteBox`; `weight` is
    float (width,)."""

    layer: int
    weight: NDArray[np.float32]
    bias: float = 0.0


@travels
@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as samples keep it. The white box writes it out again in its model's own marks;
    a thought without an answer counts as cut."""

    reasoning: str | None
    text: str


# All that was generated, with its think marks; or what samples keep of it.
Response = str | StoredResponse


@travels
@dataclass(frozen=True, slots=True)
class StateRequest:
    """Hidden states of one chat at `places` of `layers`. A `response` of None reads the prompt
    alone. `Place.BEFORE_ANSWER` of a response whose thought was cut is a `Failure`."""

    key: str
    messages: tuple[Message, ...]
    layers: tuple[int, ...]
    places: tuple[Place, ...]
    response: Response | None = None


@travels
@dataclass(frozen=True, slots=True, eq=False)
class States:
    """`values` is float32 (layers, places, width), in the order that was asked for."""

    values: NDArray[np.float32]
    n_tokens: int  # that the pass went over


@travels
@dataclass(frozen=True, slots=True)
class ProjectionRequest:
    """Every token of a response's thinking span, read along `directions`."""

    key: str
    messages: tuple[Message, ...]
    response: Response
    directions: tuple[Direction, ...]


@travels
@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """`values` is float32 (directions, T): w . h_j + b of the T tokens from the first of the thought
    to the last before the answer, closing mark and the blank after it included.

    `tokens` is their text; the first `n_thinking` are thought, the others the closing mark and blank.
    """

    values: NDArray[np.float32]
    tokens: tuple[str, ...]
    n_thinking: int
    n_tokens: int  # that the pass went over


@travels
@dataclass(frozen=True, slots=True, eq=False)
class HeadsRequest:
    """What every attention head writes along `weight` (width,) at `place`."""

    key: str
    messages: tuple[Message, ...]
    weight: NDArray[np.float32]
    place: Place = Place.BEFORE_ANSWER
    response: Response | None = None


@travels
@dataclass(frozen=True, slots=True, eq=False)
class HeadContributions:
    """`values` is float32 (n_layers, n_heads): the signed length of each head's own output (its
    slice through the output projection, without the bias) along weight / ||weight||. Row i is the
    block that makes hidden state i + 1."""

    values: NDArray[np.float32]
    n_tokens: int  # that the pass went over


@travels
@dataclass(frozen=True, slots=True)
class ScaleHead:
    """Multiplies what one head writes at every token. `layer` and `head` are row and column of
    `HeadContributions.values`; factor 0 takes the head out, 1 changes nothing."""

    layer: int
    head: int
    factor: float


@travels
@dataclass(frozen=True, slots=True, eq=False)
class AddDirection:
    """Adds coefficient * vector (width,) to the hidden state `layer`, as `WhiteBox` counts them."""

    layer: int
    vector: NDArray[np.float32]
    coefficient: float = 1.0
    where: Where = Where.EVERYWHERE


Intervention = ScaleHead | AddDirection


@travels
@dataclass(frozen=True, slots=True)
class WhiteBoxDescription:
    """What a white box looks into."""

    engine: EngineDescription
    n_layers: int
    n_heads: int
    width: int


@travels
@dataclass(frozen=True, slots=True)
class TextLogprob:
    """log p of a plain text (nats), no template: every token but the first, given those before it."""

    logprob_sum: float
    n_tokens: int  # that have a probability: one fewer than the text has

    @property
    def perplexity(self) -> float:
        return math.exp(-self.logprob_sum / self.n_tokens)


class WhiteBox(Protocol):
    """A decoder that can be looked into.

    Layers are counted as transformers' `hidden_states`: 0 is the embeddings, i the output of block
    i, `n_layers` that of the last block after the final norm. All calls: list in, list out; same
    length, same order; a failed request is a `Failure` (`no_thought`, `thought_cut` and `empty` say
    why there is no trace); a dead engine raises `EngineDied`. What a row gets does not depend on the
    others in its batch. Under `interventions` the model is changed for that call alone.

    Raises, at every call:
        ConfigError: a layer, head or width that this model does not have, or states of no layer or place.
    """

    @property
    def description(self) -> EngineDescription: ...

    @property
    def n_layers(self) -> int: ...

    @property
    def n_heads(self) -> int: ...

    @property
    def width(self) -> int: ...

    async def states(
        self, requests: Sequence[StateRequest], interventions: Sequence[Intervention] = ()
    ) -> list[States | Failure]: ...

    async def project(
        self, requests: Sequence[ProjectionRequest], interventions: Sequence[Intervention] = ()
    ) -> list[Projection | Failure]: ...

    async def heads(
        self, requests: Sequence[HeadsRequest], interventions: Sequence[Intervention] = ()
    ) -> list[HeadContributions | Failure]: ...

    async def generate(
        self, requests: Sequence[GenerationRequest], interventions: Sequence[Intervention] = ()
    ) -> list[Generation | Failure]: ...

    async def logprobs(
        self, texts: Sequence[str], interventions: Sequence[Intervention] = ()
    ) -> list[TextLogprob | Failure]: ...

    async def close(self) -> None: ...


class Embedder(Protocol):
    """Texts to unit vectors: `embed(texts)` is float32 of shape (len(texts), dim), rows of norm 1."""

    @property
    def name(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


In = TypeVar("In", contravariant=True)
Out = TypeVar("Out")  # a list of it is returned, and lists are invariant


@runtime_checkable
class Worker(Protocol[In, Out]):
    """The face of one replica and of a pool of them: list in, list out, same length, same order.

    A request that failed is a `Failure` in its place. `EvocliffError` means that nobody can work.
    """

    async def run(self, requests: Sequence[In]) -> list[Out | Failure]: ...

    async def close(self) -> None: ...
