"""The engine of models behind an OpenAI-compatible endpoint: hosted ones, `vllm serve`, llama.cpp.

One request asks for all samples of a prompt where the endpoint offers `n`; log-probabilities, where it
offers them, are what it says they are: the raw log p by default on vLLM and llama.cpp, undocumented on
hosted endpoints. What goes wrong on the way is tried again (`endpoint_client`); what stays wrong is a
`Failure`. It knows requests, samples and prices; it does not know what the text is for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from workers.engines import rate_limit
from workers.engines.backoff import Backoff, Trouble
from workers.engines.endpoint_client import Endpoint, Surroundings
from workers.engines.endpoint_offers import probe
from workers.engines.endpoint_replies import Reply, opening, samples
from workers.interface import (
    Ability,
    ConfigError,
    EngineDescription,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Opening,
    Sampling,
    TargetError,
)

T = TypeVar("T")
A = TypeVar("A", Generation, Opening)

DEFAULT_URL = "https://api.openai.com/v1"


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
        url = (base_url or DEFAULT_URL).rstrip("/")
        self._endpoint = Endpoint(
            url,
            model,
            key_name=api_key_env,
            backoff=Backoff(patience_s=patience_s),
            limit=rate_limit.shared(url, requests_per_minute, tokens_per_minute),
            concurrency=concurrency,
            timeout_s=timeout_s,
            surroundings=surroundings or Surroundings(),
        )
        if base_url is None and not self._endpoint.has_key:
            raise ConfigError(
                f"{api_key_env} is not set: the engine openai needs it to ask {url}; "
                "set it, name another variable in api_key_env, or give a base_url"
            )
        self._prices = (prompt_price / 1e6, completion_price / 1e6)
        self._unclaimed_usd = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="openai-engine", daemon=True
        )
        self._thread.start()
        try:
            self._offers, reply, card = self._within(probe(self._endpoint)).result()
        except BaseException:
            self._within(self._end()).result()
            self._stop()
            raise
        given = {"logprobs": Ability.LOGPROBS, "openings": Ability.OPENINGS}
        abilities = [given[option] for option in given if option in self._offers.options]
        served = [url, reply.model or model, card.root if card else None]
        self._description = EngineDescription(
            engine="openai",
            model=model,
            revision=hashlib.sha256(json.dumps(served).encode()).hexdigest()[:16],
            template="endpoint",
            dtype="endpoint",
            device=self._endpoint.host,
            context_tokens=card.context_tokens if card else None,
            abilities=frozenset({Ability.DEADLINES, *abilities}),
        )

    @property
    def description(self) -> EngineDescription:
        return self._description

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        return await asyncio.wrap_future(self._within(self._generate(tuple(requests))))

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        return await asyncio.wrap_future(self._within(self._open_all(tuple(requests))))

    async def close(self) -> None:
        if self._loop.is_running():
            await asyncio.wrap_future(self._within(self._end()))
            self._stop()

    def _within(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _end(self) -> None:
        """Let go of whoever still waits, and of the connections."""
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await self._endpoint.close()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()

    # Answering

    async def _generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        return _settled(await asyncio.gather(*map(self._answer, requests)))

    async def _open_all(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        return _settled(await asyncio.gather(*map(self._open, requests)))

    async def _open(self, asked: GenerationRequest) -> Opening | Failure | _GivenUp:
        """One token, and the likeliest that might have stood in its place."""
        request = replace(asked, n_samples=1, sampling=Sampling(max_tokens=1))
        if isinstance(unfit := _unfit(request), Failure):
            return unfit
        if "openings" not in self._offers.options:
            message = f"{request.key}: {self._endpoint.host} does not show the likeliest tokens"
            return Failure(FailureKind.ENGINE, message)
        body = self._offers.body(request.sampling, 1, _seed(request.seed, 0), openings=True)
        reply = await self._endpoint.complete(request.messages, body, 1)
        if isinstance(reply, Trouble):
            return self._concluded(request, reply)
        self._unclaimed_usd += self._cost_usd(reply)
        made = opening(reply, self._unclaimed_usd)
        if isinstance(made, Failure):
            return Failure(made.kind, f"{request.key}: {made.message}")
        self._unclaimed_usd = 0.0
        return made

    async def _answer(self, request: GenerationRequest) -> Generation | Failure | _GivenUp:
        """All samples of one request, in as few HTTP requests as the endpoint offers."""
        if (unfit := _unfit(request)) is not None:
            return unfit
        replies: list[Reply] = []
        # Greedy samples are all the same; vLLM will not draw several at once.
        greedy = request.sampling.temperature == 0.0
        several = "n" in self._offers.options and not greedy
        while (missing := request.n_samples - sum(len(r.choices) for r in replies)) > 0:
            first = request.first_index + request.n_samples - missing
            sizes = [missing] if several else [1] * missing
            answers = await asyncio.gather(
                *(self._ask(request, first + place, n) for place, n in enumerate(sizes))
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
                self._offers.options.discard("n")
            replies += [
                r.model_copy(update={"choices": r.choices[:n]})
                for r, n in zip(whole, sizes, strict=True)
            ]
        made = samples(replies, request.first_index, _is_neutral(request.sampling))
        if isinstance(made, Failure):
            return Failure(made.kind, f"{request.key}: {made.message}")
        # What failed requests have cost is put on the next one that succeeds.
        cost_usd, self._unclaimed_usd = self._unclaimed_usd, 0.0
        return Generation(tuple(made), sum(r.usage.prompt_tokens for r in replies), cost_usd)

    async def _ask(self, request: GenerationRequest, index: int, n: int) -> Reply | Trouble:
        """`n` samples in one HTTP request, the first of which is number `index`."""
        body = self._offers.body(request.sampling, n, _seed(request.seed, index))
        return await self._endpoint.complete(
            request.messages, body, n * request.sampling.max_tokens
        )

    def _concluded(self, request: GenerationRequest, trouble: Trouble) -> Failure | _GivenUp:
        message = f"{self._endpoint.host}: {trouble.message}"
        if trouble.fatal:
            return _GivenUp(f"{message}; what has ended is stored, and the run can be resumed")
        return Failure(trouble.kind, f"{request.key}: {message}")

    def _cost_usd(self, reply: Reply) -> float:
        prompt, completion = self._prices
        return reply.usage.prompt_tokens * prompt + reply.usage.completion_tokens * completion


def _settled(results: Sequence[A | Failure | _GivenUp]) -> list[A | Failure]:
    """Answers for the caller. What the neighbours of one that was given up were answered has been
    paid for, so it is kept; the next call will find nobody.

    Raises:
        TargetError: nobody was answered, and one was given up.
    """
    given_up = [r for r in results if isinstance(r, _GivenUp)]
    if given_up and not any(isinstance(r, Generation | Opening) for r in results):
        raise TargetError(given_up[0].message)
    return [
        Failure(FailureKind.ENGINE, r.message) if isinstance(r, _GivenUp) else r for r in results
    ]


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
