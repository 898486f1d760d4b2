"""The store: the one writer of a database, and the way to open it.

Knows the tables and how a run's record is written and read back; knows nothing of how prompts are
made or scored. Reading for people is `db.queries`.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import secrets
import socket
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    RowMapping,
    create_engine,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from db import migrations
from db.models import (
    Base,
    Embedding,
    Evaluation,
    GateDecision,
    Lineage,
    Prompt,
    Proposal,
    Run,
    Sample,
    Target,
    Verdict,
    storable,
    utc_now,
)
from evo import types as evo_types
from evo.types import Assignment, Candidate, Outcome, Seed, Strategy
from fitness import types as fitness_types
from fitness.types import JudgedSample, Safety, Score
from workers.interface import (
    ConfigError,
    EngineDescription,
    Failure,
    FailureKind,
    StoreError,
)
from workers.interface import Sample as SampleValue

# A writer on another host counts as alive while its last heartbeat is younger than this.
_HEARTBEAT_GRACE = timedelta(seconds=60)
# Another evocliff may hold the database for the length of one batch.
_BUSY_TIMEOUT_MS = 10_000
# SQLite allows 32,766 bound values; a wide table takes 20 of them a row.
_CHUNK = 500


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

    - One run has one writer: a run that another living process holds cannot be claimed.
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
        self._shown = _shown(url)
        self.engine = _connect(_parse(url), self._shown, read_only)
        try:
            with self._explained("opened"), self.engine.connect() as connection:
                if read_only:
                    migrations.require_current(connection, self._shown)
                else:
                    migrations.upgrade(connection, self._shown)
        except StoreError:
            self.engine.dispose()
            raise

    def close(self) -> None:
        self.engine.dispose()

    # The life of a run

    def begin_run(self, name: str, config: Mapping[str, Any], seed: int, version: str) -> Claim:
        """A new run held by this process. A name that is taken gets -2, -3, ... behind it."""
        run_id = secrets.token_hex(6)
        with self.writing() as connection:
            _lock_runs(connection)
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
                    status="running",
                    config=json.dumps(config),
                    seed=seed,
                    version=version,
                    **_holder(),
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
            _lock_runs(connection)
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
                update(Run).where(Run.run_id == row.run_id).values(status="running", **_holder())
            )
        return Claim(row.run_id, row.name, json.loads(row.config), row.wall_s)

    def stored_config(self, run: str) -> Mapping[str, Any]:
        """The resolved config of a run, by name or id."""
        with self.reading() as connection:
            config: Mapping[str, Any] = json.loads(self.find_run(connection, run).config)
            return config

    def heartbeat(self, run_id: str, wall_s: float, replica_busy: float | None) -> None:
        """Say that this process still works on the run."""
        values = {"heartbeat_at": utc_now(), "wall_s": wall_s, "replica_busy": replica_busy}
        with self.writing() as connection:
            connection.execute(update(Run).where(Run.run_id == run_id).values(**values))

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
            connection.execute(update(Run).where(Run.run_id == run_id).values(**values))

    def register_target(
        self, run_id: str, target: fitness_types.Target, description: EngineDescription
    ) -> str:
        """Store the target and say that the run is about it. Returns its id."""
        row = {
            **asdict(target.sampling),
            "target_id": target.target_id,
            "model": target.model,
            "revision": target.revision,
            "adapter": target.adapter,
            "template": target.template,
            "system_prompt": target.system_prompt,
            "engine": description.engine,
            "dtype": description.dtype,
            "device": description.device,
        }
        with self.writing() as connection:
            _insert_new(connection, Target, [row])
            connection.execute(
                update(Run).where(Run.run_id == run_id).values(target_id=target.target_id)
            )
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
            _insert_new(connection, Prompt, rows)

    # The record of a run

    def propose(
        self, run_id: str, proposals: Sequence[tuple[Assignment, Candidate | None]]
    ) -> None:
        """Store proposals as pending, and their text once it exists, before the target is asked."""
        with self.writing() as connection:
            self._write_proposals(connection, run_id, proposals)
            for assignment, candidate in proposals:
                if candidate is not None:
                    _update_pending(connection, run_id, assignment, _candidate_row(candidate))

    def record(self, run_id: str, outcomes: Sequence[Outcome], embedder: str = "") -> None:
        """Store how proposals ended, in this order of completion, with all that was paid for.

        A proposal that had ended already is left as it is.
        """
        target_id = self._target_of(run_id)
        with self.writing() as connection:
            self._write_proposals(
                connection, run_id, [(o.assignment, o.candidate) for o in outcomes]
            )
            _insert_new(connection, GateDecision, _gate_rows(outcomes))
            _insert_new(connection, Embedding, _embedding_rows(outcomes, embedder))
            last = connection.scalar(
                select(func.max(Proposal.completed_order)).where(Proposal.run_id == run_id)
            )
            order = 0 if last is None else last + 1
            for outcome in outcomes:
                values = _ending(outcome, embedder) | {"completed_order": order}
                order += _update_pending(connection, run_id, outcome.assignment, values)
            _write_samples(connection, run_id, target_id, outcomes)
            _insert_new(connection, Evaluation, _evaluation_rows(run_id, target_id, outcomes))

    def replay(self, run_id: str, *, samples: bool = False) -> list[Outcome]:
        """All that was recorded of a run, in order of completion.

        Args:
            samples: give evaluations their samples and verdicts too; a search does not need them.
        """
        with self.reading() as connection:
            parents = _Parents.of(connection, run_id)
            ended = (
                select(Proposal.__table__)
                .where(Proposal.run_id == run_id, Proposal.status != "pending")
                .order_by(Proposal.completed_order)
            )
            proposals = connection.execute(ended).mappings().all()
            scored = select(Evaluation.__table__).where(Evaluation.run_id == run_id)
            evaluations = {
                row["proposal_index"]: row for row in connection.execute(scored).mappings()
            }
            prompt_ids = [p["prompt_id"] for p in proposals if p["prompt_id"] is not None]
            vectors = _vectors(connection, prompt_ids)
            decisions = _decisions(connection, prompt_ids)
        taken: dict[str, tuple[JudgedSample, ...]] = {}
        if samples:
            for target_id in sorted({row["target_id"] for row in evaluations.values()}):
                taken |= self.known_samples(target_id, prompt_ids)
        return [
            Outcome(
                assignment=parents.assignment(row),
                candidate=parents.candidate(row),
                evaluation=_evaluation(evaluations.get(row["proposal_index"]), taken),
                failure=_failure(row),
                gate_decisions=_decided(row, decisions),
                embedding=vectors.get((row["prompt_id"], row["embedder"])),
            )
            for row in proposals
        ]

    def pending(self, run_id: str) -> list[tuple[Assignment, Candidate | None]]:
        """Proposals that have not ended, by index; with their text where they have one."""
        with self.reading() as connection:
            parents = _Parents.of(connection, run_id)
            rows = connection.execute(
                select(Proposal.__table__)
                .where(Proposal.run_id == run_id, Proposal.status == "pending")
                .order_by(Proposal.proposal_index)
            ).mappings()
            return [(parents.assignment(row), parents.candidate(row)) for row in rows]

    def known_samples(
        self, target_id: str, prompt_ids: Sequence[str]
    ) -> dict[str, tuple[JudgedSample, ...]]:
        """Stored samples of a target by prompt, in order of index, with all their verdicts. Prompts
        without samples are left out; so are samples behind a gap in the numbering."""
        samples: dict[str, list[SampleValue]] = defaultdict(list)
        verdicts: dict[tuple[str, int], list[fitness_types.Verdict]] = defaultdict(list)
        with self.reading() as connection:
            for chunk in _chunks(prompt_ids):
                rows = connection.execute(
                    select(Sample.__table__)
                    .where(Sample.target_id == target_id, Sample.prompt_id.in_(chunk))
                    .order_by(Sample.prompt_id, Sample.sample_index)
                ).mappings()
                for row in rows:
                    if row["sample_index"] == len(samples[row["prompt_id"]]):
                        samples[row["prompt_id"]].append(_sample(row))
                found = connection.execute(
                    select(Verdict.__table__)
                    .where(Verdict.target_id == target_id, Verdict.prompt_id.in_(chunk))
                    .order_by(Verdict.judge, Verdict.version)
                ).mappings()
                for row in found:
                    verdicts[row["prompt_id"], row["sample_index"]].append(
                        fitness_types.Verdict(
                            row["judge"], row["version"], row["p_refusal"], row["unscored_reason"]
                        )
                    )
        return {
            prompt: tuple(JudgedSample(s, tuple(verdicts[prompt, s.index])) for s in taken)
            for prompt, taken in samples.items()
            if taken
        }

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
            raise StoreError(_explain(error, self._shown, verb)) from error

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

    def _target_of(self, run_id: str) -> str:
        with self.reading() as connection:
            target_id = connection.scalar(select(Run.target_id).where(Run.run_id == run_id))
        if target_id is None:
            raise ConfigError(f"run {run_id} has no target yet; call register_target first")
        return str(target_id)

    def _write_proposals(
        self,
        connection: Connection,
        run_id: str,
        proposals: Sequence[tuple[Assignment, Candidate | None]],
    ) -> None:
        """The prompts, pending proposals and lineage that are not there yet."""
        now = utc_now()
        prompts = [
            {"prompt_id": c.prompt_id, "text": c.text, "created_at": now}
            for _, c in proposals
            if c is not None
        ]
        _insert_new(connection, Prompt, prompts)
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
        _insert_new(connection, Proposal, rows)
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
        _insert_new(connection, Lineage, lineage)


@dataclass(frozen=True, slots=True)
class _Parents:
    """What the rows of proposals need to become values again: who descends from whom in a run."""

    lineage: Mapping[int, tuple[str, ...]]  # proposal index -> prompt ids of its parents
    known: Mapping[str, Candidate]  # every prompt of the run that can be a parent

    @classmethod
    def of(cls, connection: Connection, run_id: str) -> _Parents:
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


# Opening


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError(
            f"'{url}' is not a database URL; write sqlite:///FILE or postgresql://HOST/NAME"
        ) from None
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise StoreError(f"'{_shown(url)}': only sqlite and postgresql are supported")
    if parsed.get_backend_name() == "sqlite" and (not parsed.database or "\0" in parsed.database):
        raise StoreError(f"{url!r} names no file; write sqlite:///FILE")
    return parsed


def _shown(url: str) -> str:
    """The URL as people may see it: no password; of a SQLite URL, the file."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return url
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return parsed.database
    return parsed.render_as_string(hide_password=True)


