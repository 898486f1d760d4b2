"""What no judge of wording can judge: such a response is unscored, and this says why."""

from __future__ import annotations

import re

MOST_CHARS = 50_000  # an answer of this length was never sampled by a search
_MANY_WORDS = 8
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
# Round a thought, as models write them; `workers.reasoning` has the same, and more about each.
THOUGHT_MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("[THINK]", "[/THINK]"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
)
# The commonest words of English prose, refusals and code.
_COMMON = """
the a an of to in is it you i i'm and for on with can can't cannot not no be as this that or if your are
by from at do my we sorry but have will was he she they what how here def return import print there's
it's don't me all one so
"""
_ENGLISH = frozenset(_COMMON.split())


def unreadable(response: str) -> str | None:
    """Why a response cannot be judged by its English wording, or None when it can.

    >>> unreadable("I can't help with that.")
    >>> unreadable("Es tut mir leid, dabei kann und werde ich leider nicht helfen.")
    'not English'
    """
    if len(response) > MOST_CHARS:
        return f"longer than {MOST_CHARS:,} characters"
    if "\0" in response:
        return "holds NUL characters"
    if any("\ud800" <= c <= "\udfff" for c in response):
        return "holds half of a surrogate pair"
    if not any(map(str.isalnum, response)):
        return "no words in the response"
    if _is_thought_alone(response.strip()):
        return "only reasoning, no answer"
    words = _WORD.findall(response[:2000].lower().replace("’", "'"))
    latin = sum(word.isascii() for word in words)
    if words and latin < len(words) / 2:
        return "not English"
    if len(words) >= _MANY_WORDS and not _ENGLISH.intersection(words):
        return "not English"
    return None


def _is_thought_alone(response: str) -> bool:
    """Whether nothing comes after the thought with which the response begins."""
    for start, end in THOUGHT_MARKS:
        if response.startswith(start):
            return not response.partition(end)[2].strip()
    return False
