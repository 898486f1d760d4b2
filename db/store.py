"""The store: the one writer of a database, and the way to open it.

Knows the tables and how a run's record is written and read back; knows nothing of how prompts are
made or scored. Reading for people is `db.queries`.
"""

from __future__ import annotations

import difflib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DatabaseError

from db import history, migrations, summaries
from db.connection import connect, explain, parse, shown_url
from db.holder import holder, is_alive, is_mine, lock_runs, lost, target_of_mine
from db.models import (
    Evaluation,
    GateDecision,
    Lineage,
    Opening,
    Prompt,
    Proposal,
    Replica,
    Run,
    Target,
    utc_now,
)
from db.near import postgres as near_postgres
from db.near.written import write_embeddings
from db.rows import (
    candidate_row,
    embedding_rows,
    ending,
    evaluation_rows,
    gate_rows,
    insert_new,
    opening_rows,
    read_proposed,
    replica_rows,
    supersede,
    update_pending,
)
from db.safety import gates_of, kept, read_undecided, refresh, threshold_of
from db.samples import write_samples
from db.values import (
    read_decisions,
    read_openings,
)
from evo import types as evo_types
from evo.types import Assignment, Candidate, Outcome, Seed
from fitness import types as fitness_types
from fitness.types import JudgedSample
from workers.interface import (
    ConfigError,
    EngineDescription,
    StoreError,
)
from workers.interface import Opening as OpeningValue
from workers.status import ReplicaStatus


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that this process now holds: what is needed to go on with it."""

    run_id: str
    name: str
    config: Mapping[str, Any]
    wall_s: float


class Store:
    """A database of prompts.

    Guarantees, each with a test:

    - One run has one writer: a run that another living process holds cannot be claimed, and a process
      whose run was claimed after its heartbeats had stopped writes nothing into it any more.
    - What `propose`, `record` or `end_run` wrote is durable when the call returns; a process that is
      killed afterwards loses nothing of it (on a power cut SQLite may lose the last transactions,
      never their integrity).
    - Each call is one transaction: after a kill its batch is there whole or not at all.
    - Writing a thing twice changes nothing: prompts, samples, verdicts and decisions are keyed by
      what they are, and a proposal ends once. Where two runs draw the same sample at once, the first
      one's text stays, and only what judges said of that text is kept.
    - Readers never wait for the writer, nor the writer for readers (SQLite in WAL mode).
    - `replay` gives back what `record` was told, in the order of completion. (Characters that no
      database holds, NUL and lone surrogates, come back as U+FFFD.)

    Raises:
        StoreError: the database is not ours, newer, older and read-only, locked, not writable, or
            damaged; the message names it and the mend.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.url = url
        self._shown = shown_url(url)
        self._gates: dict[str, tuple[str, ...]] = {}  # of a run, by its config, which never changes
        self.engine = connect(parse(url), self._shown, read_only)
        try:
            with self._explained("opened"), self.engine.connect() as connection:
                if read_only:
                    migrations.require_current(connection, self._shown)
                else:
                    migrations.upgrade(connection, self._shown)
            if not read_only and self.engine.dialect.name == "postgresql":
                with self.writing() as connection:
                    near_postgres.prepare(connection)
        except StoreError:
            self.engine.dispose()
            raise

    def close(self) -> None:
        self.engine.dispose()

    # The life of a run

    def begin_run(
        self,
        name: str,
        config: Mapping[str, Any],
        seed: int,
        version: str,
        kind: str = "search",
    ) -> Claim:
        """A new run held by this process, a search or an evaluation (`kind` "evaluate"). A name that is
        taken gets -2, -3, ... behind it."""
        run_id = secrets.token_hex(6)
        with self.writing() as connection:
            lock_runs(connection)
            taken = set(
                connection.scalars(
                    select(Run.name).where(Run.name.startswith(name, autoescape=True))
                )
            )
            free, n = name, 1
            while free in taken:
                n += 1
                free = f"{name}-{n}"
            connection.execute(
                insert(Run).values(
                    run_id=run_id,
                    name=free,
                    kind=kind,
                    status="running",
                    config=json.dumps(config),
                    seed=seed,
                    threshold=threshold_of(config),
                    version=version,
                    **holder(),
                )
            )
        return Claim(run_id, free, config, 0.0)

    def claim_run(self, run: str) -> Claim:
        """Take over an interrupted run, by name or id.

        Raises:
            ConfigError: there is no such run (the nearest name is given), it is finished, or a
                living process holds it.
        """
        with self.writing() as connection:
            lock_runs(connection)
            row = self.find_run(connection, run)
            if row.status == "finished":
                raise ConfigError(
                    f"--resume {run}: this run is finished ({row.stop_reason}); start a new one"
                )
            if row.status == "running" and row.pid != os.getpid() and is_alive(row):
                raise ConfigError(
                    f"--resume {run}: process {row.pid} on {row.host} is working on this run; "
                    "stop that one first"
                )
            connection.execute(
                update(Run).where(Run.run_id == row.run_id).values(status="running", **holder())
            )
            summaries.drop(connection, [row.run_id])
        return Claim(row.run_id, row.name, json.loads(row.config), row.wall_s)

    def stored_config(self, run: str) -> Mapping[str, Any]:
        """The resolved config of a run, by name or id."""
        with self.reading() as connection:
            config: Mapping[str, Any] = json.loads(self.find_run(connection, run).config)
            return config

    def heartbeat(
        self,
        run_id: str,
        wall_s: float,
        replica_busy: float | None,
        replicas: Sequence[ReplicaStatus] = (),
    ) -> None:
        """Say that this process still works on the run, and how its replicas do."""
        values = {"heartbeat_at": utc_now(), "wall_s": wall_s, "replica_busy": replica_busy}
        with self.writing() as connection:
            _change_mine(connection, run_id, values)
            connection.execute(delete(Replica).where(Replica.run_id == run_id))
            insert_new(connection, Replica, replica_rows(run_id, replicas))

    def end_run(
        self,
        run_id: str,
        status: str,
        reason: str,
        *,
        wall_s: float,
        replica_busy: float | None = None,
    ) -> None:
        """Let go of a run: status finished, interrupted or failed, and why."""
        values: dict[str, Any] = {
            "status": status,
            "stop_reason": reason,
            "wall_s": wall_s,
            "finished_at": utc_now(),
        }
        if replica_busy is not None:
            values["replica_busy"] = replica_busy
        with self.writing() as connection:
            _change_mine(connection, run_id, values)

    def register_target(
        self,
        run_id: str,
        target: fitness_types.Target,
        description: EngineDescription,
        *,
        further: bool = False,
    ) -> str:
        """Store the target and say that the run is about it, unless it is a further one of several.
        Returns its id."""
        row = {
            "temperature": target.sampling.temperature,
            "top_p": target.sampling.top_p,
            "top_k": target.sampling.top_k,
            "max_tokens": target.sampling.max_tokens,
            "target_id": target.target_id,
            "model": target.model,
            "revision": target.revision,
            "adapter": target.adapter,
            "template": target.template,
            "system_prompt": target.system_prompt,
            "surface": target.surface,
            "first_token": target.first_token,
            "engine": description.engine,
            "dtype": description.dtype,
            "device": description.device,
        }
        with self.writing() as connection:
            insert_new(connection, Target, [row])
            if not further:
                _change_mine(connection, run_id, {"target_id": target.target_id})
        return target.target_id

    def register_seeds(self, seeds: Sequence[Seed]) -> None:
        """Store the seeds as prompts with their source and licence."""
        rows = [
            {
                "prompt_id": evo_types.prompt_id(s.text),
                "text": s.text,
                "source": s.source,
                "licence": s.licence,
                "created_at": utc_now(),
            }
            for s in seeds
        ]
        with self.writing() as connection:
            insert_new(connection, Prompt, rows)

    # The record of a run

    def write(
        self,
        run_id: str,
        proposals: Sequence[tuple[Assignment, Candidate | None]],
        outcomes: Sequence[Outcome],
        embedder: str = "",
    ) -> None:
        """`propose` and `record` in one transaction."""
        with self.writing() as connection:
            if proposals:
                self._propose(connection, run_id, proposals)
            if outcomes:
                self._record(connection, run_id, outcomes, embedder)

    def propose(
        self, run_id: str, proposals: Sequence[tuple[Assignment, Candidate | None]]
    ) -> None:
        """Store proposals as pending, and their text once it exists, before the target is asked."""
        self.write(run_id, proposals, ())

    def record(self, run_id: str, outcomes: Sequence[Outcome], embedder: str = "") -> None:
        """Store how proposals ended, in this order of completion, with all that was paid for.

        A proposal that had ended already is left as it is.
        """
        self.write(run_id, (), outcomes, embedder)

    def replay(self, run_id: str, *, samples: bool = False) -> list[Outcome]:
        """All that was recorded of a run, in order of completion. What an evaluation cost comes back in
        the cost of its outcome.

        Args:
            samples: give evaluations their samples and verdicts too; a search does not need them.
        """
        with self.reading() as connection:
            return history.replay(connection, run_id, samples=samples)

    def pending(self, run_id: str) -> list[tuple[Assignment, Candidate | None]]:
        """Proposals that have not ended, by index; with their text where they have one."""
        with self.reading() as connection:
            return history.pending(connection, run_id)

    def known_openings(self, target_id: str, prompt_ids: Sequence[str]) -> dict[str, OpeningValue]:
        """Stored openings of a target by prompt."""
        with self.reading() as connection:
            found = read_openings(connection, target_id, prompt_ids)
        return {prompt: opening for prompt, (opening, _) in found.items()}

    def known_samples(
        self, target_id: str, prompt_ids: Sequence[str], probe: str | None = None
    ) -> dict[str, tuple[JudgedSample, ...]]:
        """Stored samples of a target by prompt, in order of index, with all their verdicts and with
        their traces by the probe of that version. Prompts without samples are left out; so are samples
        behind a gap in the numbering."""
        with self.reading() as connection:
            return history.samples_of(connection, target_id, prompt_ids, probe)

    # What the above are made of

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self._explained("written"), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._explained("read"), self.engine.connect() as connection:
            yield connection.execution_options(writes=False)

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """Turn the driver's errors into one line that names the database and the mend."""
        try:
            yield
        except DatabaseError as error:
            raise StoreError(explain(error, self._shown, verb)) from error

    def find_run(self, connection: Connection, run: str) -> Row[Any]:
        """The row of a run, by name or id; ConfigError, naming the nearest, when there is none."""
        row = connection.execute(
            select(Run.__table__).where((Run.name == run) | (Run.run_id == run))
        ).first()
        if row is None:
            names = list(connection.scalars(select(Run.name)))
            near = difflib.get_close_matches(run, names, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "; see `evocliff runs`"
            raise ConfigError(f"run '{run}' is not in {self._shown}{hint}")
        return row

    def _propose(
        self,
        connection: Connection,
        run_id: str,
        proposals: Sequence[tuple[Assignment, Candidate | None]],
    ) -> None:
        target_of_mine(connection, run_id)
        self._write_proposals(connection, run_id, [p for p in proposals if p[1] is None])
        texted = [(a, c) for a, c in proposals if c is not None]
        texts = [(a.index, candidate_row(c)) for a, c in texted]
        _write_prompts(connection, [c for _, c in texted])
        # As a rule a proposal has been stored before it has a text.
        if update_pending(connection, run_id, texts) < len(texts):
            self._write_proposals(connection, run_id, texted)
            update_pending(connection, run_id, texts)

    def _record(
        self, connection: Connection, run_id: str, outcomes: Sequence[Outcome], embedder: str
    ) -> None:
        target_id = target_of_mine(connection, run_id)
        if target_id is None:
            raise ConfigError(f"run {run_id} has no target yet; call register_target first")
        stored = read_proposed(connection, run_id, [o.assignment.index for o in outcomes])
        self._write_proposals(connection, run_id, _unknown(outcomes, stored))
        insert_new(connection, GateDecision, gate_rows(outcomes))
        write_embeddings(connection, embedding_rows(outcomes, embedder))
        last = connection.scalar(_LAST_ENDED, {"run": run_id})
        new: dict[int, Outcome] = {}
        for outcome in outcomes:
            if stored.get(outcome.assignment.index, ("pending", None))[0] == "pending":
                new.setdefault(outcome.assignment.index, outcome)
        orders = count(0 if last is None else last + 1)
        endings = [
            (index, ending(outcome, embedder) | {"completed_order": order})
            for (index, outcome), order in zip(new.items(), orders, strict=False)
        ]
        self._decide(connection, run_id, [values for _, values in endings])
        for index, values in endings:
            # What does not change is not named, or its index would be written again.
            if values.get("prompt_id") == stored.get(index, ("", None))[1]:
                values.pop("prompt_id", None)
        update_pending(connection, run_id, endings)
        gated = [o.candidate.prompt_id for o in outcomes if o.candidate and o.gate_decisions]
        refresh(connection, read_undecided(connection, gated))
        write_samples(connection, run_id, target_id, outcomes)
        insert_new(connection, Opening, opening_rows(run_id, target_id, outcomes))
        safety = {index: values["safety"] for index, values in endings}
        scores = evaluation_rows(run_id, target_id, list(new.values()), safety)
        insert_new(connection, Evaluation, scores)
        supersede(connection, run_id, target_id, outcomes)

    def _decide(
        self, connection: Connection, run_id: str, endings: Sequence[dict[str, Any]]
    ) -> None:
        """Say in each of these endings what the decisions that are stored by now make of it."""
        prompt_ids = [e["prompt_id"] for e in endings if e.get("prompt_id")]
        decisions = read_decisions(connection, prompt_ids)
        if run_id not in self._gates:
            config = connection.scalar(select(Run.config).where(Run.run_id == run_id))
            self._gates[run_id] = gates_of(json.loads(config or "{}"))
        gates = self._gates[run_id]
        for values in endings:
            said = tuple(decisions.get(values.get("prompt_id", ""), {}).values())
            values["safety"] = kept(values["status"], values["gates"], gates, said)

    def _write_proposals(
        self,
        connection: Connection,
        run_id: str,
        proposals: Sequence[tuple[Assignment, Candidate | None]],
    ) -> None:
        """The prompts, pending proposals and lineage that are not there yet."""
        _write_prompts(connection, [c for _, c in proposals if c is not None])
        rows = [
            {
                "run_id": run_id,
                "proposal_index": a.index,
                "operator": a.operator,
                "strategy": a.strategy.value,
                "assignment_seed": a.seed,
                "asked_after": a.asked_after,
                "status": "pending",
            }
            for a, _ in proposals
        ]
        insert_new(connection, Proposal, rows)
        lineage = [
            {
                "run_id": run_id,
                "proposal_index": a.index,
                "position": position,
                "parent_prompt_id": parent.prompt_id,
            }
            for a, _ in proposals
            for position, parent in enumerate(a.parents)
        ]
        insert_new(connection, Lineage, lineage)


# Asked for with every batch: made once.
_LAST_ENDED = select(func.max(Proposal.completed_order)).where(Proposal.run_id == bindparam("run"))


def _write_prompts(connection: Connection, candidates: Sequence[Candidate]) -> None:
    now = utc_now()
    rows = [{"prompt_id": c.prompt_id, "text": c.text, "created_at": now} for c in candidates]
    insert_new(connection, Prompt, rows)


def _change_mine(connection: Connection, run_id: str, values: Mapping[str, Any]) -> None:
    """Change the row of a run, if this process holds it."""
    changed = connection.execute(
        update(Run).where(Run.run_id == run_id, is_mine()).values(**values)
    )
    if not changed.rowcount:
        raise lost(connection, run_id)


def _unknown(
    outcomes: Sequence[Outcome], stored: Mapping[int, tuple[str, str | None]]
) -> list[tuple[Assignment, Candidate | None]]:
    """Of these outcomes, the proposals that are not stored yet with the prompt that they became."""
    return [
        (o.assignment, o.candidate)
        for o in outcomes
        if o.assignment.index not in stored
        or (o.candidate is not None and stored[o.assignment.index][1] != o.candidate.prompt_id)
    ]
