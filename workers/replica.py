"""The Ray actor of one replica: it holds what a factory built and forwards one call."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from workers.interface import Engine, EngineDied, Failure, Generation, GenerationRequest, Worker

Factory = Callable[[], Worker[Any, Any]]

# Time for the answer that says why to leave the process before it ends.
_LAST_WORDS_S = 0.2


class Replica:
    """A worker in a process of its own.

    The worker is built in `start`, not in the constructor, so that a wrong model name comes back as
    the exception that it is; a restarted process builds it anew at the first call. `EngineDied` ends
    the process, so that Ray starts a new one.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._worker: Worker[Any, Any] | None = None
        self._building = asyncio.Lock()
        self._dying = False

    async def start(self) -> int:
        """Build the worker if need be; returns the process id. A dying process never answers."""
        if self._dying:
            await asyncio.Event().wait()
        async with self._building:
            if self._worker is None:
                try:
                    self._worker = await asyncio.to_thread(self._factory)
                except EngineDied:
                    self._die()
                    raise
        return os.getpid()

    async def run(self, requests: Sequence[Any]) -> list[Any]:
        await self.start()
        assert self._worker is not None  # noqa: S101 - start has built it
        try:
            return await self._worker.run(requests)
        except EngineDied:
            self._die()
            raise

    def _die(self) -> None:
        """End this process in a moment. To Ray an exit code of 1 is a crash, after which it restarts
        the actor; an orderly exit would be the end of it."""
        if not self._dying:
            self._dying = True
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, _exit)

    async def describe(self) -> Any:
        """What the worker says of itself (`Evaluator.description`, `Engine.description`)."""
        await self.start()
        return getattr(self._worker, "description", None)

    async def close(self) -> None:
        if self._worker is not None:
            with contextlib.suppress(Exception):  # the process ends next, whatever happens here
                await self._worker.close()
        _end_children()


def _exit() -> None:
    _end_children()
    os._exit(1)


def _end_children() -> None:
    """An engine's own processes must not outlive it: they would hold the device's memory."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


class EngineWorker:
    """A bare engine with the face of a worker: what a pool of proposers or judges hosts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.description = engine.description

    async def run(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        return await self._engine.generate(requests)

    async def close(self) -> None:
        await self._engine.close()
