"""Whether replicas fit a cluster, before anything starts: arithmetic over plain numbers.

A replica is one or more bundles (one for each pipeline stage); a bundle takes its GPUs and cores from
one node. Knows nothing of Ray: `workers.cluster.nodes` brings the numbers, `evo.wiring` the needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Whether bundles fit exactly is a packing problem; after so many tries Ray may try for itself.
_MOST_STEPS = 20_000
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Node:
    """One machine, or one that the autoscaler may add. `cpus` and `gpus` are what Ray offers of it."""

    name: str
    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Need:
    """The replicas of one pool: each takes `stages` bundles of `gpus` and `cpus`."""

    pool: str
    replicas: int
    cpus: float
    gpus: float = 0.0
    stages: int = 1

    @property
    def bundles(self) -> int:
        return self.replicas * self.stages


def problem(nodes: Sequence[Node], needs: Sequence[Need]) -> str | None:
    """Why these pools cannot run on these nodes, in one line; None when they can.

    >>> problem([Node("a", 8, 2), Node("b", 8, 2)], [Need("target", 1, 1, 4)])
    'target: needs 4 GPUs on one node, the largest node has 2'
    >>> problem([Node("a", 8, 2), Node("b", 8, 2)], [Need("target", 2, 1, 2)]) is None
    True
    """
    needs = [need for need in needs if need.bundles]
    for need in needs:
        found = _too_large(nodes, need)
        if found is not None:
            return found
    for unit, asked, there in (
        ("GPU", sum(n.gpus * n.bundles for n in needs), sum(n.gpus for n in nodes)),
        ("CPU core", sum(n.cpus * n.bundles for n in needs), sum(n.cpus for n in nodes)),
    ):
        if asked > there + _EPSILON:
            return (
                f"{_named(needs)} need {_count(asked, unit)} in all, "
                f"the cluster has {_number(there)}"
            )
    if not _fits(nodes, needs):
        each = ", ".join(
            f"{need.bundles} x {_count(need.gpus, 'GPU')} and {_count(need.cpus, 'CPU core')}"
            for need in needs
        )
        return f"{_named(needs)}: {each} do not fit the nodes ({_listed(nodes)})"
    return None


def even_share(nodes: Sequence[Node], replicas: int) -> int:
    """Cores that so many equal replicas can share when each of them lies on one node: a multiple of
    `replicas`, or all cores where there are fewer than replicas.

    >>> even_share([Node("a", 8)], 2), even_share([Node("a", 4), Node("b", 4)], 1)
    (8, 4)
    >>> even_share([Node("a", 2)], 4)
    2
    """
    most = int(max((node.cpus for node in nodes), default=0.0))
    for cores in range(most, 0, -1):
        if sum(int(node.cpus // cores) for node in nodes) >= replicas:
            return cores * replicas
    return max(1, sum(int(node.cpus) for node in nodes))


def left_over(nodes: Sequence[Node], needs: Sequence[Need]) -> list[Node]:
    """What these pools leave of the nodes; a bundle that fits nowhere takes nothing.

    >>> left_over([Node("a", 8, 1)], [Need("target", 1, 2, 1)])
    [Node(name='a', cpus=6, gpus=0)]
    """
    rest = list(nodes)
    for need in needs:
        for _ in range(need.bundles):
            for index, node in enumerate(rest):
                if _holds((node.gpus, node.cpus), need):
                    rest[index] = Node(node.name, node.cpus - need.cpus, node.gpus - need.gpus)
                    break
    return rest


def _too_large(nodes: Sequence[Node], need: Need) -> str | None:
    """A bundle that no single node can hold."""
    gpus, cpus = (
        max((n.gpus for n in nodes), default=0.0),
        max((n.cpus for n in nodes), default=0.0),
    )
    if need.gpus > gpus + _EPSILON:
        has = f"the largest node has {_number(gpus)}" if gpus else "the cluster has none"
        return f"{need.pool}: needs {_count(need.gpus, 'GPU')} on one node, {has}"
    if need.cpus > cpus + _EPSILON:
        return (
            f"{need.pool}: needs {_count(need.cpus, 'CPU core')} on one node, "
            f"the largest node has {_number(cpus)}"
        )
    if not any(_holds((n.gpus, n.cpus), need) for n in nodes):
        return (
            f"{need.pool}: needs {_count(need.gpus, 'GPU')} and {_count(need.cpus, 'CPU core')} "
            f"on one node; the nodes: {_listed(nodes)}"
        )
    return None


def _fits(nodes: Sequence[Node], needs: Sequence[Need]) -> bool:
    """Search for a place for each bundle, the largest first. True as well when it takes too long."""
    bundles = [
        need
        for need in sorted(needs, key=lambda n: (n.gpus, n.cpus), reverse=True)
        for _ in range(need.bundles)
    ]
    free = [(node.gpus, node.cpus) for node in nodes]
    steps = 0

    def place(first: int) -> bool:
        nonlocal steps
        if first == len(bundles):
            return True
        need = bundles[first]
        tried = set()
        # The tightest node first, so that large holes stay.
        for index in sorted(range(len(free)), key=lambda i: free[i]):
            room = free[index]
            if room in tried or not _holds(room, need):
                continue
            tried.add(room)  # an equal node would fail in the same way
            steps += 1
            if steps > _MOST_STEPS:
                return True
            free[index] = (room[0] - need.gpus, room[1] - need.cpus)
            if place(first + 1):
                return True
            free[index] = room
        return False

    # Hundreds of equal bundles need no search: deep recursion would only repeat itself.
    if len(bundles) > 200:
        return _greedy(free, bundles)
    return place(0)


def _greedy(free: list[tuple[float, float]], bundles: Sequence[Need]) -> bool:
    """First fit; when it fails with bundles of several kinds, the question stays open: True."""
    for need in bundles:
        index = next((i for i, room in enumerate(free) if _holds(room, need)), None)
        if index is None:
            return len({(b.gpus, b.cpus) for b in bundles}) > 1
        free[index] = (free[index][0] - need.gpus, free[index][1] - need.cpus)
    return True


def _holds(room: tuple[float, float], need: Need) -> bool:
    return need.gpus <= room[0] + _EPSILON and need.cpus <= room[1] + _EPSILON


def _named(needs: Sequence[Need]) -> str:
    names = [f"{need.pool} ({need.replicas} replicas)" for need in needs]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def _listed(nodes: Sequence[Node]) -> str:
    return ", ".join(_kinds(nodes))


def _kinds(nodes: Sequence[Node]) -> Iterator[str]:
    """Nodes of equal size once, with their number."""
    sizes = [(node.gpus, node.cpus) for node in nodes]
    for gpus, cpus in dict.fromkeys(sorted(sizes, reverse=True)):
        n = sizes.count((gpus, cpus))
        yield f"{n} x {_count(gpus, 'GPU')} and {_count(cpus, 'CPU core')}"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _count(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}" + ("" if value == 1 else "s")
