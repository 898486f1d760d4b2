"""One endpoint on the wire: its address, its key, its rate, and tries with backoff.

Sends chat completions and gives whole replies or the trouble that they ended in. It knows HTTP; it
does not know samples, prices or what the endpoint offers. All calls belong to one event loop.

The key is read from the environment here, in the process that uses it. It lives in the client alone:
no message, log line or value that leaves this module holds it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import openai

from workers.engines.backoff import FEW_TRIES, ONCE, Backoff, Trouble, retry_after_s
from workers.engines.endpoint_replies import (
    ModelCard,
    Reply,
    read_error,
    read_models,
    read_reply,
)
from workers.engines.rate_limit import RateLimit
from workers.interface import ConfigError, FailureKind, Message

_CONNECT_S = 10.0
# A guess for the token rate limit before the endpoint has counted; settled by its count afterwards.
_CHARS_PER_TOKEN = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Time and chance from outside, so that a test can be quick and exact. `clock`: seconds."""

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


class Endpoint:
    """A server that completes chats with one model.

    Args:
        url: up to and including `/v1`.
        key_name: the environment variable with the key; where it is empty no key is sent.
        backoff: how patiently a request is tried again.
        limit: shared with whoever else asks this endpoint.
        concurrency: most requests under way at once.
        timeout_s: for one try of one request.

    Raises:
        ConfigError: what the variable holds cannot be a key.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_name: str,
        backoff: Backoff,
        limit: RateLimit,
        concurrency: int,
        timeout_s: float,
        surroundings: Surroundings,
    ) -> None:
        self.url, self.model, self.key_name, self.backoff = url, model, key_name, backoff
        self.host = urlsplit(url).netloc
        self._limit, self._around, self._timeout_s = limit, surroundings, timeout_s
        self._places = asyncio.Semaphore(concurrency)
        key = _key(key_name)
        self.has_key = key is not None
        self._redact: Callable[[str], str] = (
            (lambda text: text) if key is None else (lambda text: text.replace(key, "***"))
        )
        self._client = _client(url, key, timeout_s)
        # Without a key no header of it either: some servers turn down what they cannot check.
        self._headers: Any = {} if key else {"Authorization": openai.Omit()}

    async def close(self) -> None:
        await self._client.close()

    async def complete(
        self,
        messages: Sequence[Message],
        body: Mapping[str, Any],
        most_tokens: int,
        hurried: Backoff | None = None,
    ) -> Reply | Trouble:
        """One completion, tried until it is whole or nothing more may be tried.

        Args:
            body: the parameters beside model and messages.
            most_tokens: that the answer may have, all choices together.
            hurried: for somebody who waits: how patient to be instead, but with one who asks us to wait.
        """
        around, failed = self._around, 0
        began = around.clock()
        reserved = sum(len(m.content) for m in messages) // _CHARS_PER_TOKEN + most_tokens
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
            patient = self.backoff if hurried is None or result.status == 429 else hurried
            delay = patient.delay_s(result, failed, elapsed, around.chance())
            if delay is None:
                return _after(result, failed, elapsed, patient.patience_s)
            _log.warning("%s: %s; trying again in %.1f s", self.host, result.message, delay)
            if result.status == 429:
                self._limit.hold(around.clock() + delay)
            await around.sleep(delay)

    async def models(self, hurried: Backoff) -> list[ModelCard] | Trouble:
        """What the endpoint lists; [] where it lists nothing to us; the trouble where nobody answers
        or the key is wrong."""
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
            if trouble.status is not None and trouble.status != 401 and trouble.tries == ONCE:
                return []  # it has no such list, or not for us: the first token will tell
            failed += 1
            elapsed = self._around.clock() - began
            delay = hurried.delay_s(trouble, failed, elapsed, self._around.chance())
            if delay is None or trouble.kind is FailureKind.TIMEOUT:
                return trouble
            await self._around.sleep(delay)

    async def _try(self, messages: Sequence[Message], body: Mapping[str, Any]) -> Reply | Trouble:
        turns: Any = [{"role": m.role, "content": m.content} for m in messages]
        try:
            async with self._places, asyncio.timeout(self._timeout_s):
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self.model,
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
                error.status_code, _json(error.response.content), asked_s, key_name=self.key_name
            )
            return replace(trouble, message=self._redact(trouble.message))
        never_connected = type(error.__cause__).__name__ == "ConnectTimeout"
        if isinstance(error, TimeoutError | openai.APITimeoutError) and not never_connected:
            message = f"no answer within {self._timeout_s:g} s"
            return Trouble(FailureKind.TIMEOUT, message, FEW_TRIES)
        cause = error.__cause__ or error
        reason = self._redact(" ".join(str(cause).split())) or type(cause).__name__
        return Trouble(FailureKind.ENGINE, f"the connection failed ({reason})", None)


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


def _after(trouble: Trouble, failed: int, elapsed_s: float, patience_s: float) -> Trouble:
    """The trouble that a request ends with. An endpoint that nobody reached for so long is gone, and
    so is one that will not have us back in time."""
    tried = f"{trouble.message}, tried {failed} times in {elapsed_s:.0f} s"
    message = tried if failed > 1 else trouble.message
    wait_s = trouble.retry_after_s or 0.0
    if wait_s > patience_s:
        message += f"; it asks to wait {wait_s:.0f} s"
    gone = trouble.tries is None or wait_s > patience_s
    return replace(trouble, message=message, fatal=trouble.fatal or gone)


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")
