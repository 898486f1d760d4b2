"""Niches: numbered in the order in which they were opened, and bounded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evo.niches import Niches

AXES: NDArray[np.float32] = np.eye(12, dtype=np.float32)  # nobody is anybody's neighbour


def test_what_is_near_an_earlier_one_has_its_number() -> None:
    niches = Niches()
    beside = (0.9 * AXES[0] + np.sqrt(1 - 0.81) * AXES[5]).astype(np.float32)
    assert [niches.enter(v) for v in (AXES[0], AXES[1], beside, AXES[1])] == [
        (0, True),
        (1, True),
        (0, False),
        (1, False),
    ]


def test_a_niche_keeps_its_number_when_older_ones_are_forgotten() -> None:
    niches = Niches(most=4)
    assert [niches.enter(v) for v in AXES[:6]] == [(n, True) for n in range(6)]
    assert len(niches) == 4
    assert [niches.enter(v) for v in AXES[2:6]] == [(n, False) for n in range(2, 6)]
    assert niches.enter(AXES[0]) == (6, True)  # forgotten, so it is new again
    assert niches.enter(AXES[3]) == (3, False)