def _connect(url: URL, shown: str, read_only: bool) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            return _connect_sqlite(url, shown, read_only)
        options = {"postgresql_readonly": True} if read_only else {}
        return create_engine(url, pool_pre_ping=True, execution_options=options)
    except (NoSuchModuleError, ImportError) as error:
        raise StoreError(
            f"{shown}: its driver is missing ({error}); pip install 'evocliff[postgres]'"
        ) from error


def _connect_sqlite(url: URL, shown: str, read_only: bool) -> Engine:
    path = Path(url.database) if url.database and url.database != ":memory:" else None
    if path is not None:
        _check_sqlite_file(path, shown, read_only)
    if path is not None and read_only and _lies_still(path):
        # Reading in WAL mode writes beside the file; a copy on a read-only disk is read as it is.
        uri = f"file:{quote(str(path.absolute()))}?immutable=1"
        engine = create_engine(
            url, creator=lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)
        )
    else:
        engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes then can fail at once when another one writes;
        # taking the write lock at the start waits for it instead.
        writing = connection.get_execution_options().get("writes", not read_only)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _lies_still(path: Path) -> bool:
    """Whether nobody can be writing to this database: its folder is read-only, and no log is open."""
    return not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()


def _check_sqlite_file(path: Path, shown: str, read_only: bool) -> None:
    if not path.exists():
        if read_only:
            raise StoreError(
                f"{shown}: no such database; name one with --db, or run a search first"
            )
        if not path.parent.is_dir():
            raise StoreError(f"{shown}: the folder {path.parent} does not exist; make it first")
        if not os.access(path.parent, os.W_OK):
            raise StoreError(f"{shown}: the folder {path.parent} cannot be written")
        return
    if path.is_dir():
        raise StoreError(f"{shown}: this is a folder, not a database file")
    if not os.access(path, os.R_OK):
        raise StoreError(f"{shown}: no permission to read it")
    if not read_only and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise StoreError(f"{shown}: it is read-only; make it (and its folder) writable")
    with path.open("rb") as file:
        head = file.read(16)
    if head and head != b"SQLite format 3\0":
        raise StoreError(f"{shown}: this is not a database; name another file with --db")


