"""When a run ends: what was spent against what may be spent. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from evo.config import BudgetConfig

# A proposer that produces nothing usable must not loop for ever.
PROPOSALS_PER_EVALUATION = 20
_PROPOSALS_WITHOUT_EVALUATION_BUDGET = 1_000_000


@dataclass(slots=True)
class Spent:
    """What a run has used up so far. `stalled` counts evaluations since the last new over-refusal;
    `prompt_tokens` are those that the target read for its evaluations."""

    evaluations: int = 0
    target_tokens: int = 0
    prompt_tokens: int = 0
    money_usd: float = 0.0
    wall_s: float = 0.0
    stalled: int = 0
    proposals: int = 0


def stop_reason(budget: BudgetConfig, spent: Spent) -> str | None:
    """Why the run has to end now, or None."""
    if budget.evaluations is not None and spent.evaluations >= budget.evaluations:
        return f"budget: {spent.evaluations} evaluations"
    if budget.target_tokens is not None and spent.target_tokens >= budget.target_tokens:
        return f"budget: {spent.target_tokens} target tokens"
    if budget.wall_clock is not None and spent.wall_s >= budget.wall_clock:
        return f"budget: {spent.wall_s:.0f} s of wall clock"
    if budget.stall is not None and spent.stalled >= budget.stall:
        return f"stall: {spent.stalled} evaluations without a new over-refusal"
    if budget.money is not None and spent.money_usd >= budget.money:
        return f"budget: {spent.money_usd:.4f} USD"
    if spent.proposals >= most_proposals(budget):
        return f"budget: {spent.proposals} proposals, most of them rejected"
    return None


def most_proposals(budget: BudgetConfig) -> int:
    if budget.proposals is not None:
        return budget.proposals
    if budget.evaluations is not None:
        return PROPOSALS_PER_EVALUATION * budget.evaluations
    return _PROPOSALS_WITHOUT_EVALUATION_BUDGET


def room(budget: BudgetConfig, spent: Spent, in_flight: int, wanted: int) -> int:
    """How many more proposals may be asked for, at most `wanted`, when `in_flight` are under way:
    were all of them evaluated, the evaluation budget would just be met."""
    allowed = most_proposals(budget) - spent.proposals - in_flight
    if budget.evaluations is not None:
        allowed = min(allowed, budget.evaluations - spent.evaluations - in_flight)
    return max(0, min(wanted, allowed))
