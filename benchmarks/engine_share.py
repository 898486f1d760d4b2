"""How much of vLLM's own speed is left behind our engine, and behind the Ray pool?

    python benchmarks/engine_share.py [--prompts 32] [--samples 4] [--rounds 2]

The same prompts and samples in three ways, each in a process of its own, turn and turn about; the
best run of each counts:

bare    `vllm.LLM.generate` with token ids as prompts: text alone, no log-probabilities
ours    `VllmEngine.generate`: chat template, log-probabilities, text
pool    the same engine in a Ray actor, asked through the pool in batches of 8 prompts

vLLM's settings are the same in all three. Needs vLLM (`make test-vllm` installs it). Ratios are the
result; the last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from evo import seeds
from evo.config import SeedsConfig
from workers import chat, cluster, local_models
from workers.interface import Failure, Generation, GenerationRequest, Message, Sampling
from workers.pool import Pool
from workers.replica import EngineWorker

MODEL = "local:smollm2"
SAMPLING = Sampling(1.0, 0.995, 0, 50)
CACHE_GIB = 1.0
BATCH = 8
WAYS = ("bare", "ours", "pool")


def requests(options: argparse.Namespace) -> list[GenerationRequest]:
    loaded = seeds.load(SeedsConfig(dataset="xstest-safe", limit=options.prompts), run_seed=0)
    return [
        GenerationRequest(str(i), (Message("user", s.text),), options.samples, SAMPLING, i)
        for i, s in enumerate(loaded)
    ]


def best(run: Callable[[], int], repeats: int) -> float:
    """Tokens a second in the fastest of so many runs; `run` gives back its tokens."""
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        rates.append(run() / (time.perf_counter() - began))
    return max(rates)


def counted(answers: Sequence[Generation | Failure]) -> int:
    tokens = 0
    for answer in answers:
        if isinstance(answer, Failure):
            raise SystemExit(answer.message)
        tokens += sum(sample.n_tokens for sample in answer.samples)
    return tokens


def bare(asked: list[GenerationRequest], options: argparse.Namespace) -> float:
    from transformers import AutoTokenizer
    from vllm import LLM, SamplingParams, TokensPrompt
    from vllm.platforms import current_platform

    from workers.engines.device import pick_dtype

    on_cpu = current_platform.is_cpu()
    where = local_models.resolve(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(where)
    llm: Any = LLM(
        str(where),
        dtype=str(pick_dtype("auto", _cpu())).removeprefix("torch.") if on_cpu else "auto",
        enforce_eager=on_cpu,
        kv_cache_memory_bytes=int(CACHE_GIB * 2**30),
        enable_prefix_caching=True,
    )
    params = SamplingParams(
        n=options.samples,
        temperature=SAMPLING.temperature,
        top_p=SAMPLING.top_p,
        max_tokens=SAMPLING.max_tokens,
    )
    prompts = []
    for request in asked:
        ids = chat.encode(tokenizer, request.messages, room=8000, key=request.key)
        if isinstance(ids, Failure):
            raise SystemExit(ids.message)
        prompts.append(TokensPrompt(prompt_token_ids=ids))

    def run() -> int:
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return sum(len(one.token_ids) for output in outputs for one in output.outputs)

    llm.generate(prompts[:4], params, use_tqdm=False)
    rate = best(run, options.repeats)
    llm.llm_engine.engine_core.shutdown()
    return rate


def _cpu() -> Any:
    import torch

    return torch.device("cpu")


def _engine(threads: int) -> Any:
    from workers.engines.vllm import VllmEngine

    return VllmEngine(MODEL, kv_cache_gib=CACHE_GIB, threads=threads)


def ours(asked: list[GenerationRequest], options: argparse.Namespace) -> float:
    engine = _engine(options.threads)
    asyncio.run(engine.generate(asked[:4]))
    rate = best(lambda: counted(asyncio.run(engine.generate(asked))), options.repeats)
    asyncio.run(engine.close())
    return rate


def _worker(threads: int) -> EngineWorker:
    return EngineWorker(_engine(threads))


def pool(asked: list[GenerationRequest], options: argparse.Namespace) -> float:
    batches = [asked[i : i + BATCH] for i in range(0, len(asked), BATCH)]

    async def scenario() -> float:
        hosted: Pool[GenerationRequest, Generation] = Pool(
            partial(_worker, options.threads), in_flight=len(batches), cpus=1, gpus=options.gpus
        )
        await hosted.start()
        await hosted.run(asked[:4])
        rates = []
        for _ in range(options.repeats):
            began = time.perf_counter()
            answers = await asyncio.gather(*map(hosted.run, batches))
            tokens = sum(map(counted, answers))
            rates.append(tokens / (time.perf_counter() - began))
        await hosted.close()
        return max(rates)

    with cluster.connect("local"):
        return asyncio.run(scenario())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2, help="runs of each way in a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--gpus", type=float, default=0.0, help="for the replica of the pool")
    parser.add_argument(
        "--way", choices=WAYS, help=argparse.SUPPRESS
    )  # one of them, in this process
    options = parser.parse_args()
    if options.way is not None:
        rate = {"bare": bare, "ours": ours, "pool": pool}[options.way](requests(options), options)
        print(json.dumps({options.way: round(rate, 1)}), flush=True)
        return
    environment = os.environ | {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # by default vLLM leaves a core idle
        "OMP_NUM_THREADS": str(options.threads),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
    }
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, *sys.argv, "--way", way]
            done = subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, text=True
            )
            line = done.stdout.splitlines()[-1]
            print(line, flush=True)
            rates[way].append(json.loads(line)[way])
    fastest = {way: max(found) for way, found in rates.items()}
    result: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": options.threads,
        **{f"{way}_tokens_per_s": rate for way, rate in fastest.items()},
        "engine_share": round(fastest["ours"] / fastest["bare"], 3),
        "pool_share": round(fastest["pool"] / fastest["bare"], 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
