"""The transformers engine: any causal model of that library, on CPU or one CUDA device.

One call prefills every prompt once, expands the cache to K rows and decodes all samples together;
the log-probabilities of the sampled tokens come from that same pass. Rows that ended leave the
batch. `open` is one pass over the prompts, without a cache. It knows chat templates and tensors; it does not know what the text is for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch

from workers import chat, local_models
from workers.engines.loading import Loaded, load
from workers.engines.sampling import draw, draw_first, uniforms
from workers.interface import (
    OPENING_TOKENS,
    Ability,
    EngineDescription,
    EngineDied,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Opening,
    Sample,
    Sampling,
    bare,
)

# Cache tokens (rows x length) held at once. On two cores, throughput is flat from about 100 rows on.
CPU_BATCH_TOKENS = 16_384
# The share of a CUDA device's free memory that the cache of one batch may take.
CUDA_CACHE_SHARE = 0.6
# Rows that ended are cut out of the cache once they are this share of the batch: cutting copies it.
_COMPACT_SHARE = 0.125
_T = TypeVar("_T")
# What an opening takes of the token budget.
_ONE_TOKEN = Sampling(max_tokens=1)


@dataclass(slots=True)
class _Row:
    """One sample while it is being decoded."""

    request: int
    index: int
    tokens: list[int] = field(default_factory=list)
    logprob_sum: float = 0.0
    sampling_logprob_sum: float = 0.0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A request whose prompt is in token ids. `position` is its place in the caller's list."""

    position: int
    request: GenerationRequest
    ids: list[int]

    @property
    def cache_tokens(self) -> int:
        return self.request.n_samples * (len(self.ids) + self.request.sampling.max_tokens)


