"""The values that cross processes and the protocols that hold the parts together.

Standard library only, so that every package may import it for nothing. It knows of text, tokens
and log-probabilities (natural logarithm, in nats); it does not know what a refusal is.
"""

from __future__ import annotations

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
    "ConfigError",
    "Embedder",
    "Engine",
    "EngineDescription",
    "EngineDied",
    "EvocliffError",
    "Failure",
    "FailureKind",
    "Generation",
    "GenerationRequest",
    "Message",
    "Opening",
    "OpeningEngine",
    "Sample",
    "Sampling",
    "StoreError",
    "TargetError",
    "Worker",
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
    UNSCORED = "unscored"  # no judge could score any sample
    UNPARSED = "unparsed"  # the proposer's reply did not hold an instruction
    UNCHANGED = "unchanged"  # the operator found nothing to change in this parent
    DUPLICATE = "duplicate"  # gate: this prompt was met before
    NOT_NOVEL = "not_novel"  # gate: an embedding neighbour is too near
    NOT_HARMLESS = "not_harmless"  # gate: the safety gates did not call it harmless
    SCREENED = "screened"  # a guess said that the target answers it, so it was not sampled


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
class Sampling:
    """Decoding settings. `temperature` 0 is greedy; `top_p` 1 and `top_k` 0 switch truncation off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 50


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
    DEADLINES = "deadlines"  # ends every request by itself, so nobody else needs to watch the time


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What an engine serves. `revision` and `template` are hashes of the weights and of the chat
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
