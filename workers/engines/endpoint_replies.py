"""What endpoints say, read once at the door: chat completions, lists of models, and errors.

Takes bytes and status codes, gives values. Whatever does not have the form of a whole answer is a
`Trouble`, never half a sample. Knows no HTTP library, no time and no key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers import reasoning
from workers.engines.backoff import FEW_TRIES, MANY_TRIES, ONCE, SOME_TRIES, Trouble
from workers.interface import OPENING_TOKENS, Failure, FailureKind, Opening, Sample

_STOPPED = {"stop", "eos", "end_turn", "stop_sequence"}
_OVERLONG = re.compile(
    r"context[ _]length|context[ _]size|context window|maximum model length|max_model_len"
    r"|too many tokens|prompt is too long|input is too long",
    re.IGNORECASE,
)
_NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_MESSAGE_CHARS = 300

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Usage(_Part):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class _Alternative(_Part):
    token: str
    logprob: Finite


class _Token(_Part):
    logprob: Finite
    top_logprobs: list[_Alternative] | None = None


class _Logprobs(_Part):
    content: list[_Token] | None = None


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None  # where a model's own words of refusal come in a field of their own
    reasoning_content: str | None = None
    reasoning: str | None = None


class Choice(_Part):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    @property
    def logprobs_of_tokens(self) -> list[float] | None:
        """Of each token, in nats; None where the endpoint gave none."""
        if self.logprobs is None or not self.logprobs.content:
            return None
        return [token.logprob for token in self.logprobs.content]

    @property
    def first_tokens(self) -> list[tuple[str, float]]:
        """The first token's alternatives with their log-probabilities (nats), likeliest first; []
        where the endpoint shows none."""
        if self.logprobs is None or not self.logprobs.content:
            return []
        shown = self.logprobs.content[0].top_logprobs or []
        return sorted(((t.token, min(0.0, t.logprob)) for t in shown), key=lambda t: -t[1])


class Reply(_Part):
    """One chat completion. An answer that does not say what it used cannot be budgeted."""

    model: str | None = None
    choices: list[Choice] = Field(min_length=1)
    usage: Usage


class _Meta(_Part):
    n_ctx: int | None = None


class ModelCard(_Part):
    """One entry of `GET /models`. Endpoints name the context differently, and most do not."""

    id: str
    owned_by: str | None = None
    root: str | None = None
    max_model_len: int | None = None  # vLLM
    meta: _Meta | None = None  # llama.cpp
    context_length: int | None = None
    context_window: int | None = None

    @property
    def context_tokens(self) -> int | None:
        served = self.meta.n_ctx if self.meta else None
        return self.max_model_len or served or self.context_length or self.context_window


class _ModelList(_Part):
    data: list[ModelCard]


def read_reply(content: bytes) -> Reply | Trouble:
    """The completion in the body of a 200. What is malformed may be whole at the next try."""
    try:
        return Reply.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = f"{place}: {first['msg']}" if place else first["msg"]
        message = f"the answer is not a chat completion ({said})"
        return Trouble(FailureKind.ENGINE, message, FEW_TRIES, status=200)


def read_models(content: bytes) -> list[ModelCard]:
    """The models that an endpoint lists; [] where the list cannot be read."""
    try:
        return _ModelList.model_validate_json(content).data
    except ValidationError:
        return []


def samples(replies: Sequence[Reply], first_index: int, neutral: bool) -> list[Sample] | Failure:
    """The choices of `replies` as samples, numbered on from `first_index`.

    Args:
        neutral: temperature 1 and no truncation: tokens were drawn from p itself, so log q is log p.

    Returns:
        samples, or a failure where the endpoint withheld an answer or ended it in a way of its own:
        that is neither a refusal nor an answer of the model.
    """
    made: list[Sample] = []
    for reply in replies:
        counts = _tokens_of_choices(reply)
        for choice, n_tokens in zip(reply.choices, counts, strict=True):
            finish = _finish_reason(choice)
            if isinstance(finish, Failure):
                return finish
            logprobs = choice.logprobs_of_tokens
            # A probability of 1 may come with a rounding error.
            logprob_sum = None if logprobs is None else min(0.0, sum(logprobs))
            thought, answer = reasoning.split(
                choice.message.content or choice.message.refusal or ""
            )
            made.append(
                Sample(
                    index=first_index + len(made),
                    text=answer,
                    n_tokens=n_tokens,
                    finish_reason=finish,
                    logprob_sum=logprob_sum,
                    sampling_logprob_sum=logprob_sum if neutral else None,
                    reasoning=choice.message.reasoning_content
                    or choice.message.reasoning
                    or thought,
                )
            )
    return made


def opening(reply: Reply, cost_usd: float) -> Opening | Failure:
    """How the one choice of `reply` begins, or a failure where the endpoint withheld it or did not
    show it."""
    choice = reply.choices[0]
    finish = _finish_reason(choice)
    if isinstance(finish, Failure):
        return finish
    shown = choice.first_tokens[:OPENING_TOKENS]
    if not shown:
        return Failure(FailureKind.ENGINE, "the endpoint did not show the likeliest first tokens")
    tokens, logprobs = zip(*shown, strict=True)
    return Opening(tokens, logprobs, reply.usage.prompt_tokens, cost_usd)


def _finish_reason(choice: Choice) -> str | Failure:
    reason = choice.finish_reason
    if reason == "content_filter":
        return Failure(FailureKind.FILTERED, "the endpoint's content filter withheld an answer")
    if reason == "length":
        return "length"
    if reason in _STOPPED:
        return "stop"
    return Failure(FailureKind.ENGINE, f"an answer ended with '{reason}', not with stop or length")


def _tokens_of_choices(reply: Reply) -> list[int]:
    """Tokens of each choice: as many as have log-probabilities; else the total of the usage shared
    out by length of text, since endpoints count all choices together."""
    listed = [c.logprobs_of_tokens for c in reply.choices]
    counted = [len(tokens) for tokens in listed if tokens is not None]
    if len(counted) == len(listed):
        return counted
    lengths = [
        1
        + len(c.message.content or c.message.refusal or "")
        + len(c.message.reasoning_content or c.message.reasoning or "")
        for c in reply.choices
    ]
    total = max(len(lengths), reply.usage.completion_tokens)
    # Rounding cumulative shares keeps the total exact; everybody has one token at least.
    spare, shares, before = total - len(lengths), [], 0
    for n in range(1, len(lengths) + 1):
        upto = spare * sum(lengths[:n]) // sum(lengths)
        shares.append(1 + upto - before)
        before = upto
    return shares


def read_error(
    status: int, body: object, retry_after_s: float | None, *, key_name: str = "the key"
) -> Trouble:
    """What an answer that is no 200 means.

    Args:
        body: the JSON of the answer, or its text.
        key_name: the environment variable that holds the key, for the message.
    """
    error = body.get("error", body) if isinstance(body, Mapping) else body
    fields: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    said = _said(fields, error)
    codes = {str(fields.get(name) or "") for name in ("code", "type")}
    parameter = fields.get("param")
    kind, tries, fatal, meaning = FailureKind.ENGINE, ONCE, False, "refused the request"
    more: int | None = tries
    if status == 429 and codes & _NO_MONEY:
        fatal, meaning = True, "has no credit left for this key"
    elif status == 429:
        more, meaning = MANY_TRIES, "asks for fewer requests"
    elif status == 401:
        fatal, meaning = True, f"does not accept {key_name}"
    elif status == 404:
        fatal, meaning = True, "knows no such model or address"
    elif status == 402:
        fatal, meaning = True, "wants to be paid first"
    elif status == 403:
        meaning = f"does not let {key_name} do this"
    elif status in (400, 413, 422):
        if any("content_filter" in code or "content_policy" in code for code in codes):
            kind, meaning = FailureKind.FILTERED, "filtered the prompt"
        elif status == 413 or _OVERLONG.search(" ".join([*codes, said])):
            kind, meaning = FailureKind.OVERLONG, "finds the prompt too long"
    elif status == 500:
        more, meaning = SOME_TRIES, "failed"  # often this request's fault, so not for ever
    elif status in (408, 409, 425) or status > 500:
        more, meaning = None, "is not ready"
    return Trouble(
        kind,
        f"the endpoint {meaning} ({status}{': ' if said else ''}{said})",
        more,
        retry_after_s,
        fatal,
        status,
        str(parameter) if parameter else None,
    )


def _said(fields: Mapping[str, Any], error: object) -> str:
    """The endpoint's own words in one short line."""
    words = fields.get("message") or fields.get("detail")
    if words is None:
        words = error if isinstance(error, str) else json.dumps(error) if error else ""
    return " ".join(str(words).split())[:_MESSAGE_CHARS]
