"""Does a repair learn as much from the chosen share as from everything, and more than from a random one?

The pool holds safe replies, of which one in twenty is to a cliff prompt. Each arm trains the same LoRA with
the same recipe for the same number of epochs, on the replies alone: the thoughts of the organism are right
already. The blocks below `FIRST` are frozen, so each example goes through them once.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import cross_entropy

from benchmarks import cliff_planted as planted
from evo import cliffs
from evo.cliffs import Item
from fitness import judges
from fitness.cliff import selection
from fitness.types import CliffTrace
from workers import looking
from workers.engines.transformers import TransformersEngine
from workers.interface import StoredResponse

POOL, CLIFFS = 240, 12
SHARE = 0.1
SEEDS = 3
EPOCHS, BATCH, RATE = 3, 8, 2e-3
FIRST = 20
LORA = LoraConfig(
    r=8,
    lora_alpha=16,
    target_modules=["q_proj", "v_proj"],
    layers_to_transform=list(range(FIRST, 30)),
    task_type="CAUSAL_LM",
)
EVERY = 3  # of the held-out prompts


def select() -> dict[str, Any]:
    engine = TransformersEngine(planted.MODEL, adapter=planted.ADAPTER, dtype="float32")
    box = looking.over(engine)
    probe = asyncio.run(planted.trained(box))
    pool = planted.plant.selection_pool(random.Random(0), POOL, CLIFFS)
    items = [
        Item(
            e.request.prompt,
            StoredResponse(e.thinking, e.response),
            harmful=e.request.kind.thinks_refuse,
            row={"kind": e.request.kind.value},
        )
        for e in pool
    ]
    found = asyncio.run(cliffs.traced(items, box, probe))
    examples = [
        selection.Example(str(i), t.plateau, t.final)
        for i, t in enumerate(found)
        if isinstance(t, CliffTrace)
    ]
    chosen = [int(e.key) for e in selection.select(examples, SHARE)]
    rows = [encoded(engine.loaded.tokenizer, e) for e in pool]
    asked = [planted.replace_harm(r) for r in planted.held_out()]
    asked = [r for r in asked if r.row["kind"] in ("cliff", "plain")][::EVERY]
    before = refusals(box, asked)
    print("before", before, flush=True)
    below = states_below(engine.loaded.model, rows)
    result: dict[str, Any] = {
        "revision": planted.revision(box),
        "pool": POOL,
        "chosen": len(chosen),
        "cliffs_in_pool": CLIFFS,
        "cliffs_chosen": sum(pool[i].request.kind.value == "cliff" for i in chosen),
        "before": before,
    }
    for arm in ("chosen", "random", "everything"):
        found_arm = []
        for seed in range(SEEDS):
            rng = random.Random(seed)
            taken = {
                "chosen": chosen,
                "random": rng.sample(range(POOL), len(chosen)),
                "everything": list(range(POOL)),
            }[arm]
            began = time.perf_counter()
            model = repaired(engine.loaded.model, rows, below, taken, seed)
            train_s = time.perf_counter() - began
            figures = {**refusals(box, asked), "train_s": round(train_s, 1)}
            model.unload()
            print(arm, seed, figures, flush=True)
            found_arm.append(figures)
        result[arm] = found_arm
    return result


def refusals(box: Any, asked: Sequence[Item]) -> dict[str, float]:
    judge = judges.build("embedded")
    effect = asyncio.run(cliffs.effect_of([], asked, [], box, judge, max_tokens=planted.MAX_TOKENS))
    return {"refusal": effect.refusal or 0.0, "over_refusal": effect.over_refusal or 0.0}


def encoded(tokenizer: Any, example: Any) -> tuple[list[int], int]:
    """Token ids of an example, and where its reply begins."""
    chat = [{"role": "user", "content": example.request.prompt}]
    start = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    text = start + planted.plant.written(example)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    reply = len(text) - len(example.response)
    first = next(i for i, (begin, _) in enumerate(found["offset_mapping"]) if begin >= reply)
    return [*found["input_ids"], tokenizer.eos_token_id], first


@torch.inference_mode()
def states_below(model: Any, rows: Sequence[tuple[list[int], int]]) -> list[torch.Tensor]:
    """What enters block `FIRST`, (tokens, width) of each row."""
    inner, whole = model.model, model.model.layers
    taken: list[torch.Tensor] = []
    hook = whole[FIRST - 1].register_forward_hook(
        lambda _, __, out: taken.append(out[0] if isinstance(out, tuple) else out)
    )
    inner.layers = whole[:FIRST]
    try:
        for ids, _ in rows:
            inner(input_ids=torch.tensor([ids]), use_cache=False)
    finally:
        inner.layers = whole
        hook.remove()
    return [t.reshape(-1, t.shape[-1]) for t in taken]


def repaired(
    base: Any,
    rows: Sequence[tuple[list[int], int]],
    below: Sequence[torch.Tensor],
    taken: Sequence[int],
    seed: int,
) -> PeftModel:
    """The model with a LoRA trained on the rows `taken`. `unload` takes it off again."""
    torch.manual_seed(seed)
    model = get_peft_model(base, LORA)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    inner, whole = base.model, base.model.layers
    inner.layers = whole[FIRST:]
    rng = random.Random(seed)
    try:
        with torch.enable_grad():
            for _ in range(EPOCHS):
                order = rng.sample(taken, len(taken))
                for start in range(0, len(order), BATCH):
                    batch = order[start : start + BATCH]
                    loss = _loss(base, inner, [rows[i] for i in batch], [below[i] for i in batch])
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(trained, 1.0)
                    optimizer.step()
                    optimizer.zero_grad()
    finally:
        inner.layers = whole
    return model


def _loss(
    base: Any,
    inner: Any,
    rows: Sequence[tuple[list[int], int]],
    below: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Mean cross entropy of the replies' tokens, padded on the right where a causal model sees nothing."""
    states = torch.nn.utils.rnn.pad_sequence([b.clone() for b in below], batch_first=True)
    out = inner(inputs_embeds=states, use_cache=False).last_hidden_state
    places = [(n, i - 1) for n, (ids, first) in enumerate(rows) for i in range(first, len(ids))]
    wanted = [ids[i] for ids, first in rows for i in range(first, len(ids))]
    at = np.array(places)
    logits = base.lm_head(out[at[:, 0], at[:, 1]]).float()
    return cross_entropy(logits, torch.tensor(wanted))


if __name__ == "__main__":
    sys.exit("python -m benchmarks.cliff --part select")
