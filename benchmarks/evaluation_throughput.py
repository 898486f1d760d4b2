"""How fast is one fitness evaluation? Against the paper's procedure and against a bare `generate`.

    python benchmarks/evaluation_throughput.py [--prompts 24] [--samples 10] [--model local:smollm2]

Three ways to the same K samples of 50 tokens for each prompt, in one run on one machine:

reference  EvoRefuse's released procedure: one sample at a time, float32, two generations (one for
           the confidence, one for the refusal) and one scoring pass for each sample
bare       `model.generate`, all samples in one batch, the dtype that the engine picks; text alone
ours       the Evaluator: K samples with log-probabilities, judged, scored

The model is the plain SmolLM2, whose answers run to the token limit: ending rows early, which
`generate` cannot use, would flatter us. Ratios are the result; the last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evo import seeds
from evo.config import SeedsConfig
from evo.types import prompt_id
from fitness import judges
from fitness.evaluate import Evaluator
from fitness.types import EvaluationRequest
from workers import local_models
from workers.engines.transformers import TransformersEngine
from workers.interface import Failure, Sampling

MAX_TOKENS = 50
TOP_P = 0.995


def chat(tokenizer: Any, prompt: str) -> str:
    turns = [{"role": "user", "content": prompt}]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text


def reference(model_name: str, prompts: list[str], n_samples: int) -> dict[str, float]:
    """Seconds for n_samples in all, spread over the prompts."""
    where = local_models.resolve(model_name)
    tokenizer = AutoTokenizer.from_pretrained(where)
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32).eval()
    began = time.perf_counter()
    with torch.inference_mode():
        for i in range(n_samples):
            text = chat(tokenizer, prompts[i % len(prompts)])
            inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
            for top_k in (30, 0):
                out = model.generate(
                    **inputs, do_sample=True, top_p=TOP_P, top_k=top_k, max_new_tokens=MAX_TOKENS
                )
            response = out[:, inputs["input_ids"].shape[1] :]
            model(response, labels=response)
    return {"samples": n_samples, "seconds": time.perf_counter() - began}


def bare(engine: TransformersEngine, prompts: list[str], k: int) -> dict[str, float]:
    """`generate` with the engine's own weights and dtype, stock attention, one batch."""
    tokenizer, model = engine._tokenizer, engine._model
    attention = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    began = time.perf_counter()
    with torch.inference_mode():
        texts = [chat(tokenizer, p) for p in prompts]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        out = model.generate(
            **inputs,
            do_sample=True,
            top_p=TOP_P,
            top_k=0,
            max_new_tokens=MAX_TOKENS,
            num_return_sequences=k,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = out[:, inputs["input_ids"].shape[1] :]
        tokenizer.batch_decode(new, skip_special_tokens=True)
    seconds = time.perf_counter() - began
    ended = (new == tokenizer.eos_token_id).int().cumsum(dim=1)
    tokens = int(((ended - (new == tokenizer.eos_token_id).int()) == 0).sum())
    model.set_attn_implementation(attention)
    return {"samples": len(new), "tokens": tokens, "seconds": seconds}


def ours(engine: TransformersEngine, prompts: list[str], k: int) -> dict[str, float]:
    evaluator = Evaluator(engine, [judges.build("embedded")], Sampling(1.0, TOP_P, 0, MAX_TOKENS))
    requests = [EvaluationRequest(prompt_id(p), p, k, k, 2.0, seed=0) for p in prompts]
    began = time.perf_counter()
    evaluations = asyncio.run(evaluator.run(requests))
    seconds = time.perf_counter() - began
    tokens = samples = 0
    for evaluation in evaluations:
        if isinstance(evaluation, Failure):
            raise SystemExit(evaluation.message)
        tokens += evaluation.target_tokens
        samples += evaluation.n_new
    return {"samples": samples, "tokens": tokens, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="local:smollm2")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--reference-samples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    loaded = seeds.load(SeedsConfig(dataset="xstest-safe", limit=options.prompts), run_seed=0)
    prompts = [seed.text for seed in loaded]
    engine = TransformersEngine(options.model)
    ours(engine, prompts[:4], 2)  # warm up
    bare(engine, prompts[:4], 2)
    # Turn and turn about, so that a busy machine hurts all of them alike; the best round counts.
    ours_rounds, bare_rounds, reference_rounds = [], [], []
    for _ in range(options.rounds):
        ours_rounds.append(ours(engine, prompts, options.samples))
        bare_rounds.append(bare(engine, prompts, options.samples))
        reference_rounds.append(reference(options.model, prompts, options.reference_samples))
        print(json.dumps([ours_rounds[-1], bare_rounds[-1], reference_rounds[-1]]), flush=True)

    def best(rounds: list[dict[str, float]], what: str) -> float:
        return max(r[what] / r["seconds"] for r in rounds)

    result = {
        "machine": platform.processor() or platform.machine(),
        "cores": torch.get_num_threads(),
        "dtype": engine.description.dtype,
        "reference_samples_per_s": round(best(reference_rounds, "samples"), 3),
        "ours_samples_per_s": round(best(ours_rounds, "samples"), 3),
        "bare_tokens_per_s": round(best(bare_rounds, "tokens"), 1),
        "ours_tokens_per_s": round(best(ours_rounds, "tokens"), 1),
    }
    result["evaluations_against_reference"] = round(
        result["ours_samples_per_s"] / result["reference_samples_per_s"], 1
    )
    result["tokens_against_bare"] = round(
        result["ours_tokens_per_s"] / result["bare_tokens_per_s"], 2
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
