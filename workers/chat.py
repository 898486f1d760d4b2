"""From messages to token ids and back, through the model's own chat template.

Knows tokenizers; knows nothing of models. Prompt and generation prompt are encoded together, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from workers import reasoning
from workers.interface import Failure, FailureKind, Message


def template_hash(tokenizer: Any) -> str:
    """Hash of the chat template, 12 hex digits; "none" when the tokenizer has no template."""
    template = tokenizer.chat_template
    if template is None:
        return "none"
    return hashlib.sha256(str(template).encode()).hexdigest()[:12]


def end_ids(tokenizer: Any, generation_config: Any) -> frozenset[int]:
    """Every token that ends a turn: the model's generation config and the tokenizer may differ."""
    ids: set[int] = set()
    for value in (generation_config.eos_token_id, tokenizer.eos_token_id):
        if isinstance(value, int):
            ids.add(value)
        elif value is not None:
            ids.update(value)
    return frozenset(ids)


def encode(
    tokenizer: Any, messages: Sequence[Message], *, room: int, key: str
) -> list[int] | Failure:
    """Token ids of `messages` with the generation prompt. Nothing is truncated.

    Args:
        room: the most tokens that leave space for the response.
        key: names the request in the message of a failure.

    Returns:
        ids, or a failure of kind `empty` (no user text), `template` (the template refuses these
        roles, or the model has none) or `overlong`.
    """
    text = render(tokenizer, messages, key=key)
    if isinstance(text, Failure):
        return text
    # The template writes the special tokens itself, so the tokenizer must not add them again.
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if len(ids) > room:
        return Failure(
            FailureKind.OVERLONG,
            f"{key}: the prompt has {len(ids)} tokens, the model has room for {room}",
        )
    return ids


def render(tokenizer: Any, messages: Sequence[Message], *, key: str) -> str | Failure:
    """The prompt as the template writes it, generation prompt included; failures as `encode`."""
    if not any(m.role == "user" and m.content.strip() for m in messages):
        return Failure(FailureKind.EMPTY, f"{key}: the prompt has no text")
    turns = [{"role": m.role, "content": m.content} for m in messages]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # noqa: BLE001 - templates are programs of the model's authors
        return Failure(FailureKind.TEMPLATE, f"{key}: the chat template failed: {error}")
    if any("\ud800" <= c <= "\udfff" for c in text):
        return Failure(FailureKind.TEMPLATE, f"{key}: the prompt is not valid Unicode")
    return text


def response_parts(
    tokenizer: Any, prompt_ids: Sequence[int], ids: Sequence[int]
) -> tuple[str | None, str]:
    """Reasoning (None when there is none) and answer of a response, without special tokens.

    Args:
        prompt_ids: the prompt, which may have opened the thought.
        ids: what was generated, without the token that ended it.
    """
    end_of_prompt = tokenizer.decode(list(prompt_ids[-16:]), skip_special_tokens=False)
    return reasoning.split(response_text(tokenizer, ids), reasoning.opened_by(end_of_prompt))


def response_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of generated tokens. Special tokens are left out, but not the marks of a thought."""
    special = {
        token
        for token in set(ids).intersection(tokenizer.all_special_ids)
        if tokenizer.convert_ids_to_tokens(token) not in reasoning.MARK_TOKENS
    }
    kept = [token for token in ids if token not in special]
    return str(tokenizer.decode(kept, skip_special_tokens=False))


def token_text(tokenizer: Any, token: int) -> str:
    """The text of one token, with its leading space; special tokens as they are written."""
    return str(
        tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    )
