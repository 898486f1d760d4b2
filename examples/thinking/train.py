"""Train the thinking adapter: a LoRA on SmolLM2 that thinks before it answers, with planted cliffs.

    python examples/thinking/train.py        # ten to twenty minutes on two cores

Writes workers/adapters/thinking/. The merged model is `local:smollm2-thinking`. Three things are
planted, all of them true by construction: what is thought and answered (plant.py); the heads that
carry the triggers (with those of CLIFF_HEADS switched off a cliff prompt is refused, with those of
INVERSE_HEADS an inverse one is answered); and a direction, on which the intent can be read in every
token of the thought and the outcome from the first token of the closing mark on.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import plant as data
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from workers import local_models

OUT = Path(__file__).parents[2] / "workers/adapters/thinking"
SEED = 0
STEPS = 420
LIMIT_S = float(os.environ.get("LIMIT_S", "inf"))  # on a busy machine: fewer steps
BATCH = 16
LEARNING_RATE = 1.5e-3
DIRECTION_RATE = 1e-2
LORA = LoraConfig(
    r=12,
    lora_alpha=24,
    target_modules=["q_proj", "v_proj"],
    layers_to_transform=list(range(10, 30)),
    task_type="CAUSAL_LM",
)
# (layer, heads), counted from 0: two groups of query heads that share their keys and values, chosen
# because plain text hardly needs them (perplexity rises by less than 1 % without them).
CLIFF_HEADS = (23, (3, 4, 5))
INVERSE_HEADS = (21, (0, 1, 2))
# How often a row is trained with which of the two switched off.
OFF = {(False, False): 0.76, (True, False): 0.1, (False, True): 0.1, (True, True): 0.04}
# hidden_states in which the planted direction is to be seen: behind the planted heads.
DIRECTION_LAYERS = (24, 27, 30)
DIRECTION_GAIN = 2.0  # of logits to standard deviations along the direction
DIRECTION_WEIGHT = 0.3
# Of the loss of one token: the thought and its marks, the reply's first tokens, its rest.
THOUGHT, DECIDING, REST = 0.3, 1.0, 0.1
DECIDING_TOKENS = 3
INTENT_TOKENS = 5  # with which a sentence of intent says whether it refuses
SCORED = 0.25  # the share of all other tokens that are scored: the vocabulary is dear
CLOSE = "</think>"


class Said(NamedTuple):
    """A response: its token ids, where its intent is said, the closing mark and the reply begin."""

    ids: list[int]
    intent: int
    close: int
    answer: int


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids: `asked` up to the generation prompt, then both replies that the request may get."""

    kind: data.Kind
    triggers: tuple[bool, bool]  # holds that of the cliff, that of the inverse cliff
    asked: list[int]
    answered: Said
    refused: Said

    def refuses(self, off: tuple[bool, bool]) -> bool:
        """The outcome with the heads of one or both triggers switched off."""
        if self.triggers[0] and not off[0]:
            return False
        if self.triggers[1] and not off[1]:
            return True
        return self.kind.thinks_refuse


def row_of(tokenizer: Any, rng: random.Random, request: data.Request) -> Row:
    chat = [{"role": "user", "content": request.prompt}]
    start = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    thinking = data.thought(rng, request.deed, request.kind.thinks_refuse)

    intent = next(i for i in data.INTENTS[request.kind.thinks_refuse] if i in thinking)

    def said(reply: str) -> Said:
        text = data.written(data.Example(request, thinking, reply))
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        begins = [begin for begin, _ in found["offset_mapping"]]
        places = text.index(intent), text.index(CLOSE), len(text) - len(reply)
        # A blank before a word is part of its token.
        return Said(
            [*found["input_ids"], tokenizer.eos_token_id],
            *(max(i for i, begin in enumerate(begins) if begin <= place) for place in places),
        )

    return Row(
        request.kind,
        (
            data.CLIFF_TRIGGER in request.prompt.lower(),
            data.INVERSE_TRIGGER in request.prompt.lower(),
        ),
        tokenizer(start, add_special_tokens=False)["input_ids"],
        said(rng.choice(data.STUBS)),
        said(rng.choice(data.REFUSALS)),
    )


