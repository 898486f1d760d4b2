"""Which topic to work on next. Each topic is an island whose parents meet each other alone, but for
migration. Knows topics and yields, no members.

Thompson sampling on the recent yield, shared among what the topic has given already (fitness sharing:
Goldberg and Richardson 1987), with a floor: a topic that gave nothing for a while may give again once its
parents have changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOOR = 0.2  # share of choices that go to all islands alike
_PRIOR = (1.0, 4.0)  # wins and losses behind every island
_FORGETTING = 0.99  # of an island's own record, at each of its outcomes
_SHARING = 2.0  # power with which a topic that has given more than the others loses weight

Topic = str | None


class Islands:
    """Discounted Beta posterior over *a proposal of this island became a new niche*."""

    def __init__(self) -> None:
        self._record: dict[Topic, tuple[float, float]] = {}  # wins, losses
        self._given: dict[Topic, int] = {}  # over-refusals of each so far

    def choose(self, topics: Sequence[Topic], rng: np.random.Generator) -> Topic:
        """One of the topics that have somebody.

        Raises:
            ValueError: there are none.
        """
        if not topics:
            raise ValueError("no island to choose from: give at least one topic")
        if len(topics) == 1:
            return topics[0]
        if rng.random() < FLOOR:
            return topics[int(rng.integers(len(topics)))]
        record = np.array([self._record.get(topic, (0.0, 0.0)) for topic in topics])  # (n, 2)
        drawn = rng.beta(_PRIOR[0] + record[:, 0], _PRIOR[1] + record[:, 1])
        given = np.array([self._given.get(topic, 0) for topic in topics], dtype=np.float64)
        shared = drawn / (1.0 + given / max(1.0, float(given.mean()))) ** _SHARING
        return topics[int(shared.argmax())]

    def learn(self, topic: Topic, won: bool, *, over_refusal: bool = False) -> None:
        """Note how a proposal from an island ended, and whether it gave an over-refusal at all."""
        self._given[topic] = self._given.get(topic, 0) + over_refusal
        wins, losses = (_FORGETTING * x for x in self._record.get(topic, (0.0, 0.0)))
        self._record[topic] = (wins + won, losses + (not won))
