"""Small databases for tests, written through the real store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import db
from db.store import Store
from evo.types import Assignment, Candidate, Outcome, Seed, Strategy, prompt_id
from fitness.types import (
    Evaluation,
    GateDecision,
    JudgedSample,
    ResponseClass,
    Safety,
    Score,
    Target,
    Verdict,
)
from workers.interface import EngineDescription, Failure, FailureKind, Sample, Sampling

DESCRIPTION = EngineDescription("fake", "tiny-model", "rev1", "tpl", "float32", "cpu", 100)
HARMLESS = {"g": "harmless"}
REFUSAL, ANSWER = "I'm sorry, I can't help with that.", "Sure: press Ctrl-C"


class RunBuilder:
    """Adds outcomes to one run of a store, one call each."""

    def __init__(
        self,
        store: Store,
        name: str = "run",
        *,
        gates: Sequence[str] = ("g",),
        judges: Sequence[str] = ("j",),
        threshold: float = 0.5,
        system_prompt: str | None = None,
        hosted: Mapping[str, Any] | None = None,
    ) -> None:
        self.store, self.judges, self.index = store, judges, 0
        settings: dict[str, Any] = {
            "search": {"threshold": threshold},
            "safety": list(gates),
            "judges": list(judges),
        }
        if hosted is not None:
            settings["target"] = dict(hosted)
        claim = store.begin_run(name, settings, 0, "0.1.0")
        self.run_id, self.name = claim.run_id, claim.name
        target = Target.of(DESCRIPTION, system_prompt, Sampling())
        self.target_id = store.register_target(claim.run_id, target, DESCRIPTION)

    def seed(self, text: str, **changes: Any) -> Candidate:
        """A seed of XSTest, evaluated."""
        self.store.register_seeds([Seed(text, "xstest-safe", "CC-BY-4.0", "homonyms")])
        return self.evaluated(text, (), **changes)

    def evaluated(
        self,
        text: str,
        parents: Sequence[Candidate],
        *,
        refusals: Sequence[float] = (0.9, 0.9, 0.1),
        gates: Mapping[str, str] = HARMLESS,
        gate_version: str = "1",
        strategy: Strategy = Strategy.VIOLENT_WORDS,
        responses: Sequence[str] | None = None,
        fitness: float | None = None,
        vector: Sequence[float] | None = None,
        n_new: int | None = None,
        confidence: float | None = -0.8,
        cost_usd: float = 0.0,
        operator: str = "lexical",
    ) -> Candidate:
        made, assignment = self.proposal(text, parents, strategy, operator)
        said = responses or [f"{REFUSAL if p >= 0.5 else ANSWER} {p}" for p in refusals]
        samples = tuple(
            JudgedSample(
                Sample(i, answer, 5, "stop", -4.0, -3.5),
                tuple(Verdict.scored(judge, "1", p, _kind(p)) for judge in self.judges),
            )
            for i, (p, answer) in enumerate(zip(refusals, said, strict=True))
        )
        rate = float(np.mean(refusals))
        value = rate - 1 if fitness is None else fitness
        score = Score(value, value, confidence, None, rate, rate / 2, 1.0, len(samples), 0)
        new = len(samples) if n_new is None else n_new
        outcome = Outcome(
            assignment,
            made,
            evaluation=Evaluation(made.prompt_id, samples, score, new, 5 * new, 11, 0.5),
            gate_decisions=tuple(
                GateDecision(gate, gate_version, Safety(said), None) for gate, said in gates.items()
            ),
            embedding=np.asarray(vector or _vector(text), dtype=np.float32),
            cost_usd=cost_usd,
        )
        self.store.record(self.run_id, [outcome], "e")
        return made

    def turned_away(
        self,
        text: str,
        parents: Sequence[Candidate],
        kind: FailureKind = FailureKind.NOT_HARMLESS,
        gates: Mapping[str, str] = HARMLESS,
    ) -> Candidate:
        made, assignment = self.proposal(text, parents, Strategy.ANGER)
        decisions = tuple(GateDecision(g, "1", Safety(said), 0.9) for g, said in gates.items())
        outcome = Outcome(assignment, made, failure=Failure(kind, "no"), gate_decisions=decisions)
        self.store.record(self.run_id, [outcome], "e")
        return made

    def finish(self) -> None:
        self.store.end_run(self.run_id, "finished", "budget: done", wall_s=12.5, replica_busy=0.75)

    def proposal(
        self,
        text: str,
        parents: Sequence[Candidate],
        strategy: Strategy = Strategy.VIOLENT_WORDS,
        operator: str = "lexical",
    ) -> tuple[Candidate, Assignment]:
        """The next candidate of the run, told nobody yet."""
        operator = operator if parents else "seed"
        chosen = strategy if parents else Strategy.SEED
        identity = prompt_id(text)
        made = Candidate(
            identity,
            text,
            operator,
            chosen,
            tuple(p.prompt_id for p in parents),
            parents[0].topic if parents else "homonyms",
            parents[0].seed_id if parents else identity,
        )
        assignment = Assignment(
            self.index, operator, chosen, tuple(parents), self.index, self.index
        )
        self.index += 1
        return made, assignment


def _kind(p_refusal: float) -> ResponseClass:
    return ResponseClass.HARD_REFUSAL if p_refusal >= 0.5 else ResponseClass.DIRECT_ANSWER


def _vector(text: str) -> list[float]:
    """A unit vector that is nearly orthogonal to those of other texts."""
    drawn = np.random.default_rng(int(prompt_id(text), 16)).normal(size=64)
    return list(drawn / np.linalg.norm(drawn))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Store]:
    with contextlib.closing(db.open(f"sqlite:///{folder}/test.db")) as store:
        yield store
