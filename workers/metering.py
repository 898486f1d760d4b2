"""What models on endpoints have charged, gathered where no result carries it: judges, gates, proposers.

An account is drained by whoever writes the cost down, so every cent is written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from workers.interface import (
    Ability,
    ConfigError,
    Engine,
    EngineDescription,
    Failure,
    Generation,
    GenerationRequest,
    Opening,
    OpeningEngine,
    Worker,
)


@dataclass(slots=True)
class Account:
    """USD charged and not yet written down. Belongs to one event loop.

    >>> account = Account()
    >>> account.charge([Generation((), 0, 0.5), Generation((), 0, 0.25)])
    >>> account.take(), account.take()
    (0.75, 0.0)
    """

    usd: float = 0.0

    def charge(self, answers: Sequence[Generation | Opening | Failure]) -> None:
        self.usd += sum(a.cost_usd for a in answers if not isinstance(a, Failure))

    def take(self) -> float:
        """What has come together since the last call."""
        taken, self.usd = self.usd, 0.0
        return taken


class MeteredEngine:
    """`Engine` that charges an account."""

    def __init__(self, engine: Engine, account: Account) -> None:
        self._engine, self._account = engine, account

    @property
    def description(self) -> EngineDescription:
        return self._engine.description

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        answers = await self._engine.generate(requests)
        self._account.charge(answers)
        return answers

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        """As the engine within.

        Raises:
            ConfigError: it is no `OpeningEngine`.
        """
        if Ability.OPENINGS not in self.description.abilities:
            raise ConfigError(
                f"engine '{self.description.engine}' does not show how responses begin; "
                "ask `description.abilities` before `open`"
            )
        openings = await cast(OpeningEngine, self._engine).open(requests)
        self._account.charge(openings)
        return openings

    async def close(self) -> None:
        await self._engine.close()


class MeteredWorker:
    """`Worker` that generates and charges an account."""

    def __init__(self, worker: Worker[GenerationRequest, Generation], account: Account) -> None:
        self._worker, self._account = worker, account

    async def run(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        answers = await self._worker.run(requests)
        self._account.charge(answers)
        return answers

    async def close(self) -> None:
        await self._worker.close()
