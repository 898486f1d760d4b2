"""What share of the engine's bare tokens/s does an evaluation keep?

    python -m benchmarks.evaluate_share [--prompts 96] [--max-tokens 48] [--rounds 2]

Turn and turn about: the bare engine generates greedy responses to XSTest's first prompts in batches as an
evaluation asks them; an evaluation of the same prompts, from its first proposal to its end, with Ray, judge
and store. Not counted of the latter is loading the model. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from evo.datasets import Options, read, shipped
from evo.evaluating import Asked, evaluate
from workers.engines.transformers import TransformersEngine
from workers.interface import Generation, GenerationRequest, Message, Sampling

MODEL = "local:smollm2"  # its answers run to the limit, so both do the same work


def bare(engine: TransformersEngine, prompts: list[str], max_tokens: int, batch: int) -> float:
    sampling = Sampling(0.0, 1.0, 0, max_tokens)
    requests = [
        GenerationRequest(str(i), (Message("user", p),), 1, sampling, 0)
        for i, p in enumerate(prompts)
    ]
    began, tokens = time.perf_counter(), 0
    for start in range(0, len(requests), batch):
        for answer in engine.generate_now(requests[start : start + batch]):
            assert isinstance(answer, Generation)
            tokens += answer.samples[0].n_tokens
    return tokens / (time.perf_counter() - began)


def evaluated(items: list[Asked], max_tokens: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        run = evaluate(
            items,
            {"model": MODEL, "sampling": {"temperature": 0.0, "max_tokens": max_tokens}},
            name="share",
            store=f"sqlite:///{Path(folder)}/share.db",
        )
        told = run.summary()
    return float(told["target_tokens"] / told["wall_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    items = list(read(shipped("xstest"), Options(limit=given.prompts)).asked)
    prompts = [item.prompt for item in items]
    best = {"bare": 0.0, "evaluate": 0.0}
    for _ in range(given.rounds):
        engine = TransformersEngine(MODEL)
        bare(engine, prompts[:8], 8, 8)
        best["bare"] = max(best["bare"], bare(engine, prompts, given.max_tokens, 24))
        del engine
        best["evaluate"] = max(best["evaluate"], evaluated(items, given.max_tokens))
        print(best, flush=True)
    print(
        json.dumps(
            {k: round(v, 1) for k, v in best.items()}
            | {"share": round(best["evaluate"] / best["bare"], 3), "required": 0.9}
        )
    )


if __name__ == "__main__":
    main()
