"""From rows back to values. Knows the tables and the values; opens nothing, writes nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    RowMapping,
    bindparam,
    select,
)

from db.among import among
from db.models import (
    Embedding,
    GateDecision,
    Lineage,
    Opening,
    Proposal,
    ScreenedBy,
)
from db.rows import SCORE_FIELDS, chunks
from evo.types import Assignment, Candidate, Screened, Strategy
from fitness import types as fitness_types
from fitness.targets import Over, combine
from fitness.types import (
    JudgedSample,
    ResponseClass,
    Safety,
    Score,
    ScreenedOut,
    Unscored,
)
from workers.interface import Failure, FailureKind
from workers.interface import Opening as OpeningValue
from workers.interface import Sample as SampleValue


@dataclass(frozen=True, slots=True)
class Parents:
    """What the rows of proposals need to become values again: who descends from whom in a run."""

    lineage: Mapping[int, tuple[str, ...]]  # proposal index -> prompt ids of its parents
    known: Mapping[str, Candidate]  # every prompt of the run that can be a parent

    @classmethod
    def of(cls, connection: Connection, run_id: str) -> Parents:
        lineage: dict[int, tuple[str, ...]] = {}
        for index, parent in connection.execute(
            select(Lineage.proposal_index, Lineage.parent_prompt_id)
            .where(Lineage.run_id == run_id)
            .order_by(Lineage.proposal_index, Lineage.position)
        ):
            lineage[index] = (*lineage.get(index, ()), parent)
        known: dict[str, Candidate] = {}
        parents = cls(lineage, known)
        rows = connection.execute(
            select(Proposal.__table__)
            .where(Proposal.run_id == run_id, Proposal.status == "evaluated")
            .order_by(Proposal.completed_order)
        ).mappings()
        for row in rows:
            candidate = parents.candidate(row)
            if candidate is not None:
                known.setdefault(candidate.prompt_id, candidate)
        return parents

    def candidate(self, row: RowMapping) -> Candidate | None:
        if row["prompt_id"] is None:
            return None
        return Candidate(
            prompt_id=row["prompt_id"],
            text=row["text"],
            operator=row["operator"],
            strategy=Strategy(row["strategy"]),
            parents=self.lineage.get(row["proposal_index"], ()),
            topic=row["topic"],
            seed_id=row["seed_prompt_id"],
            rationale=row["rationale"],
        )

    def assignment(self, row: RowMapping) -> Assignment:
        return Assignment(
            index=row["proposal_index"],
            operator=row["operator"],
            strategy=Strategy(row["strategy"]),
            parents=tuple(self.known[p] for p in self.lineage.get(row["proposal_index"], ())),
            seed=row["assignment_seed"],
            asked_after=row["asked_after"],
        )


def pairs(column: str | None) -> list[tuple[str, str]]:
    """What `proposals.gates` and `evaluations.judges` hold: (name, version) each."""
    return [(name, version) for name, version in json.loads(column)] if column else []


def read_vectors(
    connection: Connection, prompt_ids: Sequence[str]
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """(prompt id, embedder) -> unit vector, float32 of shape (dim,)."""
    rows = connection.execute(
        select(Embedding.prompt_id, Embedding.embedder, Embedding.vector).where(
            among(connection, Embedding.prompt_id, prompt_ids)
        )
    )
    return {
        (prompt, embedder): np.frombuffer(vector, dtype="<f4").astype(np.float32)
        for prompt, embedder, vector in rows
    }


def read_decisions(
    connection: Connection, prompt_ids: Sequence[str]
) -> dict[str, dict[tuple[str, str], fitness_types.GateDecision]]:
    """Prompt id -> (gate, version) -> decision."""
    found: dict[str, dict[tuple[str, str], fitness_types.GateDecision]] = defaultdict(dict)
    for chunk in chunks(prompt_ids):
        for prompt, gate, version, outcome, p_harmful, reason in connection.execute(
            _DECISIONS_OF, {"prompts": chunk}
        ):
            found[prompt][gate, version] = fitness_types.GateDecision(
                gate, version, Safety(outcome), p_harmful, reason
            )
    return found


# Asked for with every batch: made once.
_DECISIONS_OF = (
    select(
        GateDecision.prompt_id,
        GateDecision.gate,
        GateDecision.version,
        GateDecision.outcome,
        GateDecision.p_harmful,
        GateDecision.reason,
    )
    .where(GateDecision.prompt_id.in_(bindparam("prompts", expanding=True)))
    .order_by(GateDecision.prompt_id, GateDecision.gate, GateDecision.version)
)


def decided_of(
    row: RowMapping, decisions: Mapping[str, Mapping[tuple[str, str], fitness_types.GateDecision]]
) -> tuple[fitness_types.GateDecision, ...]:
    """The decisions of a proposal, in the order in which they were recorded."""
    return tuple(decisions[row["prompt_id"]][pair] for pair in pairs(row["gates"]))


def screened_of(row: RowMapping) -> Screened | None:
    return None if row["is_blind"] is None else Screened(row["guess"], row["is_blind"])


def failure_of(
    row: RowMapping,
    paid: Mapping[str, tuple[int, int]],
    openings: Mapping[str, tuple[OpeningValue, bool]],
) -> Failure | None:
    """How a proposal failed; `paid`: the samples and tokens that unscored prompts cost the run;
    `openings`: of its prompts, and whether the run paid for them."""
    if row["failure_kind"] is None:
        return None
    kind, message = FailureKind(row["failure_kind"]), row["failure_message"]
    opening, is_paid = openings.get(row["prompt_id"], (None, False))
    if kind is FailureKind.UNSCORED:
        n_new, tokens = paid.get(row["prompt_id"], (0, 0))
        return Unscored(kind, message, (), n_new, tokens + is_paid, opening=opening)
    if opening is not None and row["screened_by"] == ScreenedBy.OPENING:
        read = opening.n_prompt_tokens if is_paid else 0
        return ScreenedOut(kind, message, opening, int(is_paid), read)
    return Failure(kind, message)


def read_openings(
    connection: Connection, target_id: str, prompt_ids: Sequence[str]
) -> dict[str, tuple[OpeningValue, str]]:
    """Prompt id -> how a response would begin, and the run that paid for it."""
    found = {}
    for chunk in chunks(prompt_ids):
        rows = connection.execute(_OPENINGS_OF, {"target": target_id, "prompts": chunk})
        for prompt, listed, n_prompt_tokens, run_id in rows:
            shown = json.loads(listed)
            opening = OpeningValue(
                tuple(token for token, _ in shown),
                tuple(logprob for _, logprob in shown),
                n_prompt_tokens,
            )
            found[prompt] = (opening, run_id)
    return found


# Asked for with every batch: made once.
_OPENINGS_OF = select(
    Opening.prompt_id, Opening.tokens, Opening.n_prompt_tokens, Opening.run_id
).where(
    Opening.target_id == bindparam("target"),
    Opening.prompt_id.in_(bindparam("prompts", expanding=True)),
)


def sample_of(row: RowMapping) -> SampleValue:
    return SampleValue(
        index=row["sample_index"],
        text=row["text"],
        n_tokens=row["n_tokens"],
        finish_reason=row["finish_reason"],
        logprob_sum=row["logprob_sum"],
        sampling_logprob_sum=row["sampling_logprob_sum"],
        reasoning=row["reasoning"],
    )


def verdict_of(row: RowMapping) -> fitness_types.Verdict:
    kind = row["response_class"]
    return fitness_types.Verdict(
        judge=row["judge"],
        version=row["version"],
        p_refusal=row["p_refusal"],
        unscored_reason=row["unscored_reason"],
        response_class=None if kind is None else ResponseClass(kind),
    )


# Stored samples by (target id, prompt id).
Taken = Mapping[tuple[str, str], tuple[JudgedSample, ...]]


def evaluation_of(
    rows: Sequence[RowMapping],
    taken: Taken,
    over: Over | None,
    openings: Mapping[tuple[str, str], OpeningValue],
) -> fitness_types.Evaluation | None:
    """The evaluation of a proposal from its rows, one for each target; `over`: how a run with
    several targets combines them; `openings` by (target id, prompt id)."""
    if not rows:
        return None
    parts = {row["target_id"]: _part_of(row, taken, openings) for row in rows}
    return next(iter(parts.values())) if over is None else combine(parts, over)


def _part_of(
    row: RowMapping, taken: Taken, openings: Mapping[tuple[str, str], OpeningValue]
) -> fitness_types.Evaluation:
    samples = taken.get((row["target_id"], row["prompt_id"]), ())[: row["n_samples"]]
    judges = pairs(row["judges"])
    return fitness_types.Evaluation(
        prompt_id=row["prompt_id"],
        samples=tuple(replace(s, verdicts=_said(s.verdicts, judges)) for s in samples),
        score=Score(**{name: row[name] for name in SCORE_FIELDS}),
        n_new=row["n_new"],
        target_tokens=row["target_tokens"],
        prompt_tokens=row["prompt_tokens"],
        engine_s=row["engine_s"],
        opening=openings.get((row["target_id"], row["prompt_id"])),
    )


def _said(
    verdicts: Sequence[fitness_types.Verdict], judges: Sequence[tuple[str, str]]
) -> tuple[fitness_types.Verdict, ...]:
    """What these judges said, in their order."""
    by_judge = {(v.judge, v.version): v for v in verdicts}
    return tuple(by_judge[judge] for judge in judges if judge in by_judge)
