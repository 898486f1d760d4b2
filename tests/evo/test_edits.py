"""Edits over words: applying them gives the text that they say, and a difference leads where it should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.edits import Edit, apply, difference, joined, n_words, removal, spans, words

WORD = st.text("abcde", min_size=1, max_size=4)
TEXT = st.lists(WORD, min_size=1, max_size=12).map(" ".join)


@given(TEXT, TEXT)
def test_a_difference_applied_gives_the_other_text(one: str, other: str) -> None:
    edits = [edit for group in difference(one, other) for edit in group]
    assert apply(one, edits) == other
    assert apply(one, joined(edits)) == other


@given(TEXT, st.data())
def test_words_that_are_taken_out_are_gone_and_no_others(text: str, data: st.DataObject) -> None:
    n = len(words(text))
    start = data.draw(st.integers(0, n - 1))
    end = data.draw(st.integers(start + 1, n))
    edits = removal(text, start, end)
    plain = words(text)
    assert words(apply(text, edits)) == plain[:start] + plain[end:]
    (edit,) = joined(edits)
    assert (edit.start, edit.end, n_words([edit])) == (start, end, end - start)


@given(TEXT)
def test_a_span_is_never_the_whole_text(text: str) -> None:
    assert all(0 <= a < b <= len(words(text)) and b - a < len(words(text)) for a, b in spans(text))


def test_line_breaks_outside_an_edit_stay() -> None:
    text = "Read this:\n  one two\nthree"
    assert apply(text, [Edit(2, ("one",), ("uno",))]) == "Read this:\n  uno two\nthree"
    assert apply(text, [Edit(3, ("two",), ("a", "b"))]) == "Read this:\n  one a b\nthree"


def test_capital_and_end_mark_are_set_again() -> None:
    text = "Damn, how do I open a jar in a rage?"
    assert apply(text, [Edit(0, ("Damn,",))]) == "How do I open a jar in a rage?"
    assert apply(text, removal(text, 7, 10)) == "Damn, how do I open a jar?"


def test_an_edit_of_another_text_is_refused() -> None:
    with pytest.raises(ValueError, match="'kill' does not stand there"):
        apply("How do I stop it?", [Edit(3, ("kill",))])


def test_frames_of_the_grammar_and_clauses_are_spans() -> None:
    text = "How the hell do I open a jar, if it is old?"
    found = [" ".join(words(text)[a:b]) for a, b in spans(text)]
    assert "the hell" in found
    assert "if it is old?" in found
