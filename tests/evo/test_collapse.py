"""The watch counts clusters of the last over-refusals as if it counted all of them anew."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.collapse import WINDOW, CollapseWatch, effective_clusters


@given(st.lists(st.integers(0, 60), min_size=1, max_size=3 * WINDOW))
def test_what_it_keeps_up_to_date_is_what_the_last_clusters_give(clusters: list[int]) -> None:
    watch = CollapseWatch()
    for cluster in clusters:
        watch.note(cluster)
    sizes = Counter(clusters[-WINDOW:]).values()
    assert watch.effective == pytest.approx(effective_clusters(sizes))
