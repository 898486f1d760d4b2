"""What traces cost: tokens/s against a plain pass of the base model, and peak memory of a long thought.

    python -m benchmarks.whitebox [--tokens 4096] [--rounds 3] [--dtype float32]

Rounds alternate. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import time

import numpy as np
import torch

from workers.engines.transformers import TransformersEngine
from workers.interface import Direction, Message, Projection, ProjectionRequest
from workers.whitebox import TransformersWhiteBox


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="local:smollm2")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", type=int, default=24, help="thoughts of some 100 tokens")
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    engine = TransformersEngine(arguments.model, dtype=arguments.dtype)
    box = TransformersWhiteBox(engine)
    loaded_gib = peak_gib()
    direction = Direction(box.n_layers, np.ones(box.width, np.float32) / 24)
    long = _request("long", arguments.tokens, direction)
    short = [_request(f"short {i}", 60 + 3 * i, direction) for i in range(arguments.short)]
    figures: dict[str, float | str] = {"dtype": arguments.dtype, "loaded_gib": round(loaded_gib, 2)}
    # The trace first: a plain pass over the whole row may take more memory.
    ours = [_trace(box, [long])]
    figures["long_tokens"] = ours[0][1]
    figures["peak_gib"] = round(peak_gib(), 2)
    print(figures, flush=True)
    for name, requests in (("long", [long]), ("short", short)):
        ratios, rates = [], []
        for _ in range(arguments.rounds):
            plain_s = _plain(engine, box, requests)
            traced_s, n_tokens = _trace(box, requests)
            ratios.append(plain_s / traced_s)
            rates.append(n_tokens / traced_s)
        figures[f"{name}_ratio"] = round(statistics.median(ratios), 3)
        figures[f"{name}_tokens_per_s"] = round(statistics.median(rates))
        print(figures, flush=True)
    print(json.dumps(figures))


def _request(key: str, n: int, direction: Direction) -> ProjectionRequest:
    thought = "I think on and on. " * (n // 6 + 1)
    response = f"<think>\n{thought[: 19 * (n // 6)]}\n</think>\n\nYes."
    return ProjectionRequest(key, (Message("user", "Name a fruit."),), response, (direction,))


def _trace(box: TransformersWhiteBox, requests: list[ProjectionRequest]) -> tuple[float, int]:
    """Seconds, and tokens that were gone over."""
    began = time.perf_counter()
    answers = asyncio.run(box.project(requests))
    wall_s = time.perf_counter() - began
    return wall_s, sum(a.n_tokens for a in answers if isinstance(a, Projection))


def _plain(
    engine: TransformersEngine, box: TransformersWhiteBox, requests: list[ProjectionRequest]
) -> float:
    """Seconds of the base model over the same batches, without hooks and cache."""
    rows = [box._thought(i, request) for i, request in enumerate(requests)]
    batches = box._batches(rows, lambda row: 0)  # type: ignore[arg-type]
    began = time.perf_counter()
    for batch in batches:
        ids = torch.zeros(len(batch), max(len(r.ids) for r in batch), dtype=torch.long)
        for i, row in enumerate(batch):
            ids[i, : len(row.ids)] = torch.tensor(row.ids)
        with torch.inference_mode():
            engine.loaded.model.base_model(input_ids=ids, use_cache=False)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
