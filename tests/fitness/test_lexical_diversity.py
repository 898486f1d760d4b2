"""HD-D and MTLD against hand-made cases and an independent implementation's figures."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.metrics import hdd, mtld


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=7), st.data())
def test_hdd_is_the_mean_ratio_of_all_draws(tokens: list[str], data: st.DataObject) -> None:
    draw = data.draw(st.integers(1, len(tokens)))
    each = [len(set(drawn)) / draw for drawn in combinations(tokens, draw)]
    assert hdd(tokens, draw) == pytest.approx(sum(each) / len(each))


def test_mtld_of_hand_made_texts() -> None:
    # Forwards "a b a" falls to 2/3: one factor, then "b a b" likewise; backwards alike.
    assert mtld(["a", "b", "a", "b", "a", "b"]) == 3.0
    # No factor is full: 1 - 3/4 of 1 - 0.72.
    assert mtld(["a", "b", "c", "a"], factor=0.72) == pytest.approx(4 / ((1 - 0.75) / 0.28))
    assert mtld(["a", "b", "c"]) == 3.0  # nothing repeats: as long as the text


HDD, MTLD = 0.5250639391922238, 27.73209549071618


def test_figures_are_those_of_lexicalrichness() -> None:
    """Of the package lexicalrichness 0.5.1, over a made text."""
    tokens = [str(n * n % 41 if n % 3 else n % 17) for n in range(300)]
    assert hdd(tokens) == pytest.approx(HDD, rel=1e-9)
    assert mtld(tokens) == pytest.approx(MTLD)


@pytest.mark.parametrize("tokens", [[], ["a"] * 41])
def test_a_text_that_is_too_short_has_no_hdd(tokens: list[str]) -> None:
    with pytest.raises(ValueError, match="hdd draws 42 tokens"):
        hdd(tokens)
