"""What a model itself says of a response: one forward pass over prompt and response, in float64."""

from __future__ import annotations

import torch

from workers.engines.transformers import TransformersEngine
from workers.interface import Sample


def prompt_ids(engine: TransformersEngine, prompt: str) -> list[int]:
    """The tokens of a user's message in the model's chat template, up to where it answers."""
    chat = [{"role": "user", "content": prompt}]
    text = engine._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    ids: list[int] = engine._tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def logprob_sum(engine: TransformersEngine, prompt: str, sample: Sample) -> float | None:
    """log p of a sample's tokens, its end included; None where the text does not encode back to as
    many tokens as were sampled."""
    tokenizer, model = engine._tokenizer, engine._model
    start = prompt_ids(engine, prompt)
    response = tokenizer(sample.text, add_special_tokens=False)["input_ids"]
    response += [tokenizer.eos_token_id] * (sample.finish_reason == "stop")
    if len(response) != sample.n_tokens:
        return None
    with torch.inference_mode():
        logits = model(torch.tensor([start + response])).logits[0].double()
    logp = torch.log_softmax(logits, -1)[len(start) - 1 : -1]  # (response tokens, vocabulary)
    return float(logp.gather(1, torch.tensor(response)[:, None]).sum())
