from __future__ import annotations

import gc
import weakref

import pytest

from evo.collecting import in_small_steps


class Node:
    def __init__(self) -> None:
        self.other: Node | None = None


def ring() -> weakref.ref[Node]:
    a, b = Node(), Node()
    a.other, b.other = b, a
    return weakref.ref(a)


def test_what_has_been_looked_at_is_set_aside() -> None:
    with in_small_steps():
        kept = [Node() for _ in range(1_000)]
        before = gc.get_freeze_count()
        gc.collect()
        assert gc.get_freeze_count() >= before + len(kept)
        assert not any(isinstance(o, Node) for o in gc.get_objects())


def test_rings_are_still_collected() -> None:
    with in_small_steps():
        lost = ring()
        gc.collect()
        assert lost() is None


def test_afterwards_the_collector_is_as_before() -> None:
    callbacks, thresholds = list(gc.callbacks), gc.get_threshold()
    with pytest.raises(KeyError), in_small_steps(), in_small_steps():
        raise KeyError
    assert gc.callbacks == callbacks
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0


def test_the_inner_end_is_not_the_outer_one() -> None:
    with in_small_steps():
        with in_small_steps():
            pass
        kept = [Node()]
        gc.collect()
        assert gc.get_freeze_count() > 0
        assert kept
