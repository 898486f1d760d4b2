"""The engine of models behind an OpenAI-compatible endpoint: hosted ones, `vllm serve`, llama.cpp.

One request asks for all samples of a prompt where the endpoint offers `n`; log-probabilities, where it
offers them, are what it says they are: the raw log p by default on vLLM and llama.cpp, undocumented on
hosted endpoints. What goes wrong on the way is tried again with backoff (`backoff`); what stays wrong
is a `Failure`. It knows HTTP statuses and token counts; it does not know what the text is for.

The key is read from the environment here, in the process that uses it. It lives in the client alone:
no message, log line, description or value that leaves this module holds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai

from workers.engines import rate_limit
from workers.engines.backoff import FEW_TRIES, ONCE, Backoff, Trouble, retry_after_s
from workers.engines.endpoint_replies import (
    ModelCard,
    Reply,
    read_error,
    read_models,
    read_reply,
    samples,
)
from workers.interface import (
    Ability,
    ConfigError,
    EngineDescription,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Message,
    Sampling,
    TargetError,
)

T = TypeVar("T")

DEFAULT_URL = "https://api.openai.com/v1"
_CONNECT_S = 10.0
_START_PATIENCE_S = 5.0
_START_TRIES = 2
# A guess for the token rate limit before the endpoint has counted; settled by its count afterwards.
_CHARS_PER_TOKEN = 4
# Decoding settings that these servers would else take from the model's own defaults: switched off.
_NEUTRAL: Mapping[str, Mapping[str, float]] = {
    "vllm": {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
    "llamacpp": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
}
# Alternatives that have to be asked for before llama.cpp gives the log-probability of the token itself.
_TOP_LOGPROBS = {"llamacpp": 1}
# What is asked for where it is offered -> how an endpoint names it when it turns a request down.
_OPTIONS = {"n": r"\bn\b|completion choice", "logprobs": r"logprobs", "seed": r"\bseed\b"}
# Where it names nothing: what to leave out, in this order.
_DOUBTS = ({"n"}, {"logprobs"}, {"seed"}, set(_OPTIONS))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Time and chance from outside, so that a test can be quick and exact. `clock`: seconds."""

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class _GivenUp:
    """A request that nobody will answer, and its neighbours neither."""

    message: str


