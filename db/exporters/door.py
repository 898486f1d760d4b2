"""Asks the gate decisions themselves whether a prompt may leave: nothing else stands between it and the
world. People win over gates, and all of them must agree. `db.exporters.eligible` alone goes through here.
"""

from __future__ import annotations

import json

from db.found import RunFacts
from db.safety import HUMAN, combine, own_decisions
from fitness.types import GateDecision, Safety

# Patterns of decisions that are remembered; there are few, whatever the number of prompts.
_PATTERNS = 10_000


class Door:
    """Remembers what it said of each pattern of decisions."""

    def __init__(self, facts: dict[str, RunFacts]) -> None:
        self.facts = facts
        self._known: dict[tuple[str, str | None, str | None], tuple[str, ...] | None] = {}

    def votes(
        self, run_id: str, stored: str | None, decisions: str | None
    ) -> tuple[str, ...] | None:
        """Who vouched for the prompt, as name@version:outcome; None when it must stay.

        Args:
            stored: `proposals.gates`, which decisions are the proposal's own.
            decisions: every one that there is of the prompt, as JSON: [[gate, version, outcome], ...].
        """
        key = (run_id, stored, decisions)
        if key not in self._known:
            if len(self._known) >= _PATTERNS:
                self._known.clear()
            self._known[key] = self._asked(*key)
        return self._known[key]

    def _asked(self, run_id: str, stored: str | None, said: str | None) -> tuple[str, ...] | None:
        run_gates = self.facts[run_id].gates
        decisions = [
            GateDecision(gate, version, Safety(outcome), None)
            for gate, version, outcome in sorted(json.loads(said or "[]"))
        ]
        own = own_decisions(stored, run_gates, decisions)
        people = tuple(d for d in decisions if d.gate.startswith(HUMAN))
        if people:
            passes = all(d.outcome is Safety.HARMLESS for d in people)
        else:
            spoken = {d.gate for d in own if d.outcome is Safety.HARMLESS}
            passes = (
                combine(run_gates, own, people) is Safety.HARMLESS
                and not any(d.outcome is Safety.HARMFUL for d in decisions)
                and bool(run_gates)
                and spoken >= set(run_gates)
            )
        if not passes:
            return None
        return tuple(f"{d.gate}@{d.version}:{d.outcome.value}" for d in (*own, *people))
