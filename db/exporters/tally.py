"""What a card counts, gathered while the prompts go by: no prompt is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from db.exporters.belongings import TargetRow
from db.exporters.eligible import Eligible
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

    def add(self, prompts: Sequence[Eligible]) -> None:
        if not prompts:
            return
        self.n += len(prompts)
        self.strategies.update([e.strategy for e in prompts])
        self.topics.update([e.topic or "" for e in prompts])
        self.licences.update(
            [(e.seed.source or "unknown", e.seed.licence or "not stated") for e in prompts]
        )
        self.targets |= {e.target.target_id: e.target for e in prompts}
        self.runs |= {e.run.run_id: e.run for e in prompts}
        self.judges.update(*{e.judges for e in prompts})
        for gates in {e.gates for e in prompts}:
            self.gates.update(gate.rpartition(":")[0] for gate in gates)
        self.lowest = min(self.lowest, min(e.refusal_rate for e in prompts))
        self.answers_cut += sum(
            e.answer is not None and e.answer.finish_reason == "length" for e in prompts
        )
