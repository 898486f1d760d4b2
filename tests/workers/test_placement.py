"""Placement: what fits is never refused, what cannot fit is named with the numbers that matter."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.placement import Need, Node, even_share, left_over, problem

SMALL = [Node("a", 8, 2), Node("b", 8, 2)]


@pytest.mark.parametrize(
    ("nodes", "needs", "said"),
    [
        (
            SMALL,
            [Need("target", 1, 1, 4)],
            "target: needs 4 GPUs on one node, the largest node has 2",
        ),
        (
            [Node("a", 8)],
            [Need("target", 1, 1, 1)],
            "target: needs 1 GPU on one node, the cluster has none",
        ),
        (
            [],
            [Need("target", 1, 1)],
            "target: needs 1 CPU core on one node, the largest node has 0",
        ),
        (SMALL, [Need("target", 1, 16)], "needs 16 CPU cores on one node, the largest node has 8"),
        (
            SMALL,
            [Need("target", 3, 1, 1), Need("proposer", 1, 1, 2)],
            "target (3 replicas) and proposer (1 replicas) need 5 GPUs in all, the cluster has 4",
        ),
        (SMALL, [Need("target", 20, 1)], "target (20 replicas) need 20 CPU cores in all"),
        (
            [Node("gpu", 2, 4), Node("cpu", 64)],
            [Need("target", 1, 4, 4)],
            "needs 4 GPUs and 4 CPU cores on one node; the nodes: 1 x 4 GPUs and 2 CPU cores, "
            "1 x 0 GPUs and 64 CPU cores",
        ),
        (
            [Node("a", 8, 3), Node("b", 8, 3)],
            [Need("target", 3, 1, 2)],
            "target (3 replicas): 3 x 2 GPUs and 1 CPU core do not fit the nodes (2 x 3 GPUs",
        ),
    ],
)
def test_what_cannot_fit_is_named_with_its_numbers(
    nodes: list[Node], needs: list[Need], said: str
) -> None:
    found = problem(nodes, needs)
    assert found is not None
    assert said in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("nodes", "needs"),
    [
        (SMALL, []),
        (SMALL, [Need("target", 4, 1, 1)]),
        (SMALL, [Need("target", 8, 2, 0.5)]),
        # Pipeline stages may lie on different nodes; one stage may not.
        (SMALL, [Need("target", 1, 1, 2, stages=2)]),
        # First fit, the smaller ones first, would not find this.
        ([Node("a", 8, 4), Node("b", 8, 3)], [Need("x", 1, 1, 3), Need("y", 2, 1, 2)]),
        ([Node(str(i), 8, 8) for i in range(256)], [Need("target", 2048, 1, 1)]),
    ],
)
def test_what_fits_is_not_refused(nodes: list[Node], needs: list[Need]) -> None:
    assert problem(nodes, needs) is None


def packs(nodes: Sequence[Node], bundles: Sequence[Need]) -> bool:
    """By trying every place of every bundle."""
    for places in product(range(len(nodes)), repeat=len(bundles)):
        free = [[node.gpus, node.cpus] for node in nodes]
        for place, bundle in zip(places, bundles, strict=True):
            free[place][0] -= bundle.gpus
            free[place][1] -= bundle.cpus
        if all(room >= 0 for pair in free for room in pair):
            return True
    return False


node = st.builds(Node, st.just("n"), st.integers(0, 4), st.integers(0, 4))
need = st.builds(Need, st.just("p"), st.integers(1, 2), st.integers(0, 3), st.integers(0, 3))


@settings(deadline=None)
@given(st.lists(node, min_size=1, max_size=3), st.lists(need, min_size=1, max_size=2))
def test_it_agrees_with_trying_every_place(nodes: list[Node], needs: list[Need]) -> None:
    bundles = [n for n in needs for _ in range(n.bundles)]
    assert (problem(nodes, needs) is None) == packs(nodes, bundles)


@given(st.lists(node, min_size=1, max_size=4), st.integers(1, 6))
def test_equal_shares_of_cores_fit_their_nodes(nodes: list[Node], replicas: int) -> None:
    share = even_share(nodes, replicas) / replicas
    if share >= 1 and any(n.cpus for n in nodes):
        assert share == int(share)
        assert problem(nodes, [Need("target", replicas, share)]) is None


def test_shares_are_of_what_the_others_leave() -> None:
    rest = left_over(SMALL, [Need("target", 4, 1, 1)])
    assert [(n.cpus, n.gpus) for n in rest] == [(6, 0), (6, 0)]
    assert even_share(rest, 2) == 12
