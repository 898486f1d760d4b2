"""Who descends from whom: the ancestors of a prompt up to its seeds, and all that came of it.

Goes from generation to generation by indexes; what else the run holds is not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Executable,
    Result,
    RowMapping,
    bindparam,
    func,
    select,
)

from db import found, lookup
from db.among import among_bound, bound
from db.models import Evaluation, Lineage, Prompt, Proposal, Run
from evo.types import RESAMPLE
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store


def lineage(store: Store, prompt: str, run: str | None = None) -> dict[str, Any]:
    """One prompt, its `ancestors` up to the seed, its `children`, and its `descendants`, children
    first, each prompt once.

    Args:
        prompt: id, or unique beginning of one.
        run: name or id; default: the newest run that evaluated the prompt, else that proposed it.

    Raises:
        ConfigError: no such prompt, several, or not in that run.
    """
    lookup.require_text("PROMPT", prompt)
    with store.reading() as connection:
        prompt_id = lookup.find_prompt(connection, prompt)
        run_id = _run_with(connection, prompt_id, run)
        tree = _Tree(connection, run_id)
        tree.read([prompt_id])
        ancestors: list[dict[str, Any]] = []
        met, generation = {prompt_id}, [prompt_id]
        while generation:
            above = [p for child in generation for p in tree.parents(child)]
            generation = [p for p in dict.fromkeys(above) if p not in met]
            met.update(generation)
            tree.read(generation)  # at once, not each by itself
            ancestors += [tree.node(p) for p in generation]
        generations: list[list[dict[str, Any]]] = []
        met, generation = {prompt_id}, [prompt_id]
        while generation:
            generation = [p for p in tree.children(generation) if p not in met]
            met.update(generation)
            generations.append([tree.node(p) for p in generation])
        return {
            **tree.node(prompt_id),
            "run": run_id,
            "ancestors": ancestors,
            "children": generations[0],
            "descendants": [node for nodes in generations for node in nodes],
        }


@dataclass(frozen=True, slots=True)
class _Asked:
    """The statements of every generation, made once. Each takes a `run` and what is `asked` for."""

    rows: Executable  # of prompts
    parents: Executable  # of proposals, by index
    children: Executable  # of prompts, with the first proposal of each


@cache
def _asked(dialect: str) -> _Asked:
    run: BindParameter[str] = bindparam("run")
    rows = (
        select(
            Proposal.proposal_index,
            Proposal.prompt_id,
            Proposal.strategy,
            Proposal.operator,
            Proposal.status,
            Proposal.failure_kind,
            func.coalesce(Proposal.text, Prompt.text).label("text"),
            Evaluation.refusal_rate,
            Evaluation.fitness,
        )
        .join(Prompt, Prompt.prompt_id == Proposal.prompt_id)
        .join(
            Evaluation,
            (Evaluation.run_id == Proposal.run_id)
            & (Evaluation.proposal_index == Proposal.proposal_index),
            isouter=True,
        )
        .where(Proposal.run_id == run, among_bound(dialect, Proposal.prompt_id, "asked"))
        .with_hint(Proposal, "INDEXED BY ix_proposals_prompt_id", "sqlite")
        .order_by(Proposal.proposal_index)
    )
    parents = (
        select(Lineage.proposal_index, Lineage.parent_prompt_id)
        .where(Lineage.run_id == run, among_bound(dialect, Lineage.proposal_index, "asked"))
        .order_by(Lineage.proposal_index, Lineage.position)
    )
    children = (
        select(Proposal.prompt_id, func.min(Proposal.proposal_index).label("first"))
        .join(
            Lineage,
            (Lineage.run_id == Proposal.run_id)
            & (Lineage.proposal_index == Proposal.proposal_index),
        )
        .where(
            among_bound(dialect, Lineage.parent_prompt_id, "asked"),
            Lineage.run_id == run,
            Proposal.prompt_id.is_not(None),
        )
        .with_hint(Lineage, "INDEXED BY ix_lineage_parent_prompt_id_run_id", "sqlite")
        .group_by(Proposal.prompt_id)
    )
    return _Asked(rows, parents, children)


class _Tree:
    """The prompts of one run that were read so far, with their parents.

    A prompt that was proposed again is told by the proposal that was evaluated, else the first; what it
    is worth by its newest evaluation.
    """

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection, self._run_id = connection, run_id
        self._asked = _asked(connection.dialect.name)
        self._several = found.run_facts(connection)[run_id].over is not None
        self._rows: dict[str, RowMapping] = {}
        self._scores: dict[str, Any] = {}
        self._above: dict[str, tuple[str, ...]] = {}

    def read(self, prompt_ids: Iterable[str]) -> None:
        """Make these prompts known, and those of their parents that the run has."""
        new = [p for p in dict.fromkeys(prompt_ids) if p not in self._above]
        self._read(new)
        self._read([p for above in map(self._above.get, new) for p in above or ()], parents=False)

    def _read(self, prompt_ids: Sequence[str], *, parents: bool = True) -> None:
        new = [p for p in dict.fromkeys(prompt_ids) if p not in self._rows]
        if new:
            self._read_rows(new)
        if parents and prompt_ids:
            self._read_parents([p for p in prompt_ids if p in self._rows])

    def _read_rows(self, prompt_ids: Sequence[str]) -> None:
        for row in self._execute(self._asked.rows, prompt_ids).mappings():
            prompt = row["prompt_id"]
            if row["operator"] == RESAMPLE and row["status"] == "evaluated":
                self._scores[prompt] = row
            known = self._rows.get(prompt)
            if known is None or (row["status"] == "evaluated" and known["status"] != "evaluated"):
                self._rows[prompt] = row
        if self._several:
            whole = found.load_found(
                self._connection, run_id=self._run_id, prompt_ids=list(prompt_ids)
            )
            self._scores |= {
                f.prompt_id: {"refusal_rate": f.score.refusal_rate, "fitness": f.score.fitness}
                for f in found.combined(whole)
                if f.score is not None
            }

    def _read_parents(self, prompt_ids: Sequence[str]) -> None:
        came = {self._rows[p]["proposal_index"]: p for p in prompt_ids}
        for p in prompt_ids:
            self._above[p] = ()
        for row in self._execute(self._asked.parents, came):
            self._above[came[row.proposal_index]] += (row.parent_prompt_id,)

    def parents(self, prompt_id: str) -> tuple[str, ...]:
        if prompt_id not in self._above:
            self.read([prompt_id])
        return tuple(p for p in self._above.get(prompt_id, ()) if p in self._rows)

    def children(self, prompt_ids: Sequence[str]) -> list[str]:
        """Of all of these, in the order in which they were proposed."""
        rows = self._execute(self._asked.children, prompt_ids)
        first = {row.prompt_id: row.first for row in rows}
        ordered = sorted(first, key=first.__getitem__)
        self.read(ordered)
        above = set(prompt_ids)
        return [p for p in ordered if above.intersection(self._above[p])]

    def _execute(self, statement: Executable, asked: Iterable[str] | Iterable[int]) -> Result[Any]:
        listed = bound(self._connection.dialect.name, asked)
        return self._connection.execute(statement, {"run": self._run_id, "asked": listed})

    def node(self, prompt_id: str) -> dict[str, Any]:
        row = self._rows[prompt_id]
        score = self._scores.get(prompt_id) or row
        return {
            "prompt_id": prompt_id,
            "prompt": row["text"],
            "strategy": row["strategy"],
            "operator": row["operator"],
            "refusal_rate": score["refusal_rate"],
            "fitness": score["fitness"],
            "failure": row["failure_kind"],
            "parents": list(self.parents(prompt_id)),
        }


def _run_with(connection: Connection, prompt_id: str, run: str | None) -> str:
    """The run in which to look at a prompt."""
    rows = connection.execute(
        select(Proposal.run_id, Proposal.status)
        .join(Run, Run.run_id == Proposal.run_id)
        .where(Proposal.prompt_id == prompt_id)
        .order_by(Run.started_at.desc(), Run.run_id)
    ).all()
    with_it: list[str] = [row.run_id for row in rows]
    if run is not None:
        run_id = lookup.find_run(connection, run)
        if run_id not in with_it:
            raise ConfigError(f"--run {run}: prompt {prompt_id} is not in this run")
        return run_id
    if not rows:
        raise ConfigError(f"prompt {prompt_id}: a seed that no run has come to yet")
    evaluated: list[str] = [row.run_id for row in rows if row.status == "evaluated"]
    return (evaluated or with_it)[0]
