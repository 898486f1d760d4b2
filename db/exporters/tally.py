"""What a card counts, gathered while the prompts go by: no prompt is kept."""

from __future__ import annotations

from collections import Counter

from db.exporters.belongings import TargetRow
from db.exporters.eligible import Prompts
from db.found import RunFacts


class Tally:
    """Counts over the prompts of an export."""

    def __init__(self) -> None:
        self.n = 0
        self.strategies: Counter[str] = Counter()
        self.topics: Counter[str] = Counter()  # "" for none
        self.licences: Counter[tuple[str, str]] = Counter()  # source and licence of the seed
        self.targets: dict[str, TargetRow] = {}
        self.runs: dict[str, RunFacts] = {}
        self.judges: set[str] = set()  # name@version
        self.gates: set[str] = set()
        self.lowest = 1.0  # refusal rate
        self.answers_cut = 0  # at the limit of tokens

    def add(self, prompts: Prompts) -> None:
        if not len(prompts):
            return
        self.n += len(prompts)
        self.strategies.update(prompts.strategy)
        self.topics.update([topic or "" for topic in prompts.topic])
        self.licences.update(
            [(seed.source or "unknown", seed.licence or "not stated") for seed in prompts.seed]
        )
        self.targets |= {target.target_id: target for target in prompts.target}
        self.runs |= {run.run_id: run for run in prompts.run}
        self.judges.update(*set(prompts.judges))
        for gates in set(prompts.gates):
            self.gates.update(gate.rpartition(":")[0] for gate in gates)
        self.lowest = min(self.lowest, min(prompts.refusal_rate))
        self.answers_cut += sum(
            answer is not None and answer.finish_reason == "length" for answer in prompts.answer
        )
