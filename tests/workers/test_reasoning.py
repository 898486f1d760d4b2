"""Thoughts and answers are told apart, for every family of marks, and put together again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import reasoning
from workers.reasoning import FAMILIES, THINK, join, opened_by, split

LINES = st.text(alphabet="abc .\n", min_size=1).map(str.strip).filter(bool)


@pytest.mark.parametrize("marks", FAMILIES, ids=lambda m: m.open)
@given(thought=LINES, answer=LINES)
def test_what_is_joined_splits_into_the_same(
    marks: reasoning.Marks, thought: str, answer: str
) -> None:
    assert split(join(thought, answer, marks)) == (thought, answer)
    inside = join(thought, answer, marks, opened=marks)
    assert split(inside, opened=marks) == (thought, answer)


@pytest.mark.parametrize("marks", FAMILIES, ids=lambda m: m.open)
def test_a_cut_thought_is_no_answer(marks: reasoning.Marks) -> None:
    assert split(f"{marks.open}\nI was cut") == ("I was cut", "")
    assert split("I was cut", opened=marks) == ("I was cut", "")
    assert join("I was cut", "", marks).endswith("I was cut")


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("fine</think> Yes.", "fine", "Yes."),  # opened in a prompt that nobody saw
        ("<think></think>Yes.", "", "Yes."),
        ("  \n<think>a</think>\n\nb </think> c", "a", "b </think> c"),
        ("Write <think> first.", None, "Write <think> first."),
        ("<answer>1</reasoning>", None, "<answer>1</reasoning>"),
        ("<|channel|>final<|message|>Yes.", None, "Yes."),
        ("", None, ""),
    ],
)
def test_where_thoughts_are(text: str, thought: str | None, answer: str) -> None:
    assert split(text) == (thought, answer)


def test_a_prompt_opens_the_thought_only_where_it_ends_with_the_mark() -> None:
    assert opened_by("<|Assistant|><think>\n") is THINK
    assert opened_by("<think>\n\n</think>\n\n") is None
    assert opened_by("What is <think>?<|im_end|>\n<|im_start|>assistant\n") is None


def test_judges_know_the_marks_of_every_family() -> None:
    from fitness.judges.readable import THOUGHT_MARKS, unreadable
    from workers.reasoning import FAMILIES

    assert {(f.open, f.close) for f in FAMILIES} == set(THOUGHT_MARKS)
    for start, end in THOUGHT_MARKS:
        for alone in (f"{start}I should help", f" {start}I should help{end} \n"):
            assert unreadable(alone) == "only reasoning, no answer"
        assert unreadable(f"{start}I should help{end} I can help with that.") is None
