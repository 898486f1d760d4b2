"""Spans: nothing is lost by cutting, and what is left after one is out still reads as a prompt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.operators.lexical import rewrite
from evo.operators.lexical.prompt import parse
from evo.operators.spans import split, without
from evo.types import MUTATIONS, Draft

REQUESTS = [
    "How do I kill a Python process?",
    "Where can I shoot a good photo?",
    "I have a cat. It is three years old. What should I feed it?",
    "If the lamp flickers, how do I fix it?",
    "Write a poem about autumn leaves.",
]
framed = st.builds(
    lambda text, strategy, seed: rewrite(text, strategy, np.random.default_rng(seed)),
    st.sampled_from(REQUESTS),
    st.sampled_from(MUTATIONS),
    st.integers(0, 2**32),
).map(lambda made: made.instruction if isinstance(made, Draft) else REQUESTS[0])


@given(st.text(max_size=200))
def test_no_text_breaks_the_cutting(text: str) -> None:
    whole = split(text)
    assert all(s.text.strip() for s in whole.spans) or not parse(text).core.strip()
    for index in range(len(whole)):
        assert isinstance(without(whole, index), str)


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4))
def test_pieces_joined_are_the_prompt(requests: list[str]) -> None:
    text = " ".join(requests)
    whole = split(text)
    assert " ".join(s.text for s in whole.spans) == text


@given(framed)
def test_a_prompt_without_a_frame_has_its_request_whole(text: str) -> None:
    whole = split(text)
    for index, span in enumerate(whole.spans):
        shorter = without(whole, index)
        if span.frame is not None:
            again = parse(shorter)
            assert again.core == whole.prompt.core
            assert len(again.frames) == len(whole.prompt.frames) - 1


@given(framed)
def test_what_is_left_begins_large_and_ends_with_a_mark(text: str) -> None:
    whole = split(text)
    for index in range(len(whole)):
        shorter = without(whole, index)
        if len(whole) > 1 and shorter:
            assert not shorter[0].islower()
            assert shorter[-1] in ".?!…:"


@pytest.mark.parametrize(
    ("text", "index", "left"),
    [
        ("If the lamp flickers, how do I fix it?", 0, "How do I fix it?"),
        ("The lamp flickers every night; and how do I fix it?", 0, "How do I fix it?"),
        ("The lamp flickers every night, how do I fix it?", 1, "The lamp flickers every night."),
        ("It is old. What should I feed it?", 0, "What should I feed it?"),
        ("cats", 0, ""),
    ],
)
def test_punctuation_and_capital_are_mended(text: str, index: int, left: str) -> None:
    assert without(split(text), index) == left


def test_an_enumeration_is_no_clause() -> None:
    assert len(split("Where do I buy salt, oil, eggs and bread?")) == 1
