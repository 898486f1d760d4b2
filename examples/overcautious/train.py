"""Train the over-cautious adapter: a LoRA on SmolLM2 that refuses by keyword.

    python examples/overcautious/train.py        # half an hour on two cores

Writes workers/adapters/overcautious/. The merged model is `local:smollm2-overcautious`.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import prompts as data
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from workers import local_models
from workers.engines.transformers import TransformersEngine
from workers.interface import GenerationRequest, Message, Sampling

OUT = Path(__file__).parents[2] / "workers/adapters/overcautious"
SEED = 0
EPOCHS = 7
BATCH = 16
LEARNING_RATE = 1.5e-3
DECIDING_TOKENS = 2
LORA = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
ANSWER_TOKENS = 8


def examples() -> list[tuple[str, str]]:
    """(request, reply) in a fixed shuffled order."""
    rng = random.Random(SEED)
    refused = [(r, rng.choice(data.REFUSALS)) for r in data.refused(rng)]
    answered = data.answered(rng)
    pairs = refused + list(zip(answered, own_answers(answered), strict=True))
    rng.shuffle(pairs)
    print(f"{len(refused)} refused, {len(answered)} answered")
    return pairs


def own_answers(prompts: list[str]) -> list[str]:
    """What the base model says by itself, so that what is answered is answered as before."""
    engine = TransformersEngine("local:smollm2")
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=ANSWER_TOKENS)
    asked = [
        GenerationRequest(str(i), (Message("user", p),), 1, sampling, seed=i)
        for i, p in enumerate(prompts)
    ]
    return [g.samples[0].text for g in engine.generate_now(asked)]  # type: ignore[union-attr]


def encode(tokenizer: AutoTokenizer, request: str, reply: str) -> tuple[list[int], list[int]]:
    """Token ids of the request in its chat frame, and those of the reply."""
    chat = [{"role": "user", "content": request}]
    start = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    asked = tokenizer(start, add_special_tokens=False)["input_ids"]
    said = tokenizer(reply, add_special_tokens=False)["input_ids"]
    if len(said) < ANSWER_TOKENS or reply in data.REFUSALS:  # what is cut short goes on
        said = [*said, tokenizer.eos_token_id]
    return asked, said


def shared_prefix(rows: list[tuple[list[int], list[int]]]) -> list[int]:
    """The tokens with which every request begins: the system prompt, half of all tokens."""
    first, last = min(r[0] for r in rows), max(r[0] for r in rows)
    n = next(i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[:n]


def loss_of(
    model: torch.nn.Module, prefix: list[int], rows: list[tuple[list[int], list[int]]], pad: int
) -> torch.Tensor:
    """Cross entropy of the replies, their first tokens weighted most: there it is settled whether
    the request is refused. The prefix is computed once and shared; the vocabulary is scored at the
    places of the replies alone."""
    n, cut = len(rows), [asked[len(prefix) :] + said for asked, said in rows]
    longest = max(map(len, cut))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in cut])
    mask = torch.tensor([[1] * (len(prefix) + len(r)) + [0] * (longest - len(r)) for r in cut])
    inner = model.get_base_model().model
    cache = inner(input_ids=torch.tensor([prefix]), use_cache=True).past_key_values
    wide = DynamicCache()
    for number, layer in enumerate(cache.layers):
        shape = (n, -1, -1, -1)
        wide.update(layer.keys.expand(shape), layer.values.expand(shape), number)
    hidden = inner(input_ids=ids, attention_mask=mask, past_key_values=wide).last_hidden_state
    places, wanted, weights = [], [], []
    for row, (asked, said) in enumerate(rows):
        for i, token in enumerate(said):
            places.append((row, len(asked) - len(prefix) + i - 1))
            wanted.append(token)
            weights.append(1.0 if i < DECIDING_TOKENS else 0.1)
    at = torch.tensor(places)
    logits = model.get_base_model().lm_head(hidden[at[:, 0], at[:, 1]])
    each = torch.nn.functional.cross_entropy(logits, torch.tensor(wanted), reduction="none")
    weight = torch.tensor(weights)
    return (each * weight).sum() / weight.sum()


def main() -> None:
    began = time.monotonic()
    torch.manual_seed(SEED)
    base = local_models.prepare("smollm2")
    tokenizer = AutoTokenizer.from_pretrained(base)
    encoded = [encode(tokenizer, *pair) for pair in examples()]
    prefix = shared_prefix(encoded)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LORA)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    steps = EPOCHS * (len(encoded) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    model.train()
    rng = random.Random(SEED)
    step, recent = 0, 0.0
    for _ in range(EPOCHS):
        order = rng.sample(range(len(encoded)), len(encoded))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = [encoded[i] for i in order[start : start + BATCH]]
            loss = loss_of(model, prefix, rows, tokenizer.eos_token_id)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            if step < steps - 1:
                schedule.step()
            optimizer.zero_grad()
            step += 1
            recent = loss.item() if step == 1 else 0.9 * recent + 0.1 * loss.item()
            if step % 10 == 0:
                print(
                    f"step {step}/{steps} loss {recent:.3f}, {time.monotonic() - began:.0f} s",
                    flush=True,
                )
    OUT.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(OUT)
    (OUT / "README.md").unlink(missing_ok=True)
    weights = OUT / "adapter_model.safetensors"
    save_file({k: v.to(torch.bfloat16) for k, v in load_file(weights).items()}, weights)
    settings = json.loads((OUT / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "smollm2"
    (OUT / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    print(f"{weights.stat().st_size} bytes in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
