"""Which tokens of a chat are which: the end of the user's text, of the prompt, of the thought.

Pure over a tokenizer. Everything is found from the text that the real chat template writes and from
the tokenizer's offsets, never by looking for token ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers import chat, reasoning
from workers.interface import Failure, FailureKind, Message, Place, Response, StoredResponse

# Stands for the user's text when the template is asked where it puts it. Of a private use area.
_STAND_IN = "\ue0f5\ue0f6\ue0f5"


@dataclass(frozen=True, slots=True)
class Tokens:
    """`ids` are the prompt's (the first `n_prompt`), then the response's. `instruction` is the index
    of the last token of the user's text. `thought` is [first, end) of the thinking tokens and
    `before_answer` the last token before the answer, or the failure that says why there is none."""

    ids: tuple[int, ...]
    n_prompt: int
    instruction: int
    thought: tuple[int, int] | Failure
    before_answer: int | Failure

    def index(self, place: Place) -> int | Failure:
        if place is Place.INSTRUCTION:
            return self.instruction
        return self.n_prompt - 1 if place is Place.POST_INSTRUCTION else self.before_answer


def find(
    tokenizer: Any,
    messages: Sequence[Message],
    response: Response | None,
    *,
    room: int,
    key: str,
) -> Tokens | Failure:
    """The tokens of a chat and their places.

    Args:
        tokenizer: a fast one, which knows offsets.
        response: what was generated after the prompt; None: nothing.
        room: the most tokens that fit.

    Returns:
        tokens, or a failure of kind `empty` (no user text, blank response), `template` (the template
        shows no user turn, or changes its text) or `overlong`.
    """
    text = chat.render(tokenizer, messages, key=key)
    if isinstance(text, Failure):
        return text
    end = _end_of_instruction(tokenizer, messages, text, key)
    if isinstance(end, Failure):
        return end
    prompt = _Encoded.of(tokenizer, text)
    tokens = Tokens(
        prompt.ids,
        len(prompt.ids),
        prompt.last_token_at(end),
        Failure(FailureKind.NO_THOUGHT, f"{key}: there is no response, so no thought"),
        len(prompt.ids) - 1,
    )
    if response is not None:
        opened = reasoning.opened_by(text)
        if isinstance(response, StoredResponse):
            marks = reasoning.marks_of(tokenizer)
            response = reasoning.join(response.reasoning, response.text, marks, opened)
        if not response.strip():
            return Failure(FailureKind.EMPTY, f"{key}: the response is empty")
        tokens = _with_response(tokenizer, tokens, response, opened, key)
    if len(tokens.ids) > room:
        return Failure(
            FailureKind.OVERLONG,
            f"{key}: prompt and response have {len(tokens.ids)} tokens, the model has room for {room}",
        )
    return tokens


def _with_response(
    tokenizer: Any, tokens: Tokens, response: str, opened: reasoning.Marks | None, key: str
) -> Tokens:
    # Encoded apart from the prompt, as it was generated after it.
    encoded = _Encoded.of(tokenizer, response)
    start = tokens.n_prompt
    ids = tokens.ids + encoded.ids
    found = reasoning.parts(response, opened)
    if found is None:
        none = Failure(FailureKind.NO_THOUGHT, f"{key}: the response has no thought")
        return replace(tokens, ids=ids, thought=none)
    if not found.closed:
        cut = Failure(
            FailureKind.THOUGHT_CUT, f"{key}: the thought was cut before it came to an answer"
        )
        return replace(tokens, ids=ids, thought=cut, before_answer=cut)
    answered = bool(response[found.answer :].strip())
    # The token that begins the answer may bring a blank of its own, so the one before it is meant.
    before = (encoded.first_token_at(found.answer) if answered else len(encoded.ids)) - 1
    if found.thought >= found.thought_end:
        blank = Failure(FailureKind.NO_THOUGHT, f"{key}: the thought is empty")
        return replace(tokens, ids=ids, thought=blank, before_answer=start + before)
    first = encoded.first_token_at(found.thought)
    end = min(encoded.last_token_at(found.thought_end - 1), before) + 1
    return replace(
        tokens, ids=ids, thought=(start + first, start + end), before_answer=start + before
    )


def _end_of_instruction(
    tokenizer: Any, messages: Sequence[Message], text: str, key: str
) -> int | Failure:
    """Offset in `text` of the last character of the last user turn that is no blank."""
    last = max(i for i, m in enumerate(messages) if m.role == "user")
    stood_in = [replace(m, content=_STAND_IN) if i == last else m for i, m in enumerate(messages)]
    shape = chat.render(tokenizer, stood_in, key=key)
    if isinstance(shape, Failure):
        return shape
    before, shown, after = shape.rpartition(_STAND_IN)
    if not shown:
        return Failure(FailureKind.TEMPLATE, f"{key}: the chat template shows no user turn")
    content = text[len(before) : len(text) - len(after)]
    whole = text.startswith(before) and text.endswith(after)
    if not whole or content.strip() != messages[last].content.strip() or not content.strip():
        return Failure(FailureKind.TEMPLATE, f"{key}: the chat template changes the user's text")
    return len(before) + len(content.rstrip()) - 1


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Token ids of a text, and the [start, end) of its characters that each stands for."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, tokenizer: Any, text: str) -> _Encoded:
        made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return cls(tuple(made["input_ids"]), tuple(map(tuple, made["offset_mapping"])))

    def first_token_at(self, character: int) -> int:
        """The first token that reaches beyond `character`'s start."""
        return next(i for i, (_, end) in enumerate(self.offsets) if end > character)

    def last_token_at(self, character: int) -> int:
        """The last token that holds a part of `character`; several may share one."""
        return max(i for i, (start, end) in enumerate(self.offsets) if start <= character < end)