def _explain(error: DatabaseError, shown: str, verb: str) -> str:
    cause = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    mends = {
        "database is locked": "another process holds it; wait for it, or give this run its own --db",
        "read-only transaction": "it was opened for reading",
        "readonly": "it is read-only; make it (and its folder) writable",
        "disk is full": "the disk is full; free some space and resume the run",
        "disk I/O error": "the disk failed or is full; free some space and resume the run",
        "malformed": "it is damaged; restore a copy, see `evocliff db check`",
        "not a database": "this is not a database; name another file with --db",
        "unable to open": "it cannot be opened; look at its permissions",
    }
    mend = next((text for sign, text in mends.items() if sign in cause), None)
    return f"{shown}: cannot be {verb}: {mend or cause}"


# Who holds a run


def _holder() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "heartbeat_at": utc_now(),
    }


def _lock_runs(connection: Connection) -> None:
    """Let one process at a time name or claim a run. (A SQLite transaction does so by itself.)"""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE")


def is_alive(run: Row[Any]) -> bool:
    """Whether the process that holds this row of `runs` works on it, as far as can be told here."""
    if run.host == socket.gethostname():
        try:
            process = psutil.Process(run.pid)
            if process.status() == psutil.STATUS_ZOMBIE:  # killed; its parent has not noticed yet
                return False
            return bool(abs(process.create_time() - run.process_started) < 1.0)
        except psutil.NoSuchProcess:
            return False
    return run.heartbeat_at is not None and bool(utc_now() - run.heartbeat_at < _HEARTBEAT_GRACE)


