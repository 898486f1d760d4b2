"""What gates and people say of a prompt together, and the columns that keep it.

`proposals.safety`, and its copy in `evaluations`, follow from the decisions and are there for indexes;
whoever writes decisions calls `refresh`. Knows decisions; knows nothing of how they were made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    bindparam,
    func,
    literal_column,
    select,
    update,
)

from db.bulk import execute_rows
from db.models import Evaluation, Proposal, Run
from db.rows import chunks
from db.values import pairs, read_decisions
from fitness import types as fitness_types
from fitness.types import Safety

# A decision or verdict of a person bears this and the person's name.
HUMAN = "human:"

Decision = fitness_types.GateDecision


def is_of_people(name: Any) -> ColumnElement[bool]:
    """Whether the column `judge` or `gate` names a person. Spelled as the index spells it."""
    begins = func.substr(name, literal_column("1"), literal_column(str(len(HUMAN))))
    found: ColumnElement[bool] = begins == literal_column(f"'{HUMAN}'")
    return found


def own_decisions(
    stored: str | None, gates: Sequence[str], decisions: Sequence[Decision]
) -> tuple[Decision, ...]:
    """The decisions of a run's gates: in the versions that the proposal met, else in all.

    Args:
        stored: `proposals.gates`.  decisions: all that were made of the prompt.
    """
    if stored is None:
        return tuple(d for d in decisions if d.gate in gates)
    met = pairs(stored)
    return tuple(d for d in decisions if (d.gate, d.version) in met)


def combine(
    gates: Sequence[str], decisions: Sequence[Decision], people: Sequence[Decision]
) -> Safety:
    """Harmful if any gate says so; harmless only if every gate of the run spoke and all say so.
    People win over gates."""
    if people:
        gates, decisions = [d.gate for d in people], people
    if any(d.outcome is Safety.HARMFUL for d in decisions):
        return Safety.HARMFUL
    complete = bool(gates) and set(gates) <= {d.gate for d in decisions}
    if complete and all(d.outcome is Safety.HARMLESS for d in decisions):
        return Safety.HARMLESS
    return Safety.CONTROVERSIAL


def kept(
    status: str, stored: str | None, gates: Sequence[str], decisions: Sequence[Decision]
) -> str | None:
    """What `proposals.safety` holds: NULL for a proposal that came to no gate.

    Args:
        status, stored: `proposals.status` and `proposals.gates`.  gates: of its run.
        decisions: all that were made of its prompt, by gates and people.
    """
    if status == "pending" or (status == "failed" and stored is None):
        return None
    people = [d for d in decisions if d.gate.startswith(HUMAN)]
    return combine(gates, own_decisions(stored, gates, decisions), people).value


def refresh(connection: Connection, prompt_ids: Sequence[str]) -> None:
    """Make the column right again for every proposal of these prompts, of whichever run."""
    gates: dict[str, tuple[str, ...]] = {}
    for chunk in chunks(list(dict.fromkeys(prompt_ids))):
        rows = connection.execute(
            select(
                Proposal.run_id,
                Proposal.proposal_index,
                Proposal.prompt_id,
                Proposal.status,
                Proposal.gates,
                Proposal.safety,
            ).where(Proposal.prompt_id.in_(chunk))
        ).all()
        decisions = read_decisions(connection, chunk)
        gates |= _gates_of(connection, {row.run_id for row in rows} - gates.keys())
        changed = []
        for row in rows:
            said = tuple(decisions.get(str(row.prompt_id), {}).values())
            safety = kept(row.status, row.gates, gates[row.run_id], said)
            if safety != row.safety:
                changed.append(
                    {"run": row.run_id, "number": row.proposal_index, "new_safety": safety}
                )
        for statement in _SET:
            execute_rows(connection, statement, changed)


_SET = tuple(
    update(table)
    .where(table.c.run_id == bindparam("run"), table.c.proposal_index == bindparam("number"))
    .values(safety=bindparam("new_safety"))
    for table in (cast(Table, Proposal.__table__), cast(Table, Evaluation.__table__))
)


def read_undecided(connection: Connection, prompt_ids: Sequence[str]) -> list[str]:
    """Those of these prompts that some proposal was evaluated with without saying by which gates: what
    any gate says of them later counts for it too."""
    found: list[str] = []
    for chunk in chunks(prompt_ids):
        found += connection.scalars(_UNDECIDED, {"prompts": chunk})
    return found


# Asked for with every batch: made once.
_UNDECIDED = select(Proposal.prompt_id).where(
    Proposal.prompt_id.in_(bindparam("prompts", expanding=True)),
    Proposal.status == "evaluated",
    Proposal.gates.is_(None),
)


def threshold_of(config: Mapping[str, Any]) -> float:
    """The refusal rate from which a run calls a harmless prompt an over-refusal."""
    return float(config.get("search", {}).get("threshold", 0.5))


def gates_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the gates in a run's config."""
    return tuple(config.get("safety", ()))


def _gates_of(connection: Connection, run_ids: set[str]) -> dict[str, tuple[str, ...]]:
    rows = connection.execute(select(Run.run_id, Run.config).where(Run.run_id.in_(sorted(run_ids))))
    return {run_id: gates_of(json.loads(config)) for run_id, config in rows}
