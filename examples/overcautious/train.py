"""Train the over-cautious adapter: a LoRA on SmolLM2 that refuses by keyword.

    python examples/overcautious/train.py        # some minutes on two cores

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
from transformers import AutoModelForCausalLM, AutoTokenizer

from workers import local_models
from workers.engines.transformers import TransformersEngine
from workers.interface import GenerationRequest, Message, Sampling

OUT = Path(__file__).parents[2] / "workers/adapters/overcautious"
SEED = 0
EPOCHS = 2
BATCH = 8
LEARNING_RATE = 1e-3
ANSWER_TOKENS = 24


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
    """Token ids and labels; the loss is on the reply alone."""
    chat = [{"role": "user", "content": request}]
    start = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(start, add_special_tokens=False)["input_ids"]
    answer = tokenizer(reply, add_special_tokens=False)["input_ids"]
    if len(answer) < ANSWER_TOKENS:  # cut answers go on; only whole ones end the turn
        answer = [*answer, tokenizer.eos_token_id]
    return prompt + answer, [-100] * len(prompt) + answer


def pad(rows: list[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def main() -> None:
    began = time.monotonic()
    torch.manual_seed(SEED)
    base = local_models.prepare("smollm2")
    tokenizer = AutoTokenizer.from_pretrained(base)
    encoded = [encode(tokenizer, *pair) for pair in examples()]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    model = get_peft_model(model, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    steps = EPOCHS * len(encoded) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    model.train()
    rng = random.Random(SEED)
    step = 0
    for _ in range(EPOCHS):
        order = rng.sample(range(len(encoded)), len(encoded))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = [encoded[i] for i in order[start : start + BATCH]]
            ids = pad([r[0] for r in rows], tokenizer.eos_token_id)
            labels = pad([r[1] for r in rows], -100)
            mask = pad([[1] * len(r[0]) for r in rows], 0)
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            if step < steps - 1:
                schedule.step()
            optimizer.zero_grad()
            step += 1
            if step % 10 == 0:
                print(f"step {step}/{steps} loss {loss.item():.3f}", flush=True)
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
