"""One replica as the pool counts it: its state, its load, and how it did."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from workers.interface import EvocliffError
from workers.pool.hosts import Host
from workers.status import ReplicaState, ReplicaStatus

_RATE_WINDOW_S = 30.0
# What waits at an engine's door while it works on a full batch, so that it never waits itself.
OVERSUBSCRIPTION = 1.1
# Calls that a replica takes when its engine does not say what it batches: one works, one waits.
CALLS_UNSAID = 2


@dataclass(slots=True)
class Seat:
    """Mutable, and the pool's own. `weight` adds up the sequences of the calls that it holds."""

    host: Host
    pool: str
    number: int
    state: ReplicaState = ReplicaState.STARTING
    pid: int | None = None
    load: int = 0
    weight: int = 0
    alone: bool = False  # it holds a suspect, which gets no company
    batch: int | None = None  # sequences that its engine decodes at once; None: it does not say
    finished: int = 0
    deaths_in_a_row: int = 0  # without one answered call between them
    restarts: int = (
        0  # processes lost at work; tells the calls of one process from those of the next
    )
    tokens: int = 0
    error: EvocliffError | None = None
    born_at: float = field(default_factory=time.monotonic)
    idle_since: float = field(default_factory=time.monotonic)
    _busy_since: float | None = None
    _busy_s: float = 0.0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)  # (time, tokens in all)

    @property
    def is_open(self) -> bool:
        """Whether it takes calls at all."""
        return self.state is ReplicaState.READY and not self.alone

    def has_room(self, in_flight: int | None, alone: bool) -> bool:
        """Room for one more call. `in_flight` calls at most; None: 1.1 times what the engine batches,
        two where it does not say."""
        if not self.is_open:
            return False
        if alone or self.load == 0:
            return self.load == 0
        if in_flight is None and self.batch is not None:
            return self.weight < OVERSUBSCRIPTION * self.batch
        return self.load < (CALLS_UNSAID if in_flight is None else in_flight)

    def take(self, weight: int, alone: bool) -> None:
        if self.load == 0:
            self._busy_since = time.monotonic()
        self.load += 1
        self.weight += weight
        self.alone = alone

    def leave(self, weight: int) -> None:
        self.load -= 1
        self.weight -= weight
        if self.load == 0:
            self.alone = False
            self.idle_since = time.monotonic()
            if self._busy_since is not None:
                self._busy_s += self.idle_since - self._busy_since
                self._busy_since = None

    def answered(self, tokens: int) -> None:
        now = time.monotonic()
        self.finished += 1
        self.deaths_in_a_row = 0
        self.tokens += tokens
        self._recent.append((now, self.tokens))
        while now - self._recent[0][0] > _RATE_WINDOW_S and len(self._recent) > 2:
            self._recent.popleft()

    def count_from_now(self) -> None:
        """Loading is over: its life, of which the busy share is taken, begins."""
        self.born_at = self.idle_since = time.monotonic()

    def idle_s(self, now: float) -> float:
        return 0.0 if self.load else now - self.idle_since

    def busy_s(self, now: float) -> float:
        return self._busy_s + (now - self._busy_since if self._busy_since is not None else 0.0)

    def alive_s(self, now: float) -> float:
        return max(1e-9, now - self.born_at)

    def status(self, now: float) -> ReplicaStatus:
        return ReplicaStatus(
            pool=self.pool,
            number=self.number,
            state=self.state,
            pid=self.pid,
            queue=self.load,
            finished=self.finished,
            tokens=self.tokens,
            tokens_per_s=self._tokens_per_s(now),
            busy=min(1.0, self.busy_s(now) / self.alive_s(now)),
            restarts=self.restarts,
        )

    def _tokens_per_s(self, now: float) -> float:
        if not self._recent or now - self._recent[-1][0] > _RATE_WINDOW_S:
            return 0.0
        if len(self._recent) == 1:
            since, before = self.born_at, 0
        else:
            since, before = self._recent[0]
        return (self.tokens - before) / max(1e-9, now - since)
