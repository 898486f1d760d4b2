"""The white box over the transformers engine: hidden states, projections, heads, interventions.

It looks into the engine's own model, in the engine's own thread: nothing is loaded twice. A pass goes
over the base model without its head, ends with the last token and the last layer that are asked for,
and keeps of each layer only what was asked of it; a long row goes in pieces over a cache. Rows are
padded on the right, where a causal model cannot see it, so no row depends on another.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from transformers import DynamicCache

from workers import chat, decoder, positions
from workers import interventions as hooks
from workers.engines.transformers import TransformersEngine
from workers.interface import (
    ConfigError,
    Direction,
    EngineDescription,
    EngineDied,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    HeadContributions,
    HeadsRequest,
    Intervention,
    Projection,
    ProjectionRequest,
    StateRequest,
    States,
    TextLogprob,
    WhiteBoxDescription,
)

# Tokens of one pass (rows x longest); a row that is longer goes in pieces of so many.
CPU_PASS_TOKENS = 1024
CUDA_PASS_TOKENS = 8192
# Pieces of a text whose logits are needed at every token.
_LOGIT_TOKENS = 256

_R = TypeVar("_R")


class _Enough(Exception):
    """Ends a pass: the layers that follow are not asked for."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A request in tokens. `position`: its place in the caller's list; `ids` end with the last token
    that is needed; `wanted`: the indices that are read."""

    position: int
    request: Any
    ids: tuple[int, ...]
    n_prompt: int
    wanted: tuple[int, ...]
    n_thinking: int = 0


@dataclass(slots=True)
class _Piece:
    """The columns [start, end) of a batch in one pass."""

    start: int
    end: int


class TransformersWhiteBox:
    """`WhiteBox` over a `TransformersEngine`.

    Args:
        engine: whose model is looked into. It goes on answering by itself.
        pass_tokens: tokens of one pass, which bounds memory.

    Raises:
        ConfigError: the model is no decoder of attention blocks, or its tokenizer knows no offsets.
    """

    def __init__(self, engine: TransformersEngine, *, pass_tokens: int | None = None) -> None:
        self._engine = engine
        self._loaded = loaded = engine.loaded
        name = engine.description.model
        self._decoder = decoder.find(loaded.model, name)
        if not loaded.tokenizer.is_fast:
            raise ConfigError(
                f"target.model: the tokenizer of '{name}' knows no offsets (it is not a fast one), "
                "so places in a chat cannot be found"
            )
        on_cpu = loaded.device.type == "cpu"
        self._pass_tokens = pass_tokens or (CPU_PASS_TOKENS if on_cpu else CUDA_PASS_TOKENS)
        self._touched = hooks.Touched()

    @property
    def description(self) -> EngineDescription:
        return self._engine.description

    @property
    def n_layers(self) -> int:
        return len(self._decoder.blocks)

    @property
    def n_heads(self) -> int:
        return self._decoder.n_heads

    @property
    def width(self) -> int:
        return self._decoder.width

    @property
    def shape(self) -> WhiteBoxDescription:
        return WhiteBoxDescription(self.description, self.n_layers, self.n_heads, self.width)

    async def states(
        self, requests: Sequence[StateRequest], interventions: Sequence[Intervention] = ()
    ) -> list[States | Failure]:
        return await self._engine.in_turn(self._states, tuple(requests), tuple(interventions))

    async def project(
        self, requests: Sequence[ProjectionRequest], interventions: Sequence[Intervention] = ()
    ) -> list[Projection | Failure]:
        return await self._engine.in_turn(self._project, tuple(requests), tuple(interventions))

    async def heads(
        self, requests: Sequence[HeadsRequest], interventions: Sequence[Intervention] = ()
    ) -> list[HeadContributions | Failure]:
        return await self._engine.in_turn(self._heads, tuple(requests), tuple(interventions))

    async def generate(
        self, requests: Sequence[GenerationRequest], interventions: Sequence[Intervention] = ()
    ) -> list[Generation | Failure]:
        return await self._engine.in_turn(self._generate, tuple(requests), tuple(interventions))

    async def logprobs(
        self, texts: Sequence[str], interventions: Sequence[Intervention] = ()
    ) -> list[TextLogprob | Failure]:
        return await self._engine.in_turn(self._logprobs, tuple(texts), tuple(interventions))

    async def close(self) -> None:
        await self._engine.close()

    def _generate(
        self, requests: Sequence[GenerationRequest], changes: Sequence[Intervention]
    ) -> list[Generation | Failure]:
        with self._changed(changes):
            return self._engine.generate_now(requests)

    def _states(
        self, requests: Sequence[StateRequest], changes: Sequence[Intervention]
    ) -> list[States | Failure]:
        results: list[States | Failure | None] = [None] * len(requests)
        rows: list[_Row] = []
        for position, request in enumerate(requests):
            for layer in request.layers:
                hooks.require_layer(self._decoder, layer)
            found = self._row(position, request, request.places)
            if isinstance(found, Failure):
                results[position] = found
            else:
                rows.append(found)
        for batch in self._batches(rows, lambda row: row.request.layers):
            layers = batch[0].request.layers
            taken: list[dict[int, Any]] = [{} for _ in batch]  # by row: layer -> (places, width)

            def read(layer: int, hidden: torch.Tensor, piece: _Piece) -> None:
                for i, row in enumerate(batch):  # noqa: B023 - called within
                    values = taken[i].setdefault(layer, torch.empty(len(row.wanted), self.width))  # noqa: B023
                    for place, index in enumerate(row.wanted):
                        if piece.start <= index < piece.end:
                            values[place] = hidden[i, index - piece.start].float().cpu()

            def answer(row: _Row, kept: dict[int, Any]) -> States:
                values = torch.stack([kept[layer] for layer in row.request.layers])
                return States(values.numpy(), len(row.ids))

            self._answer(batch, set(layers), read, changes, taken, answer, results)
        return [r for r in results if r is not None]

    def _project(
        self, requests: Sequence[ProjectionRequest], changes: Sequence[Intervention]
    ) -> list[Projection | Failure]:
        results: list[Projection | Failure | None] = [None] * len(requests)
        rows: list[_Row] = []
        names: dict[int, str] = {}
        for position, request in enumerate(requests):
            for direction in request.directions:
                hooks.require_layer(self._decoder, direction.layer)
                hooks.require_width(self._decoder, direction.weight.shape)
            names[position] = _digest(request.directions)
            found = self._thought(position, request)
            if isinstance(found, Failure):
                results[position] = found
            else:
                rows.append(found)
        for batch in self._batches(rows, lambda row: names[row.position]):
            directions = batch[0].request.directions
            weights: dict[int, tuple[list[int], torch.Tensor, torch.Tensor]] = {}
            for layer in {d.layer for d in directions}:
                of_layer = [i for i, d in enumerate(directions) if d.layer == layer]
                weights[layer] = (
                    of_layer,
                    torch.stack(
                        [torch.as_tensor(directions[i].weight).float() for i in of_layer], dim=1
                    ).to(self._loaded.device),  # (width, directions of this layer)
                    torch.tensor([directions[i].bias for i in of_layer]).to(self._loaded.device),
                )
            longest = max(len(row.ids) for row in batch)
            kept = torch.empty(len(batch), longest, len(directions))

            def read(layer: int, hidden: torch.Tensor, piece: _Piece) -> None:
                of_layer, weight, bias = weights[layer]  # noqa: B023 - called within
                values = hidden.float() @ weight + bias  # (rows, tokens, directions)
                kept[:, piece.start : piece.end, of_layer] = values.cpu()  # noqa: B023

            def answer(row: _Row, values: torch.Tensor) -> Projection:
                first, end = row.wanted[0], row.wanted[-1] + 1
                tokens = (chat.token_text(self._loaded.tokenizer, t) for t in row.ids[first:end])
                read_off = values[first:end].T.contiguous().numpy()
                return Projection(read_off, tuple(tokens), row.n_thinking, len(row.ids))

            self._answer(batch, set(weights), read, changes, kept, answer, results)
        return [r for r in results if r is not None]

    def _heads(
        self, requests: Sequence[HeadsRequest], changes: Sequence[Intervention]
    ) -> list[HeadContributions | Failure]:
        results: list[HeadContributions | Failure | None] = [None] * len(requests)
        rows: list[_Row] = []
        for position, request in enumerate(requests):
            hooks.require_width(self._decoder, request.weight.shape)
            if not torch.as_tensor(request.weight).any():
                raise ConfigError("white box: a direction of length 0 points nowhere")
            found = self._row(position, request, (request.place,))
            if isinstance(found, Failure):
                results[position] = found
            else:
                rows.append(found)
        for batch in self._batches(rows, lambda row: 0):
            units = torch.stack([torch.as_tensor(r.request.weight).float() for r in batch])
            units = (units / units.norm(dim=1, keepdim=True)).to(self._loaded.device)
            kept = torch.zeros(len(batch), self.n_layers, self.n_heads)

            def read(layer: int, heads: torch.Tensor, piece: _Piece) -> None:
                """heads: (rows, tokens, heads x head width), before the output projection."""
                along = units @ decoder.weight(self._decoder.projections[layer]).float()  # noqa: B023
                for i, row in enumerate(batch):  # noqa: B023 - called within
                    if piece.start <= row.wanted[0] < piece.end:
                        written = heads[i, row.wanted[0] - piece.start].float() * along[i]
                        kept[i, layer] = written.view(self.n_heads, -1).sum(dim=1).cpu()  # noqa: B023

            def answer(row: _Row, values: torch.Tensor) -> HeadContributions:
                return HeadContributions(values.numpy(), len(row.ids))

            self._answer(batch, None, read, changes, kept, answer, results)
        return [r for r in results if r is not None]

    def _answer(
        self,
        batch: list[_Row],
        layers: set[int] | None,
        read: Callable[[int, torch.Tensor, _Piece], None],
        changes: Sequence[Intervention],
        kept: Any,
        answer: Callable[[_Row, Any], _R],
        results: list[_R | Failure | None],
    ) -> None:
        """Pass over a batch and fill its places of `results`. `layers` None reads heads."""
        try:
            self._pass(batch, layers, read, changes)
        except torch.OutOfMemoryError as error:
            for row in batch:
                message = f"{row.request.key}: out of memory, make pass_tokens smaller: {error}"
                results[row.position] = Failure(FailureKind.ENGINE, message)
            return
        for row, values in zip(batch, kept, strict=True):
            results[row.position] = answer(row, values)

    def _pass(
        self,
        batch: list[_Row],
        layers: set[int] | None,
        read: Callable[[int, torch.Tensor, _Piece], None],
        changes: Sequence[Intervention],
    ) -> None:
        """The base model over a batch. `read` gets hidden states of `layers` piece by piece."""
        device, longest = self._loaded.device, max(len(row.ids) for row in batch)
        ids = torch.full((len(batch), longest), self._loaded.pad, dtype=torch.long)
        prompt_end = torch.tensor([row.n_prompt - 1 for row in batch])
        for i, row in enumerate(batch):
            ids[i, : len(row.ids)] = torch.tensor(row.ids)
        touched = torch.arange(longest) >= prompt_end[:, None]  # (rows, tokens)
        size = longest if len(batch) > 1 else self._pass_tokens
        cache = DynamicCache(config=self._loaded.model.config) if longest > size else None
        with self._changed(changes), torch.inference_mode():
            for start in range(0, longest, size):
                if self._engine.closing:
                    raise EngineDied("the engine was closed while it worked")
                piece = _Piece(start, min(start + size, longest))
                self._touched.mask = touched[:, piece.start : piece.end].to(device)
                with self._reading(layers, read, piece), contextlib.suppress(_Enough):
                    self._decoder.base(
                        input_ids=ids[:, piece.start : piece.end].to(device),
                        position_ids=torch.arange(piece.start, piece.end, device=device)[None],
                        past_key_values=cache,
                        use_cache=cache is not None,
                    )

    @contextlib.contextmanager
    def _reading(
        self,
        layers: set[int] | None,
        read: Callable[[int, torch.Tensor, _Piece], None],
        piece: _Piece,
    ) -> Iterator[None]:
        last = max(layers) if layers else self.n_layers
        with contextlib.ExitStack() as stack:
            if layers is None:
                for layer, projection in enumerate(self._decoder.projections):

                    def heads(_: Any, args: Any, layer: int = layer) -> None:
                        read(layer, args[0], piece)

                    stack.callback(projection.register_forward_pre_hook(heads).remove)
            for layer in layers or ():

                def hidden(values: torch.Tensor, layer: int = layer) -> None:
                    read(layer, values, piece)
                    if layer == last < self.n_layers:
                        raise _Enough

                if layer < self.n_layers:
                    hook = hooks.on_input(self._decoder.blocks[layer], hidden)
                else:
                    hook = hooks.on_output(self._decoder.base, hidden)
                stack.callback(hook.remove)
            yield

    @contextlib.contextmanager
    def _changed(self, changes: Sequence[Intervention]) -> Iterator[None]:
        try:
            with hooks.applied(self._decoder, changes, self._touched):
                yield
        finally:
            self._touched.mask = None

    def _logprobs(
        self, texts: Sequence[str], changes: Sequence[Intervention]
    ) -> list[TextLogprob | Failure]:
        with self._changed(changes), torch.inference_mode():
            return [self._logprob(f"text {i}", text) for i, text in enumerate(texts)]

    def _logprob(self, key: str, text: str) -> TextLogprob | Failure:
        """A text alone, in pieces: the logits of a whole text would be larger than the model."""
        if self._engine.closing:
            raise EngineDied("the engine was closed while it worked")
        ids = self._loaded.tokenizer(text)["input_ids"]
        if len(ids) < 2:
            return Failure(FailureKind.EMPTY, f"{key}: a text of less than two tokens")
        if len(ids) > self._loaded.context_tokens:
            room = self._loaded.context_tokens
            return Failure(FailureKind.OVERLONG, f"{key}: {len(ids)} tokens, room for {room}")
        tokens = torch.tensor([ids], device=self._loaded.device)
        cache = DynamicCache(config=self._loaded.model.config)
        total = 0.0
        for start in range(0, len(ids) - 1, _LOGIT_TOKENS):
            end = min(start + _LOGIT_TOKENS, len(ids) - 1)
            self._touched.mask = torch.ones(1, end - start, device=self._loaded.device)
            logits = self._loaded.model(
                input_ids=tokens[:, start:end],
                position_ids=torch.arange(start, end, device=self._loaded.device)[None],
                past_key_values=cache,
                use_cache=True,
            ).logits[0]
            logp = torch.log_softmax(logits.float(), dim=-1)  # (tokens, vocabulary)
            nexts = tokens[0, start + 1 : end + 1, None]
            total += float(logp.gather(1, nexts).double().sum())
        return TextLogprob(total, len(ids) - 1)

    def _tokens(self, request: Any) -> positions.Tokens | Failure:
        return positions.find(
            self._loaded.tokenizer,
            request.messages,
            request.response,
            room=self._loaded.context_tokens,
            key=request.key,
        )

    def _row(self, position: int, request: Any, places: Sequence[Any]) -> _Row | Failure:
        tokens = self._tokens(request)
        if isinstance(tokens, Failure):
            return tokens
        wanted = []
        for place in places:
            index = tokens.index(place)
            if isinstance(index, Failure):
                return index
            wanted.append(index)
        ids = tokens.ids[: max(wanted, default=0) + 1]  # a causal model needs no more
        return _Row(position, request, ids, tokens.n_prompt, tuple(wanted))

    def _thought(self, position: int, request: ProjectionRequest) -> _Row | Failure:
        tokens = self._tokens(request)
        if isinstance(tokens, Failure):
            return tokens
        if isinstance(tokens.thought, Failure):
            return tokens.thought
        first, end = tokens.thought
        assert isinstance(tokens.before_answer, int)  # noqa: S101 - a thought that closed has one
        last = tokens.before_answer
        wanted = (first, last)
        return _Row(position, request, tokens.ids[: last + 1], tokens.n_prompt, wanted, end - first)

    def _batches(self, rows: list[_Row], alike: Callable[[_Row], Any]) -> list[list[_Row]]:
        """Rows that ask alike and are of like length together, within the tokens of one pass."""
        batches: list[list[_Row]] = []
        for row in sorted(rows, key=lambda r: (str(alike(r)), len(r.ids), r.position)):
            batch = batches[-1] if batches else None
            if (
                batch is not None
                and alike(batch[0]) == alike(row)
                and (len(batch) + 1) * len(row.ids) <= self._pass_tokens
            ):
                batch.append(row)
            else:
                batches.append([row])
        return batches


def _digest(directions: Sequence[Direction]) -> str:
    """Equal for equal directions."""
    digest = hashlib.sha256()
    for direction in directions:
        digest.update(f"{direction.layer} {direction.bias} ".encode())
        digest.update(torch.as_tensor(direction.weight).float().numpy().tobytes())
    return digest.hexdigest()