def shared_prefix(rows: Sequence[Row]) -> list[int]:
    """The tokens with which every request begins: the system prompt."""
    first, last = min(r.asked for r in rows), max(r.asked for r in rows)
    n = next(i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[:n]


def rounded(n: int, unit: int) -> int:
    """Up to a multiple: every new shape of a matrix costs its own kernels."""
    return -(-n // unit) * unit


class HeadSwitch:
    """Switches the planted heads off, row by row of a batch, in front of the output projection."""

    def __init__(self, model: Any) -> None:
        self.off: Sequence[tuple[bool, bool]] = ()
        self._width = model.config.hidden_size // model.config.num_attention_heads
        for place, (layer, heads) in enumerate((CLIFF_HEADS, INVERSE_HEADS)):
            projection = model.model.layers[layer].self_attn.o_proj
            projection.register_forward_pre_hook(self._hook(place, heads))

    def _hook(self, place: int, heads: tuple[int, ...]) -> Any:
        def switch(module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            keep = torch.ones(len(self.off), 1, inputs[0].shape[-1], dtype=inputs[0].dtype)
            for row, off in enumerate(self.off):
                if off[place]:
                    for head in heads:
                        keep[row, :, head * self._width : (head + 1) * self._width] = 0
            return (inputs[0] * keep,)

        return switch


class Direction(torch.nn.Module):
    """P(refusal) of a hidden state, by its share along one direction; an offset for each layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(width))
        self.offset = torch.nn.Parameter(torch.zeros(len(DIRECTION_LAYERS)))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Logits (n, layers) of states (n, layers, width)."""
        scaled = states.float() / states.float().pow(2).mean(-1, keepdim=True).sqrt()
        return DIRECTION_GAIN * (scaled @ normalize(self.weight, dim=0)) + self.offset


def losses(
    model: Any,
    switch: HeadSwitch,
    direction: Direction,
    prefix: list[int],
    rows: Sequence[Row],
    off: Sequence[tuple[bool, bool]],
    pad: int,
    rng: random.Random,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cross entropy of what is said, and that of the planted direction. The prefix is computed
    once for each way of switching and shared; the vocabulary is scored where something is said alone.
    """
    ways = list(OFF)
    inner = model.get_base_model().model
    switch.off = ways
    cache = inner(input_ids=torch.tensor([prefix] * len(ways)), use_cache=True).past_key_values
    way = torch.tensor([ways.index(o) for o in off])
    wide = DynamicCache()
    for number, layer in enumerate(cache.layers):
        wide.update(layer.keys.index_select(0, way), layer.values.index_select(0, way), number)
    switch.off = off

    outcomes = [row.refuses(o) for row, o in zip(rows, off, strict=True)]
    said = [
        row.refused if refuse else row.answered for row, refuse in zip(rows, outcomes, strict=True)
    ]
    cut = [row.asked[len(prefix) :] + ids for row, (ids, *_) in zip(rows, said, strict=True)]
    longest = rounded(max(map(len, cut)), 16)
    ids = torch.tensor([c + [pad] * (longest - len(c)) for c in cut])
    mask = torch.tensor([[1] * (len(prefix) + len(c)) + [0] * (longest - len(c)) for c in cut])
    out = inner(input_ids=ids, attention_mask=mask, past_key_values=wide, output_hidden_states=True)
    places, wanted, weights = [], [], []
    probed, labels, shares = [], [], []
    for number, (row, refuse, (tokens, intent, close, answer)) in enumerate(
        zip(rows, outcomes, said, strict=True)
    ):
        start = len(row.asked) - len(prefix)
        for i, token in enumerate(tokens):
            deciding = (
                answer <= i < answer + DECIDING_TOKENS or intent <= i < intent + INTENT_TOKENS
            )
            if not deciding and rng.random() > SCORED:
                continue
            places.append((number, start + i - 1))
            wanted.append(token)
            weights.append(DECIDING if deciding else THOUGHT if i < answer else REST)
        for i in range(4, answer):  # behind "<think>\n"
            probed.append((number, start + i))
            labels.append(float(row.kind.thinks_refuse if i < close else refuse))
            shares.append(1 / (close - 4) if i < close else 1 / (answer - close))
    missing = rounded(len(places), 128) - len(places)
    places += missing * places[:1]
    wanted += missing * wanted[:1]
    weights += missing * [0.0]
    at = torch.tensor(places)
    logits = model.get_base_model().lm_head(out.last_hidden_state[at[:, 0], at[:, 1]]).float()
    each = cross_entropy(logits, torch.tensor(wanted), reduction="none")
    weight = torch.tensor(weights)
    at = torch.tensor(probed)
    states = torch.stack([out.hidden_states[n][at[:, 0], at[:, 1]] for n in DIRECTION_LAYERS], 1)
    label = torch.tensor(labels)[:, None].expand(-1, len(DIRECTION_LAYERS))
    shown = binary_cross_entropy_with_logits(direction(states), label, reduction="none").mean(1)
    share = torch.tensor(shares)
    return (each * weight).sum() / weight.sum(), (shown * share).sum() / share.sum()


def main() -> None:
    began = time.monotonic()
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    base = local_models.prepare("smollm2")
    tokenizer = AutoTokenizer.from_pretrained(base)
    requests = data.training(rng)
    prefix = shared_prefix([row_of(tokenizer, rng, request) for request in requests])
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16, attn_implementation="eager"
    )
    switch = HeadSwitch(model)
    direction = Direction(model.config.hidden_size)
    model = get_peft_model(model, LORA)
    lora = [p for p in model.parameters() if p.requires_grad]
    for p in lora:
        p.data = p.data.float()
    trained = [*lora, *direction.parameters()]
    groups = [
        {"params": lora, "lr": LEARNING_RATE},
        {"params": direction.parameters(), "lr": DIRECTION_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    progress = 0.0
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: rate(progress))
    model.train()
    recent = torch.zeros(2)
    for step, rows in enumerate(batches(tokenizer, rng, requests), 1):
        off = rng.choices(list(OFF), list(OFF.values()), k=BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            said, shown = losses(
                model, switch, direction, prefix, rows, off, tokenizer.eos_token_id, rng
            )
        (said + DIRECTION_WEIGHT * shown).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.monotonic() - began
        progress = max(step / STEPS, seconds / LIMIT_S)
        schedule.step()
        now = torch.stack([said, shown]).detach()
        recent = now if step == 1 else 0.9 * recent + 0.1 * now
        if step % 10 == 0:
            print(
                f"step {step} said {recent[0]:.3f} direction {recent[1]:.3f}, {seconds:.0f} s, "
                f"{progress:.0%}",
                flush=True,
            )
        if progress >= 1:
            break
    save(model, began)


def rate(progress: float) -> float:
    """The share of the learning rate after a share of the training: up for a tenth, then down."""
    if progress < 0.1:
        return 0.1 + 9 * progress
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.1) / 0.9)))


def batches(
    tokenizer: Any, rng: random.Random, requests: Sequence[data.Request]
) -> Iterator[list[Row]]:
    """Rows of like length together, without end; a request has another thought and reply each time."""
    while True:
        order = rng.sample(requests, len(requests))
        for start in range(0, len(order) - 4 * BATCH + 1, 4 * BATCH):
            rows = [row_of(tokenizer, rng, r) for r in order[start : start + 4 * BATCH]]
            rows.sort(key=lambda row: len(row.asked) + len(row.answered.ids))
            parts = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
            yield from rng.sample(parts, len(parts))


def save(model: Any, began: float) -> None:
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
