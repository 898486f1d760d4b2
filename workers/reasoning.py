"""Where a response thinks and where it answers: the marks that models put round their thoughts.

Pure, over text. Knows the marks; knows nothing of tokens or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_HARMONY_ANSWER = "<|channel|>final<|message|>"


@dataclass(frozen=True, slots=True)
class Marks:
    """How one family of models writes: `open`, the thought, `close`, the answer. `bare_close`: its
    closing mark alone tells a thought too, since the opening one may have been in a prompt that we
    do not see. `wraps`: marks round the answer, which are no part of it."""

    open: str
    close: str
    bare_close: bool = False
    wraps: tuple[str, ...] = ()


# In the order in which a response is tried.
FAMILIES = (
    Marks("<think>", "</think>", bare_close=True),
    Marks("<thinking>", "</thinking>", bare_close=True),
    Marks(
        "<|begin_of_thought|>",
        "<|end_of_thought|>",
        bare_close=True,
        wraps=("<|begin_of_solution|>", "<|end_of_solution|>"),
    ),
    Marks("[THINK]", "[/THINK]", bare_close=True),
    # Ordinary answers may hold these two as XML, so both marks are needed.
    Marks("<reasoning>", "</reasoning>"),
    Marks("<thought>", "</thought>"),
    Marks(
        "<|channel|>analysis<|message|>",
        f"<|end|><|start|>assistant{_HARMONY_ANSWER}",
        bare_close=True,
    ),
)
THINK = FAMILIES[0]
# Special tokens that are part of a mark: they are kept where other special tokens are left out.
MARK_TOKENS = frozenset(
    {mark for family in FAMILIES for mark in (family.open, family.close, *family.wraps)}
    | {"<|channel|>", "<|message|>", "<|start|>", "<|end|>"}
)


@dataclass(frozen=True, slots=True)
class Parts:
    """Character offsets in a response: the thought is [thought, thought_end) without the blanks
    round it, the answer starts at `answer`. `closed` is False where the thought was cut; then
    `answer` is the end of the text."""

    marks: Marks
    thought: int
    thought_end: int
    answer: int
    closed: bool


def opened_by(prompt: str) -> Marks | None:
    """The marks whose opening one ends the prompt, so that the response begins inside a thought.

    >>> opened_by("<|im_start|>assistant\\n<think>\\n").open
    '<think>'
    >>> opened_by("<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n")
    """
    end = prompt.rstrip()
    return next((family for family in FAMILIES if end.endswith(family.open)), None)


def closed_by(prompt: str) -> bool:
    """Whether the prompt ends a thought itself, so that the response is the answer alone.

    >>> closed_by("<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n")
    True
    >>> closed_by("<|im_start|>assistant\\n")
    False
    """
    end = prompt.rstrip()
    return any(end.endswith(family.close) for family in FAMILIES)


def parts(text: str, opened: Marks | None = None) -> Parts | None:
    """Where the thought and the answer of a response are; None where it has no thought.

    Args:
        text: all that was generated.
        opened: `opened_by` the prompt, where the prompt is known.
    """
    start = len(text) - len(text.lstrip())
    for family in FAMILIES:
        if text.startswith(family.open, start):
            return _between(text, start + len(family.open), family)
    if opened is not None:
        return _between(text, 0, opened)
    for family in FAMILIES:
        if family.bare_close and family.close in text:
            return _between(text, 0, family)
    return None


def _between(text: str, first: int, family: Marks) -> Parts:
    found = text.find(family.close, first)
    end = len(text) if found < 0 else found
    inside = text[first:end]
    thought = first + len(inside) - len(inside.lstrip())
    thought_end = max(thought, first + len(inside.rstrip()))
    if found < 0:
        return Parts(family, thought, thought_end, len(text), closed=False)
    answer = found + len(family.close)
    for wrap in ("", *family.wraps[:1]):  # blanks, and the mark before the answer
        answer += len(text[answer:]) - len(text[answer:].lstrip())
        if wrap and text.startswith(wrap, answer):
            answer += len(wrap)
            answer += len(text[answer:]) - len(text[answer:].lstrip())
    return Parts(family, thought, thought_end, answer, closed=True)


def split(text: str, opened: Marks | None = None) -> tuple[str | None, str]:
    """Reasoning (None when the model did not think) and answer of a response. A thought that was
    cut leaves no answer.

    >>> split("<think>fine</think> Yes.")
    ('fine', 'Yes.')
    >>> split("Yes.")
    (None, 'Yes.')
    >>> split("<think>cut off by the limit")
    ('cut off by the limit', '')
    >>> split("cut off by the limit", opened=THINK)
    ('cut off by the limit', '')
    """
    found = parts(text, opened)
    if found is None:
        return None, text.strip().removeprefix(_HARMONY_ANSWER).strip()
    answer = text[found.answer :]
    for wrap in found.marks.wraps[1:]:
        answer = answer.strip().removesuffix(wrap)
    return text[found.thought : found.thought_end], answer.strip()


def join(
    reasoning: str | None, answer: str, marks: Marks = THINK, opened: Marks | None = None
) -> str:
    """What was generated, from what `split` made of it: the thought on lines of its own between the
    marks and a blank line before the answer, as thinking models write. Where the answer is empty the
    thought counts as cut, so it is not closed.

    Args:
        marks: those that the model writes.
        opened: `opened_by` the prompt; then the response begins with the thought.

    >>> join("Fine.", "Yes.")
    '<think>\\nFine.\\n</think>\\n\\nYes.'
    >>> join("Fine.", "Yes.", opened=THINK)
    'Fine.\\n</think>\\n\\nYes.'
    >>> join(None, "Yes.")
    'Yes.'
    """
    if reasoning is None:
        return answer
    marks = opened or marks
    tight = marks.open.startswith("<|channel|>")  # these write no blanks
    begin = "" if opened is not None else marks.open + ("" if tight else "\n")
    if not answer:
        return begin + reasoning
    if tight:
        return f"{begin}{reasoning}{marks.close}{answer}"
    before, after = marks.wraps or ("", "")
    wrapped = f"{before}\n{answer}\n{after}" if marks.wraps else answer
    return f"{begin}{reasoning}\n{marks.close}\n\n{wrapped}"


def marks_of(tokenizer: Any) -> Marks:
    """The marks that a model writes, by its chat template and its tokens; `<think>` where neither
    shows any."""
    template = str(tokenizer.chat_template or "")
    tokens = tokenizer.get_added_vocab()
    return next(
        (
            family
            for family in FAMILIES
            if family.close in template or {family.open, family.close} <= tokens.keys()
        ),
        THINK,
    )
