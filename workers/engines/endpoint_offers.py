"""What an endpoint offers, found out with its list of models and one token before any work is done.

Chat completions are spoken in dialects: who draws several samples at once, gives log-probabilities,
takes seeds, and what the limit is called. Knows these; knows nothing of sockets and samples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workers.engines.backoff import ONCE, Trouble
from workers.engines.endpoint_client import Endpoint
from workers.engines.endpoint_replies import ModelCard, Reply
from workers.errors import EndpointAway
from workers.interface import OPENING_TOKENS, ConfigError, FailureKind, Message, Sampling

_START_PATIENCE_S = 5.0
_START_TRIES = 2
# Decoding settings that these servers would else take from the model's own defaults: switched off.
_NEUTRAL: Mapping[str, Mapping[str, float]] = {
    "vllm": {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
    "llamacpp": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
}
# Alternatives that have to be asked for before llama.cpp gives the log-probability of the token itself.
_TOP_LOGPROBS = {"llamacpp": 1}
# What is asked for where it is offered -> how an endpoint names it when it turns a request down.
_OPTIONS = {
    "n": r"\bn\b|completion choice",
    "openings": r"top_logprobs",
    "logprobs": r"logprobs",
    "seed": r"\bseed\b",
}
# Where it names nothing: what to leave out, in this order.
_DOUBTS = ({"n"}, {"openings"}, {"logprobs"}, {"seed"}, set(_OPTIONS))


@dataclass(slots=True)
class Offers:
    """The dialect of one endpoint. `options`: which of n, logprobs, openings (the likeliest
    first tokens, beside logprobs) and seed it takes."""

    options: set[str] = field(default_factory=lambda: set(_OPTIONS))
    limit_name: str = "max_tokens"
    neutral: Mapping[str, float] = field(default_factory=dict)
    top_logprobs: int = 0

    def body(
        self, sampling: Sampling, n: int, seed: int, *, openings: bool = False
    ) -> dict[str, Any]:
        """The parameters of a request for `n` samples, beside model and messages. `openings`: with
        the likeliest tokens in each place, where they are offered."""
        body: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.limit_name: sampling.max_tokens,
            **self.neutral,
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        if n > 1 and "n" in self.options:
            body["n"] = n
        if "logprobs" in self.options:
            shown = OPENING_TOKENS if openings and "openings" in self.options else None
            body |= {"logprobs": True, "top_logprobs": shown or self.top_logprobs}
        if "seed" in self.options:
            body["seed"] = seed
        return body


async def probe(endpoint: Endpoint) -> tuple[Offers, Reply, ModelCard | None]:
    """Ask for the list of models, then for one token with everything that is optional; drop what is
    turned down until an answer comes. Gives that answer and the model's entry in the list too.

    Raises:
        ConfigError: there is no answer; the message says why and what to mend. EndpointAway: it may
            be otherwise in a while.
    """
    patience_s = min(endpoint.backoff.patience_s, _START_PATIENCE_S)
    hurried = replace(endpoint.backoff, patience_s=patience_s, most_tries=_START_TRIES)
    cards = await endpoint.models(hurried)
    if isinstance(cards, Trouble):
        raise _error(endpoint, cards, [])
    served_by = next((c.owned_by for c in cards if c.owned_by), None) or ""
    offers = Offers(
        neutral=_NEUTRAL.get(served_by, {}), top_logprobs=_TOP_LOGPROBS.get(served_by, 0)
    )
    kept, doubts = set(_OPTIONS), list(_DOUBTS)
    while True:
        body = offers.body(Sampling(max_tokens=1), 2, seed=1, openings=True)
        reply = await endpoint.complete((Message("user", "Hi"),), body, 2, hurried)
        if isinstance(reply, Reply):
            break
        if not _do_without(offers, reply, kept, doubts):
            raise _error(endpoint, reply, cards)
    if any(c.logprobs_of_tokens is None for c in reply.choices):
        offers.options.discard("logprobs")
    if "logprobs" not in offers.options or not all(len(c.first_tokens) > 1 for c in reply.choices):
        offers.options.discard("openings")
    if len(reply.choices) < 2:
        offers.options.discard("n")
    return offers, reply, next((c for c in cards if c.id == endpoint.model), None)


def _do_without(offers: Offers, trouble: Trouble, kept: set[str], doubts: list[set[str]]) -> bool:
    """Ask for less after a request that was turned down: what it names is not `kept`, else one of the
    `doubts` is left out for once. False when nothing is left to try."""
    if trouble.kind is not FailureKind.ENGINE or trouble.status not in (400, 422, 500):
        return False
    if "max_completion_tokens" in trouble.message and offers.limit_name == "max_tokens":
        offers.limit_name = "max_completion_tokens"
        return True
    blamed = trouble.parameter or trouble.message
    named = {option for option in offers.options if re.search(_OPTIONS[option], blamed)}
    if "openings" in named and not re.search(r"(?<!top_)logprobs", blamed):
        named.discard("logprobs")  # fewer alternatives may do
    if not named and not doubts:
        return False
    kept -= named
    offers.options = kept - (set() if named else doubts.pop(0))
    return True


def _error(endpoint: Endpoint, trouble: Trouble, cards: Sequence[ModelCard]) -> ConfigError:
    said = _explain(endpoint, trouble, cards)
    if trouble.fatal or trouble.tries == ONCE:
        return ConfigError(said)
    return EndpointAway(said, endpoint.backoff.patience_s)


def _explain(endpoint: Endpoint, trouble: Trouble, cards: Sequence[ModelCard]) -> str:
    """One line for the person who wrote the config."""
    where, name = f"{endpoint.url}: {trouble.message}", endpoint.key_name
    if trouble.status == 401:
        state = "set it to a valid key" if endpoint.has_key else "it is not set"
        return f"{where}; {name}: {state}, or name another variable in api_key_env"
    if trouble.status == 404:
        if cards and all(c.id != endpoint.model for c in cards):
            listed = ", ".join(c.id for c in cards[:10])
            return f"{endpoint.url} has no model '{endpoint.model}'; it has {listed}"
        return (
            f"{where}; is the model '{endpoint.model}' right, and does base_url end as it should "
            "(/v1)?"
        )
    if trouble.status is None:
        return f"{where}; is the server up and base_url right?"
    return where