class OpenAIEngine:
    """`Engine` over chat completions. Asks at construction what the endpoint offers (its list of
    models and one token); each engine has a thread with an event loop of its own, because a
    connection belongs to one loop and callers come from several.

    Args:
        model: as the endpoint calls it.
        base_url: up to and including `/v1`; None: OpenAI's own.
        api_key_env: the environment variable with the key; local endpoints may need none.
        concurrency: most requests under way at once.
        requests_per_minute, tokens_per_minute: None: no limit. Shared by all engines of this process
            that ask the same base_url.
        timeout_s: for one try of one request.
        patience_s: how long nobody may answer before the endpoint counts as gone.
        prompt_price, completion_price: USD per million tokens.

    Raises:
        ConfigError: nobody answers at base_url, the key is absent or wrong, or the model is unknown.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 16,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout_s: float = 120.0,
        patience_s: float = 90.0,
        prompt_price: float = 0.0,
        completion_price: float = 0.0,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._model = model
        self._url = (base_url or DEFAULT_URL).rstrip("/")
        self._host = urlsplit(self._url).netloc
        self._timeout_s = timeout_s
        self._backoff = Backoff(patience_s=patience_s)
        self._prices = (prompt_price / 1e6, completion_price / 1e6)
        self._around = surroundings or Surroundings()
        self._limit = rate_limit.shared(self._url, requests_per_minute, tokens_per_minute)
        self._places = asyncio.Semaphore(concurrency)
        self._key_name = api_key_env
        key = _key(api_key_env)
        if key is None and base_url is None:
            raise ConfigError(
                f"{api_key_env} is not set: the engine openai needs it to ask {self._host}; "
                "set it, name another variable in api_key_env, or give a base_url"
            )
        self._redact: Callable[[str], str] = (
            (lambda text: text) if key is None else (lambda text: text.replace(key, "***"))
        )
        self._client = _client(self._url, key, timeout_s)
        # Without a key no header of it either: some servers turn down what they cannot check.
        self._headers: Any = {} if key else {"Authorization": openai.Omit()}
        self._options = set(_OPTIONS)
        self._limit_name = "max_tokens"
        self._neutral: Mapping[str, float] = {}
        self._top_logprobs = 0
        self._unclaimed_usd = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="openai-engine", daemon=True
        )
        self._thread.start()
        try:
            self._description = self._within(self._probe()).result()
        except BaseException:
            self._within(self._client.close()).result()
            self._stop()
            raise

    @property
    def description(self) -> EngineDescription:
        return self._description

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        return await asyncio.wrap_future(self._within(self._generate(tuple(requests))))

    async def close(self) -> None:
        if self._loop.is_running():
            await asyncio.wrap_future(self._within(self._client.close()))
            self._stop()

    def _within(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    # Answering

    async def _generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        results = await asyncio.gather(*(self._answer(request) for request in requests))
        given_up = [r for r in results if isinstance(r, _GivenUp)]
        # What the neighbours were answered has been paid for; the next call will find nobody.
        if given_up and not any(isinstance(r, Generation) for r in results):
            raise TargetError(given_up[0].message)
        return [
            Failure(FailureKind.ENGINE, r.message) if isinstance(r, _GivenUp) else r
            for r in results
        ]

    async def _answer(self, request: GenerationRequest) -> Generation | Failure | _GivenUp:
        """All samples of one request, in as few HTTP requests as the endpoint offers."""
        if (unfit := _unfit(request)) is not None:
            return unfit
        replies: list[Reply] = []
        # Greedy samples are all the same; vLLM will not draw several at once.
        greedy = request.sampling.temperature == 0.0
        several = "n" in self._options and not greedy
        while (missing := request.n_samples - sum(len(r.choices) for r in replies)) > 0:
            first = request.first_index + request.n_samples - missing
            sizes = [missing] if several else [1] * missing
            bodies = [
                self._body(request, n, first + place if n == 1 else first)
                for place, n in enumerate(sizes)
            ]
            answers = await asyncio.gather(
                *(self._ask(request.messages, body, self._backoff) for body in bodies)
            )
            whole = [a for a in answers if isinstance(a, Reply)]
            self._unclaimed_usd += sum(self._cost_usd(reply) for reply in whole)
            trouble = next((a for a in answers if isinstance(a, Trouble)), None)
            if trouble is not None and _may_be_about_n(trouble, sizes):
                several = False  # if n was not the reason, the single requests tell the true one
                continue
            if trouble is not None:
                return self._concluded(request, trouble)
            if len(whole[0].choices) < sizes[0] or not (several or greedy):
                several = False
                self._options.discard("n")
            replies += [
                r.model_copy(update={"choices": r.choices[:n]})
                for r, n in zip(whole, sizes, strict=True)
            ]
        made = samples(replies, request.first_index, _is_neutral(request.sampling))
        if isinstance(made, Failure):
            return Failure(made.kind, f"{request.key}: {made.message}")
        # What failed requests have cost is put on the next one that succeeds: no cent is lost.
        cost_usd, self._unclaimed_usd = self._unclaimed_usd, 0.0
        return Generation(tuple(made), sum(r.usage.prompt_tokens for r in replies), cost_usd)

    def _concluded(self, request: GenerationRequest, trouble: Trouble) -> Failure | _GivenUp:
        message = f"{self._host}: {trouble.message}"
        if trouble.fatal:
            return _GivenUp(f"{message}; what has ended is stored, and the run can be resumed")
        return Failure(trouble.kind, f"{request.key}: {message}")

    def _cost_usd(self, reply: Reply) -> float:
        prompt, completion = self._prices
        return reply.usage.prompt_tokens * prompt + reply.usage.completion_tokens * completion

    def _body(self, request: GenerationRequest, n: int, first_index: int) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit_name: sampling.max_tokens,
            **self._neutral,
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        return body | self._optional(n, _seed(request.seed, first_index))

    def _optional(self, n: int, seed: int) -> dict[str, Any]:
        body: dict[str, Any] = {}
        if n > 1 and "n" in self._options:
            body["n"] = n
        if "logprobs" in self._options:
            body |= {"logprobs": True, "top_logprobs": self._top_logprobs}
        if "seed" in self._options:
            body["seed"] = seed
        return body

    # Asking

    async def _ask(
        self, messages: Sequence[Message], body: Mapping[str, Any], backoff: Backoff
    ) -> Reply | Trouble:
        """One completion, tried until it is whole or nothing more may be tried."""
        around, failed = self._around, 0
        began = around.clock()
        asked = sum(len(m.content) for m in messages) // _CHARS_PER_TOKEN
        reserved = asked + int(body[self._limit_name]) * int(body.get("n", 1))
        while True:
            wait = self._limit.wait_s(around.clock(), reserved)
            if wait > 0:
                await around.sleep(wait)
            result = await self._try(messages, body)
            if isinstance(result, Reply):
                used = result.usage.prompt_tokens + result.usage.completion_tokens
                self._limit.settle(reserved, used)
                return result
            self._limit.settle(reserved, 0)
            failed += 1
            elapsed = around.clock() - began
            # One that asks us to wait is there: it gets all our patience.
            patient = self._backoff if result.status == 429 else backoff
            delay = patient.delay_s(result, failed, elapsed, around.chance())
            if delay is None:
                return _after(result, failed, elapsed)
            _log.warning("%s: %s; trying again in %.1f s", self._host, result.message, delay)
            if result.status == 429:
                self._limit.hold(around.clock() + delay)
            await around.sleep(delay)

    async def _try(self, messages: Sequence[Message], body: Mapping[str, Any]) -> Reply | Trouble:
        turns: Any = [{"role": m.role, "content": m.content} for m in messages]
        try:
            async with self._places, asyncio.timeout(self._timeout_s):
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._model,
                    messages=turns,
                    extra_body=dict(body),
                    extra_headers=self._headers,
                )
            return read_reply(raw.content)
        except (TimeoutError, openai.APIError) as error:
            return self._trouble(error)

    def _trouble(self, error: Exception) -> Trouble:
        """What an exception means. The exception itself, which holds the request and its headers,
        goes no further."""
        if isinstance(error, openai.APIStatusError):
            asked_s = retry_after_s(error.response.headers, self._around.now())
            trouble = read_error(
                error.status_code, _json(error.response.content), asked_s, key_name=self._key_name
            )
            return replace(trouble, message=self._redact(trouble.message))
        never_connected = type(error.__cause__).__name__ == "ConnectTimeout"
        if isinstance(error, TimeoutError | openai.APITimeoutError) and not never_connected:
            message = f"no answer within {self._timeout_s:g} s"
            return Trouble(FailureKind.TIMEOUT, message, FEW_TRIES)
        cause = error.__cause__ or error
        reason = self._redact(" ".join(str(cause).split())) or type(cause).__name__
        return Trouble(FailureKind.ENGINE, f"the connection failed ({reason})", None)

    # What the endpoint offers

    async def _probe(self) -> EngineDescription:
        """Ask for the list of models, then for one token with everything that is optional; drop what
        is turned down until an answer comes.

        Raises:
            ConfigError: there is none.
        """
        patience_s = min(self._backoff.patience_s, _START_PATIENCE_S)
        hurried = replace(self._backoff, patience_s=patience_s, most_tries=_START_TRIES)
        cards = await self._models(hurried)
        card = next((c for c in cards if c.id == self._model), None)
        served_by = next((c.owned_by for c in cards if c.owned_by), None)
        self._neutral = _NEUTRAL.get(served_by or "", {})
        self._top_logprobs = _TOP_LOGPROBS.get(served_by or "", 0)
        hello, kept, doubts = (Message("user", "Hi"),), set(_OPTIONS), list(_DOUBTS)
        while True:
            body = {self._limit_name: 1, "temperature": 1.0, "top_p": 1.0, **self._neutral}
            reply = await self._ask(hello, body | self._optional(2, 1), hurried)
            if isinstance(reply, Reply):
                break
            if not self._do_without(reply, kept, doubts):
                raise ConfigError(self._explain(reply, cards))
        if any(c.logprobs_of_tokens is None for c in reply.choices):
            self._options.discard("logprobs")
        if len(reply.choices) < 2:
            self._options.discard("n")
        gives_logprobs = [Ability.LOGPROBS] if "logprobs" in self._options else []
        served = [self._url, reply.model or self._model, card.root if card else None]
        return EngineDescription(
            engine="openai",
            model=self._model,
            revision=hashlib.sha256(json.dumps(served).encode()).hexdigest()[:16],
            template="endpoint",
            dtype="endpoint",
            device=self._host,
            context_tokens=card.context_tokens if card else None,
            abilities=frozenset({Ability.DEADLINES, *gives_logprobs}),
        )

    async def _models(self, backoff: Backoff) -> list[ModelCard]:
        """What the endpoint lists; [] where it lists nothing to us.

        Raises:
            ConfigError: nobody answers, or the key is wrong.
        """
        failed, began = 0, self._around.clock()
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    raw = await self._client.models.with_raw_response.list(
                        extra_headers=self._headers
                    )
                return read_models(raw.content)
            except (TimeoutError, openai.APIError) as error:
                trouble = self._trouble(error)
            if trouble.status == 401:
                raise ConfigError(self._explain(trouble, []))
            if trouble.status is not None and trouble.tries == ONCE:
                return []  # it has no such list, or not for us: the first token will tell
            failed += 1
            elapsed = self._around.clock() - began
            delay = backoff.delay_s(trouble, failed, elapsed, self._around.chance())
            if delay is None or trouble.kind is FailureKind.TIMEOUT:
                raise ConfigError(self._explain(trouble, []))
            await self._around.sleep(delay)

    def _do_without(self, trouble: Trouble, kept: set[str], doubts: list[set[str]]) -> bool:
        """Ask for less after a request that was turned down: what it names is not `kept`, else one of
        the `doubts` is left out for once. False when nothing is left to try."""
        if trouble.kind is not FailureKind.ENGINE or trouble.status not in (400, 422, 500):
            return False
        if "max_completion_tokens" in trouble.message and self._limit_name == "max_tokens":
            self._limit_name = "max_completion_tokens"
            return True
        blamed = trouble.parameter or trouble.message
        named = {option for option in self._options if re.search(_OPTIONS[option], blamed)}
        if not named and not doubts:
            return False
        kept -= named
        self._options = kept - (set() if named else doubts.pop(0))
        return True

    def _explain(self, trouble: Trouble, cards: Sequence[ModelCard]) -> str:
        """One line for the person who wrote the config."""
        where = f"{self._url}: {trouble.message}"
        if trouble.status == 401:
            state = "set it to a valid key" if _key(self._key_name) else "it is not set"
            return f"{where}; {self._key_name}: {state}, or name another variable in api_key_env"
        if trouble.status == 404:
            listed = ", ".join(c.id for c in cards[:10])
            if cards and all(c.id != self._model for c in cards):
                return f"{self._url} has no model '{self._model}'; it has {listed}"
            return f"{where}; is the model '{self._model}' right, and does base_url end as it should (/v1)?"
        if trouble.status is None:
            return f"{where}; is the server up and base_url right?"
        return where


def _key(name: str) -> str | None:
    """The key in the environment; None where there is none."""
    key = os.environ.get(name, "").strip()
    if not key:
        return None
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigError(f"{name}: holds characters that no key has (spaces, or beyond ASCII)")
    return key


def _client(url: str, key: str | None, timeout_s: float) -> openai.AsyncOpenAI:
    """The official client without retries of its own; it insists on some key."""
    timeout = openai.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
    return openai.AsyncOpenAI(
        api_key=key or "none",
        base_url=url,
        timeout=timeout,
        max_retries=0,
        # The client's own default closes itself in whichever loop runs when it is collected.
        http_client=openai.DefaultAsyncHttpxClient(timeout=timeout),
    )


def _unfit(request: GenerationRequest) -> Generation | Failure | None:
    """What need not be sent to be answered."""
    if not any(m.role == "user" and m.content.strip() for m in request.messages):
        return Failure(FailureKind.EMPTY, f"{request.key}: the prompt has no text")
    if any("\ud800" <= c <= "\udfff" for m in request.messages for c in m.content):
        return Failure(FailureKind.TEMPLATE, f"{request.key}: the prompt is not valid Unicode")
    return Generation((), 0) if request.n_samples == 0 else None


def _may_be_about_n(trouble: Trouble, sizes: Sequence[int]) -> bool:
    turned_down = trouble.status in (400, 422) and trouble.kind is FailureKind.ENGINE
    return turned_down and max(sizes) > 1


def _is_neutral(sampling: Sampling) -> bool:
    return (sampling.temperature, sampling.top_p, sampling.top_k) == (1.0, 1.0, 0)


def _seed(seed: int, index: int) -> int:
    """31 bits that depend on the request's seed and the first index alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:4]) >> 1


def _after(trouble: Trouble, failed: int, elapsed_s: float) -> Trouble:
    """The trouble that a request ends with. An endpoint that nobody reached for so long is gone."""
    tried = f"{trouble.message}, tried {failed} times in {elapsed_s:.0f} s"
    message = tried if failed > 1 else trouble.message
    return replace(trouble, message=message, fatal=trouble.fatal or trouble.tries is None)


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")
