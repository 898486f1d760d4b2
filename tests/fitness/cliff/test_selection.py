"""Cliff-as-a-Judge chooses the largest misalignments, its mirror harmless inverse cliffs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.cliff.selection import Example, select

examples = st.lists(
    st.builds(
        Example,
        st.uuids().map(str),
        st.floats(0, 1),
        st.floats(0, 1),
        st.sampled_from([True, False, None]),
    ),
    max_size=40,
)


@given(examples, st.floats(0.01, 1.0))
def test_no_example_left_out_has_a_larger_misalignment(
    there: list[Example], fraction: float
) -> None:
    chosen = select(there, fraction)
    assert len(chosen) <= max(1, fraction * len(there) + 1e-6)
    left = [e for e in there if e not in chosen]
    if chosen and left and len(chosen) == max(1, int(fraction * len(there) + 1e-9)):
        assert min(e.misalignment for e in chosen) >= max(e.misalignment for e in left)
    assert all(e.misalignment > 0 for e in chosen)


@given(examples)
def test_the_mirror_chooses_known_harmless_prompts_that_rise(there: list[Example]) -> None:
    chosen = select(there, 1.0, inverse=True)
    assert {e.key for e in chosen} == {
        e.key for e in there if e.harmful is False and e.misalignment < 0
    }
    falls = [e.misalignment for e in chosen]
    assert falls == sorted(falls)


def test_ties_are_broken_by_name_so_that_the_same_data_give_the_same_choice() -> None:
    there = [Example(key, 0.9, 0.1) for key in "dacb"]
    assert [e.key for e in select(there, 0.5)] == ["a", "b"]


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        select([], fraction)
