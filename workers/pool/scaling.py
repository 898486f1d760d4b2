"""How many replicas there should be. Pure: numbers in, a number out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replicas:
    """Between `min` and `max` replicas; equal numbers: always so many."""

    min: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.max:
            raise ValueError(f"replicas: 1 <= min <= max, got min {self.min}, max {self.max}")

    @classmethod
    def fixed(cls, n: int) -> Replicas:
        return cls(n, n)


def to_add(limits: Replicas, *, present: int, starting: int, waiting: int, in_flight: int) -> int:
    """Replicas to start now: enough for the calls that wait, less those that are on their way.

    Args:
        present: replicas that there are, those that are starting included.
        waiting: calls for which no replica has room.
        in_flight: calls that one replica takes.

    >>> to_add(Replicas(1, 8), present=2, starting=0, waiting=5, in_flight=2)
    3
    >>> to_add(Replicas(1, 8), present=5, starting=3, waiting=5, in_flight=2)
    0
    """
    needed = -(-waiting // in_flight) - starting
    return max(0, min(needed, limits.max - present))


def to_retire(limits: Replicas, *, present: int, idle: int, waiting: int) -> int:
    """Replicas to let go of now, of `idle` ones that have had nothing to do for long enough.

    >>> to_retire(Replicas(1, 8), present=3, idle=3, waiting=0)
    2
    """
    return 0 if waiting else max(0, min(idle, present - limits.min))
