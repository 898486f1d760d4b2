"""A white box in processes of its own: what a replica holds, and a pool with the face of one box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from workers.interface import (
    Ability,
    ConfigError,
    Engine,
    EngineDescription,
    Failure,
    Generation,
    GenerationRequest,
    HeadContributions,
    HeadsRequest,
    Intervention,
    Message,
    Projection,
    ProjectionRequest,
    StateRequest,
    States,
    TextLogprob,
    WhiteBox,
    WhiteBoxDescription,
    travels,
)

if TYPE_CHECKING:
    from workers.pool import Pool


def require(engine: str) -> None:
    """Refuse an engine that cannot show hidden states, by its name, before anything is loaded.

    Raises:
        ConfigError: names the key and the mend.
    """
    if engine != "transformers":
        raise ConfigError(
            f"target.engine: '{engine}' shows no hidden states, which this needs; "
            "set target.engine to transformers and target.model to a model with open weights"
        )


def over(engine: Engine) -> WhiteBox:
    """The white box over an engine that is loaded already; they share the model.

    Raises:
        ConfigError: the engine shows no hidden states, or its model is built otherwise.
    """
    if Ability.HIDDEN_STATES not in engine.description.abilities:
        require(engine.description.engine)
    from workers.engines.transformers import TransformersEngine
    from workers.whitebox import TransformersWhiteBox

    if not isinstance(engine, TransformersEngine):
        raise ConfigError(
            f"target.engine: '{engine.description.engine}' cannot be looked into; "
            "set target.engine to transformers"
        )
    return TransformersWhiteBox(engine)


def require_thoughts(engine: Engine) -> None:
    """Refuse a loaded engine whose chat template ends the thought in the prompt. Whether a model thinks
    at all its template does not always tell; what has no thought fails by itself.

    Raises:
        ConfigError: names the model and the mend.
    """
    from workers import chat, reasoning
    from workers.engines.transformers import TransformersEngine

    if not isinstance(engine, TransformersEngine):
        return
    prompt = chat.render(engine.loaded.tokenizer, [Message("user", "Hello")], key="")
    if isinstance(prompt, str) and reasoning.closed_by(prompt):
        raise ConfigError(
            f"target.model: the chat template of '{engine.description.model}' ends the thought before "
            "the answer begins, so there is none to read; take a model or a template that thinks"
        )


@travels
@dataclass(frozen=True, slots=True)
class Look:
    """One row of one call: a request, or a plain text whose log-probability is asked for."""

    request: StateRequest | ProjectionRequest | HeadsRequest | GenerationRequest | str
    interventions: tuple[Intervention, ...] = ()


class WhiteBoxWorker:
    """A white box with the face of a worker. Rows of one kind under the same interventions go
    together."""

    def __init__(self, box: WhiteBox) -> None:
        self._box = box
        self.description = WhiteBoxDescription(
            box.description, box.n_layers, box.n_heads, box.width
        )

    async def run(self, requests: Sequence[Look]) -> list[Any]:
        groups: dict[tuple[type, int], list[int]] = {}
        for i, look in enumerate(requests):
            # Rows of one call share the tuple, between processes too.
            groups.setdefault((type(look.request), id(look.interventions)), []).append(i)
        results: list[Any] = [None] * len(requests)
        for (kind, _), places in groups.items():
            asked = [requests[i].request for i in places]
            answers = await self._ask(kind)(asked, requests[places[0]].interventions)
            for i, answer in zip(places, answers, strict=True):
                results[i] = answer
        return results

    def _ask(self, kind: type) -> Any:
        return {
            StateRequest: self._box.states,
            ProjectionRequest: self._box.project,
            HeadsRequest: self._box.heads,
            GenerationRequest: self._box.generate,
            str: self._box.logprobs,
        }[kind]

    async def close(self) -> None:
        await self._box.close()


class PooledWhiteBox:
    """`WhiteBox` over a pool of `WhiteBoxWorker`s. Make it by `started`."""

    def __init__(self, pool: Pool[Look, Any], shape: WhiteBoxDescription) -> None:
        self._pool, self._shape = pool, shape

    @classmethod
    async def started(cls, pool: Pool[Look, Any]) -> PooledWhiteBox:
        """The pool's face, once its replicas have loaded."""
        return cls(pool, await pool.start())

    @property
    def description(self) -> EngineDescription:
        return self._shape.engine

    @property
    def n_layers(self) -> int:
        return self._shape.n_layers

    @property
    def n_heads(self) -> int:
        return self._shape.n_heads

    @property
    def width(self) -> int:
        return self._shape.width

    async def states(
        self, requests: Sequence[StateRequest], interventions: Sequence[Intervention] = ()
    ) -> list[States | Failure]:
        return cast("list[States | Failure]", await self._run(requests, interventions))

    async def project(
        self, requests: Sequence[ProjectionRequest], interventions: Sequence[Intervention] = ()
    ) -> list[Projection | Failure]:
        return cast("list[Projection | Failure]", await self._run(requests, interventions))

    async def heads(
        self, requests: Sequence[HeadsRequest], interventions: Sequence[Intervention] = ()
    ) -> list[HeadContributions | Failure]:
        return cast("list[HeadContributions | Failure]", await self._run(requests, interventions))

    async def generate(
        self, requests: Sequence[GenerationRequest], interventions: Sequence[Intervention] = ()
    ) -> list[Generation | Failure]:
        return cast("list[Generation | Failure]", await self._run(requests, interventions))

    async def logprobs(
        self, texts: Sequence[str], interventions: Sequence[Intervention] = ()
    ) -> list[TextLogprob | Failure]:
        return cast("list[TextLogprob | Failure]", await self._run(texts, interventions))

    async def close(self) -> None:
        await self._pool.close()

    async def _run(self, requests: Sequence[Any], changes: Sequence[Intervention]) -> list[Any]:
        together = tuple(changes)
        return await self._pool.run([Look(request, together) for request in requests])