class TransformersEngine:
    """`Engine` over `AutoModelForCausalLM`. Loads at construction; one batch runs at a time.

    Args:
        model: `local:` name, folder, or Hugging Face id.
        dtype: "auto" (bfloat16 where the device computes in it, else float32), or its name.
        device: "auto", "cpu" or "cuda".
        batch_tokens: most cache tokens in one batch; None measures the device.
        threads: CPU threads; None leaves torch's own choice.

    Raises:
        ConfigError: the model does not exist, has no chat template, or the device is absent.
    """

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        adapter: str | None = None,
        batch_tokens: int | None = None,
        threads: int | None = None,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._loaded = loaded = load(model, dtype=dtype, device=device, adapter=adapter)
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        self._device, self._dtype = loaded.device, loaded.dtype
        self._eos, self._pad = loaded.eos, loaded.pad
        self._context_tokens = loaded.context_tokens
        self._batch_tokens = batch_tokens
        self._description = EngineDescription(
            engine="transformers",
            model=model,
            revision=loaded.revision,
            template=chat.template_hash(self._tokenizer),
            dtype=str(self._dtype).removeprefix("torch."),
            device=loaded.device_name,
            context_tokens=self._context_tokens,
            adapter=local_models.adapter_name(adapter),
            abilities=frozenset(
                {
                    Ability.LOGPROBS,
                    Ability.OPENINGS,
                    Ability.HIDDEN_STATES,
                    Ability.ADAPTERS,
                    Ability.FIRST_TOKEN,
                }
            ),
        )
        self._first_tokens: dict[tuple[str, ...], torch.Tensor] = {}
        # Its own thread: the event loop of the replica stays free, and torch sees one caller.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="transformers-engine")
        self._closing = threading.Event()

    @property
    def description(self) -> EngineDescription:
        return self._description

    @property
    def loaded(self) -> Loaded:
        """The model itself. Who asks it does so by `in_turn`."""
        return self._loaded

    @property
    def closing(self) -> bool:
        """Whether `close` was called: what works should stop."""
        return self._closing.is_set()

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        return await self.in_turn(self.generate_now, tuple(requests))

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        return await self.in_turn(self.open_now, tuple(requests))

    async def in_turn(self, ask: Callable[..., _T], *arguments: object) -> _T:
        """`ask(*arguments)` in the one thread that the model is used in, after what came before."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(ask, *arguments))

    async def close(self) -> None:
        self._closing.set()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def generate_now(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        """The blocking form of `generate`."""
        results: list[Generation | Failure | None] = [None] * len(requests)
        encoded: list[_Encoded] = []
        for position, request in enumerate(requests):
            room = self._context_tokens - request.sampling.max_tokens
            ids = chat.encode(self._tokenizer, request.messages, room=room, key=request.key)
            if isinstance(ids, Failure):
                results[position] = ids
            elif request.n_samples == 0:
                results[position] = Generation((), len(ids))
            else:
                encoded.append(_Encoded(position, request, ids))
        for batch in self._batches(encoded):
            for item, generation in zip(batch, self._run_or_split(batch), strict=True):
                results[item.position] = generation
        return [r for r in results if r is not None]

    def open_now(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        """The blocking form of `open`."""
        results: list[Opening | Failure | None] = [None] * len(requests)
        encoded: list[_Encoded] = []
        for position, asked in enumerate(requests):
            request = replace(asked, n_samples=1, sampling=_ONE_TOKEN)
            room = self._context_tokens - 1
            ids = chat.encode(self._tokenizer, request.messages, room=room, key=request.key)
            if isinstance(ids, Failure):
                results[position] = ids
            else:
                encoded.append(_Encoded(position, request, ids))
        for batch in self._batches(encoded):
            for item, opening in zip(batch, self._open_or_split(batch), strict=True):
                results[item.position] = opening
        return [r for r in results if r is not None]

    def _open_or_split(self, batch: list[_Encoded]) -> list[Opening | Failure]:
        """The openings of a batch; halves it when memory runs out."""
        if self._closing.is_set():
            raise EngineDied("the engine was closed while it worked")
        try:
            with torch.inference_mode():
                return list(self._open(batch))
        except torch.OutOfMemoryError as error:
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            if len(batch) == 1:
                key = batch[0].request.key
                return [Failure(FailureKind.ENGINE, f"{key}: out of memory: {error}")]
            half = len(batch) // 2
            return self._open_or_split(batch[:half]) + self._open_or_split(batch[half:])

    def _open(self, batch: list[_Encoded]) -> list[Opening]:
        """One pass over the prompts; logits at their last position alone."""
        ids, mask = self._pad_left([item.ids for item in batch])
        logits = (
            self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=1) - 1).clamp_(min=0),
                use_cache=False,
                logits_to_keep=1,
            )
            .logits[:, -1]
            .float()
        )  # (prompts, vocabulary)
        top = logits.topk(min(OPENING_TOKENS, logits.shape[1]), dim=1)
        # log_softmax of the few that are wanted: the others need not be written.
        logprobs = (top.values - logits.logsumexp(dim=1, keepdim=True)).clamp_(max=0.0)
        return [
            Opening(tuple(map(self._token_text, tokens)), tuple(values), len(item.ids))
            for item, tokens, values in zip(
                batch, top.indices.tolist(), logprobs.tolist(), strict=True
            )
        ]

    def _ids_of(self, texts: tuple[str, ...]) -> torch.Tensor:
        """(n,) ids of the tokens that are shown as one of these texts, blanks around them or not."""
        if texts not in self._first_tokens:
            wanted = set(map(bare, texts))
            found = [i for i in range(len(self._tokenizer)) if bare(self._token_text(i)) in wanted]
            self._first_tokens[texts] = torch.tensor(found, device=self._device)
        return self._first_tokens[texts]

    def _token_text(self, token: int) -> str:
        return chat.token_text(self._tokenizer, token)

    def _batches(self, encoded: list[_Encoded]) -> list[list[_Encoded]]:
        """Requests of like length and equal sampling together, each batch within the token budget."""
        budget = self._batch_tokens or self._measure_batch_tokens()
        batches: list[list[_Encoded]] = []
        # Rows are padded to the longest of the batch, so what counts is rows x longest.
        longest = rows = 0
        ordered = sorted(
            encoded,
            key=lambda e: (_sampling_key(e.request.sampling), len(e.ids), e.position),
        )
        for item in ordered:
            length = len(item.ids) + item.request.sampling.max_tokens
            grown = (rows + item.request.n_samples) * max(longest, length)
            same = batches and batches[-1][-1].request.sampling == item.request.sampling
            if same and grown <= budget:
                batches[-1].append(item)
                rows += item.request.n_samples
                longest = max(longest, length)
            else:
                batches.append([item])
                rows, longest = item.request.n_samples, length
        return batches

    def _measure_batch_tokens(self) -> int:
        if self._device.type != "cuda":
            return CPU_BATCH_TOKENS
        config = self._model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        token_bytes: int = 2 * config.num_hidden_layers * heads * width * self._dtype.itemsize
        free, _ = torch.cuda.mem_get_info(self._device)
        return max(1024, int(free * CUDA_CACHE_SHARE) // token_bytes)

    def _run_or_split(self, batch: list[_Encoded]) -> list[Generation | Failure]:
        """Run a batch; halve it when memory runs out; name the request when it stands alone."""
        if self._closing.is_set():
            raise EngineDied("the engine was closed while it worked")
        try:
            with torch.inference_mode():
                return list(self._run(batch))
        except torch.OutOfMemoryError as error:
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            if len(batch) > 1:
                half = len(batch) // 2
                return self._run_or_split(batch[:half]) + self._run_or_split(batch[half:])
            return self._run_alone(batch[0], error)

    def _run_alone(self, item: _Encoded, error: Exception) -> list[Generation | Failure]:
        """One prompt whose K samples do not fit together: take them in two halves."""
        n = item.request.n_samples
        if n == 1:
            return [Failure(FailureKind.ENGINE, f"{item.request.key}: out of memory: {error}")]
        first = replace(item.request, n_samples=n // 2)
        second = replace(
            item.request, n_samples=n - n // 2, first_index=item.request.first_index + n // 2
        )
        parts = [
            self._run_or_split([_Encoded(item.position, part, item.ids)])[0]
            for part in (first, second)
        ]
        samples: tuple[Sample, ...] = ()
        for part in parts:
            if isinstance(part, Failure):
                return [part]
            samples += part.samples
        return [Generation(samples, len(item.ids))]

    def _run(self, batch: list[_Encoded]) -> list[Generation]:
        """Prefill each prompt once, expand to its samples, decode until every row has ended."""
        sampling = batch[0].request.sampling
        rows = [
            _Row(position, item.request.first_index + k)
            for position, item in enumerate(batch)
            for k in range(item.request.n_samples)
        ]
        uniform = torch.stack(
            [
                torch.from_numpy(
                    uniforms(batch[r.request].request.seed, r.index, sampling.max_tokens)
                )
                for r in rows
            ]
        ).to(self._device)  # (rows, max_tokens)

        ids, mask = self._pad_left([item.ids for item in batch])
        positions = (mask.cumsum(dim=1) - 1).clamp_(min=0)
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = out.past_key_values
        owner = torch.tensor([r.request for r in rows], device=self._device)
        cache.batch_select_indices(owner)
        logits = out.logits[:, -1].index_select(0, owner)  # (rows, vocabulary)
        mask = mask.index_select(0, owner)
        position = positions[:, -1].index_select(0, owner)
        alive = list(range(len(rows)))  # rows in the cache, by index into `rows`

        for step in range(sampling.max_tokens):
            if step == 0 and sampling.first_token:
                rules = [(self._ids_of(r.tokens), r.threshold) for r in sampling.first_token]
                tokens, logp, logq = draw_first(logits, uniform[:, step], sampling, rules)
            else:
                tokens, logp, logq = draw(logits, uniform[:, step], sampling)
            for row_index, token, p, q in zip(
                alive, tokens.tolist(), logp.tolist(), logq.tolist(), strict=True
            ):
                row = rows[row_index]
                if row.stopped:
                    continue
                row.tokens.append(token)
                row.logprob_sum += p
                row.sampling_logprob_sum += q
                row.stopped = token in self._eos
            n_stopped = sum(rows[i].stopped for i in alive)
            if n_stopped == len(alive) or step + 1 == sampling.max_tokens:
                break
            if n_stopped >= _COMPACT_SHARE * len(alive):
                keep = torch.tensor(
                    [place for place, i in enumerate(alive) if not rows[i].stopped],
                    device=self._device,
                )
                alive = [i for i in alive if not rows[i].stopped]
                cache.batch_select_indices(keep)
                tokens, mask, position, uniform = (
                    t.index_select(0, keep) for t in (tokens, mask, position, uniform)
                )
            position = position + 1
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
            out = self._model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=position[:, None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = out.logits[:, -1]

        samples: list[list[Sample]] = [[] for _ in batch]
        for row in rows:
            samples[row.request].append(self._sample(row, batch[row.request].ids))
        return [Generation(tuple(s), len(item.ids)) for s, item in zip(samples, batch, strict=True)]

    def _sample(self, row: _Row, prompt: list[int]) -> Sample:
        content = row.tokens[:-1] if row.stopped else row.tokens
        reasoning, answer = chat.response_parts(self._tokenizer, prompt, content)
        return Sample(
            index=row.index,
            text=answer,
            n_tokens=len(row.tokens),
            finish_reason="stop" if row.stopped else "length",
            logprob_sum=row.logprob_sum,
            sampling_logprob_sum=row.sampling_logprob_sum,
            reasoning=reasoning,
        )

    def _pad_left(self, prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """ids and mask, both (prompts, longest), padded on the left so that all rows end together."""
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), self._pad, dtype=torch.long)
        mask = torch.zeros((len(prompts), longest), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        return ids.to(self._device), mask.to(self._device)


def _sampling_key(sampling: Sampling) -> tuple[float, float, int, int, str]:
    rule = repr(sampling.first_token)
    return (sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens, rule)