# From values to rows and back


def _insert_new(
    connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]
) -> None:
    """INSERT ... ON CONFLICT DO NOTHING; of rows with one key the first counts."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    # In order of the key, or two writers of a PostgreSQL could wait for each other.
    keys = [column.name for column in table.__table__.primary_key]
    ordered = sorted(rows, key=lambda row: tuple(row[key] for key in keys))
    for chunk in _chunks(ordered):
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(chunk))


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))


def _number(value: float | None) -> float | None:
    """A finite number or NULL."""
    return None if value is None or not math.isfinite(value) else float(value)


def _candidate_row(candidate: Candidate) -> dict[str, Any]:
    return {
        "prompt_id": candidate.prompt_id,
        "text": candidate.text,
        "topic": candidate.topic,
        "seed_prompt_id": candidate.seed_id,
        "rationale": candidate.rationale,
    }


def _ending(outcome: Outcome, embedder: str) -> dict[str, Any]:
    """The columns of a proposal that say how it ended."""
    values: dict[str, Any] = {
        "status": "evaluated" if outcome.evaluation else "failed",
        "gates": _names((d.gate, d.version) for d in outcome.gate_decisions),
        "embedder": None if _vector(outcome) is None else embedder,
    }
    if outcome.candidate is not None:
        values |= _candidate_row(outcome.candidate)
    if outcome.failure is not None:
        values["failure_kind"] = outcome.failure.kind.value
        values["failure_message"] = outcome.failure.message
    return values


def _names(named: Iterable[tuple[str, str]]) -> str | None:
    """[[name, version], ...] as JSON; NULL when there are none."""
    listed = [list(pair) for pair in named]
    return json.dumps(listed) if listed else None


def pairs(column: str | None) -> list[tuple[str, str]]:
    """What `proposals.gates` and `evaluations.judges` hold: (name, version) each."""
    return [(name, version) for name, version in json.loads(column)] if column else []


def _update_pending(
    connection: Connection, run_id: str, assignment: Assignment, values: Mapping[str, Any]
) -> int:
    """Change a proposal unless it has ended. Returns the number of rows changed, 0 or 1."""
    changed = connection.execute(
        update(Proposal)
        .where(
            Proposal.run_id == run_id,
            Proposal.proposal_index == assignment.index,
            Proposal.status == "pending",
        )
        .values(**values)
    )
    return changed.rowcount


def _write_samples(
    connection: Connection, run_id: str, target_id: str, outcomes: Sequence[Outcome]
) -> None:
    now = utc_now()
    judged = {
        (o.evaluation.prompt_id, s.sample.index): s
        for o in outcomes
        if o.evaluation
        for s in o.evaluation.samples
    }
    keys = {
        (prompt, index): {"target_id": target_id, "prompt_id": prompt, "sample_index": index}
        for prompt, index in judged
    }
    rows = [
        {**keys[place], **_sample_row(s.sample), "run_id": run_id, "created_at": now}
        for place, s in judged.items()
    ]
    _insert_new(connection, Sample, rows)
    # Another run may have drawn this sample first. A verdict is about the text that is stored.
    stored = _texts(connection, target_id, list({prompt for prompt, _ in judged}))
    verdicts = [
        {
            **keys[place],
            "judge": v.judge,
            "version": v.version,
            "p_refusal": v.p_refusal,
            "unscored_reason": v.unscored_reason,
        }
        for place, s in judged.items()
        if stored[place] == storable(s.sample.text)
        for v in s.verdicts
    ]
    _insert_new(connection, Verdict, verdicts)


def _texts(
    connection: Connection, target_id: str, prompt_ids: Sequence[str]
) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    for chunk in _chunks(prompt_ids):
        rows = connection.execute(
            select(Sample.prompt_id, Sample.sample_index, Sample.text).where(
                Sample.target_id == target_id, Sample.prompt_id.in_(chunk)
            )
        )
        found |= {(prompt, index): text for prompt, index, text in rows}
    return found


def _vectors(
    connection: Connection, prompt_ids: Sequence[str]
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """(prompt id, embedder) -> unit vector, float32 of shape (dim,)."""
    found = {}
    for chunk in _chunks(prompt_ids):
        rows = connection.execute(
            select(Embedding.prompt_id, Embedding.embedder, Embedding.vector).where(
                Embedding.prompt_id.in_(chunk)
            )
        )
        for prompt, embedder, vector in rows:
            found[prompt, embedder] = np.frombuffer(vector, dtype="<f4").astype(np.float32)
    return found


def _decisions(
    connection: Connection, prompt_ids: Sequence[str]
) -> dict[str, dict[tuple[str, str], fitness_types.GateDecision]]:
    """Prompt id -> (gate, version) -> decision."""
    found: dict[str, dict[tuple[str, str], fitness_types.GateDecision]] = defaultdict(dict)
    for chunk in _chunks(prompt_ids):
        rows = connection.execute(
            select(GateDecision.__table__)
            .where(GateDecision.prompt_id.in_(chunk))
            .order_by(GateDecision.prompt_id, GateDecision.gate, GateDecision.version)
        ).mappings()
        for r in rows:
            found[r["prompt_id"]][r["gate"], r["version"]] = fitness_types.GateDecision(
                r["gate"], r["version"], Safety(r["outcome"]), r["p_harmful"], r["reason"]
            )
    return found


def _decided(
    row: RowMapping, decisions: Mapping[str, Mapping[tuple[str, str], fitness_types.GateDecision]]
) -> tuple[fitness_types.GateDecision, ...]:
    """The decisions of a proposal, in the order in which they were recorded."""
    return tuple(decisions[row["prompt_id"]][pair] for pair in pairs(row["gates"]))


def _failure(row: RowMapping) -> Failure | None:
    if row["failure_kind"] is None:
        return None
    return Failure(FailureKind(row["failure_kind"]), row["failure_message"])


def _sample_row(sample: SampleValue) -> dict[str, Any]:
    return {
        "text": sample.text,
        "reasoning": sample.reasoning,
        "n_tokens": sample.n_tokens,
        "logprob_sum": _number(sample.logprob_sum),
        "sampling_logprob_sum": _number(sample.sampling_logprob_sum),
        "finish_reason": sample.finish_reason,
    }


def _sample(row: RowMapping) -> SampleValue:
    return SampleValue(
        index=row["sample_index"],
        text=row["text"],
        n_tokens=row["n_tokens"],
        finish_reason=row["finish_reason"],
        logprob_sum=row["logprob_sum"],
        sampling_logprob_sum=row["sampling_logprob_sum"],
        reasoning=row["reasoning"],
    )


def _gate_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": o.candidate.prompt_id,
            "gate": d.gate,
            "version": d.version,
            "outcome": d.outcome.value,
            "p_harmful": _number(d.p_harmful),
            "reason": d.reason,
        }
        for o in outcomes
        if o.candidate is not None
        for d in o.gate_decisions
    ]


def _vector(outcome: Outcome) -> NDArray[np.float32] | None:
    """The vector of an outcome, float32 little-endian; None when it has none or a broken one."""
    if outcome.candidate is None or outcome.embedding is None:
        return None
    vector = np.asarray(outcome.embedding, dtype="<f4")
    return vector if bool(np.isfinite(vector).all()) else None


def _embedding_rows(outcomes: Sequence[Outcome], embedder: str) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": o.candidate.prompt_id,
            "embedder": embedder,
            "dim": len(vector),
            "vector": vector.tobytes(),
        }
        for o in outcomes
        if o.candidate is not None and (vector := _vector(o)) is not None
    ]


def _evaluation_rows(
    run_id: str, target_id: str, outcomes: Sequence[Outcome]
) -> list[dict[str, Any]]:
    return [
        {
            **{name: _number(value) for name, value in asdict(o.evaluation.score).items()},
            "run_id": run_id,
            "proposal_index": o.assignment.index,
            "prompt_id": o.evaluation.prompt_id,
            "target_id": target_id,
            "n_new": o.evaluation.n_new,
            "target_tokens": o.evaluation.target_tokens,
            "prompt_tokens": o.evaluation.prompt_tokens,
            "engine_s": o.evaluation.engine_s,
            "judges": _names((v.judge, v.version) for v in _verdicts(o.evaluation)),
        }
        for o in outcomes
        if o.evaluation is not None
    ]


def _verdicts(evaluation: fitness_types.Evaluation) -> tuple[fitness_types.Verdict, ...]:
    """Those of the last sample: stored samples may bring verdicts of other runs' judges with them."""
    return evaluation.samples[-1].verdicts if evaluation.samples else ()


_SCORE_FIELDS = tuple(Score.__dataclass_fields__)


def _evaluation(
    row: RowMapping | None, taken: Mapping[str, tuple[JudgedSample, ...]]
) -> fitness_types.Evaluation | None:
    if row is None:
        return None
    samples = taken.get(row["prompt_id"], ())[: row["n_samples"]]
    judges = pairs(row["judges"])
    return fitness_types.Evaluation(
        prompt_id=row["prompt_id"],
        samples=tuple(JudgedSample(s.sample, _said(s.verdicts, judges)) for s in samples),
        score=Score(**{name: row[name] for name in _SCORE_FIELDS}),
        n_new=row["n_new"],
        target_tokens=row["target_tokens"],
        prompt_tokens=row["prompt_tokens"],
        engine_s=row["engine_s"],
    )


def _said(
    verdicts: Sequence[fitness_types.Verdict], judges: Sequence[tuple[str, str]]
) -> tuple[fitness_types.Verdict, ...]:
    """What these judges said, in their order."""
    by_judge = {(v.judge, v.version): v for v in verdicts}
    return tuple(by_judge[judge] for judge in judges if judge in by_judge)
