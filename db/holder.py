"""Who holds a run: the process that writes it now, and whether that process still lives.

A driver whose heartbeats stopped loses its run to the one that claims it. It may live on, behind a
network that broke or in a machine that slept, so every write asks whether it still holds the run.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from db.models import Run, utc_now
from workers.interface import StoreError

if TYPE_CHECKING:
    from db.store import Store

# A writer on another host counts as alive while its last heartbeat is younger than this.
_HEARTBEAT_GRACE = timedelta(seconds=60)


def holder() -> dict[str, Any]:
    return {**_this_process(os.getpid()), "heartbeat_at": utc_now()}


@lru_cache(1)
def _this_process(pid: int) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "process_started": psutil.Process(pid).create_time(),
    }


def is_mine() -> ColumnElement[bool]:
    """The condition that a row of `runs` is held by this process, or by none that is known."""
    mine = _this_process(os.getpid())
    return or_(Run.host.is_(None), and_(*(getattr(Run, key) == mine[key] for key in mine)))


def target_of_mine(connection: Connection, run_id: str) -> str | None:
    """The target of a run that this process holds. Nobody can claim it before the transaction ends.

    Raises:
        StoreError: another process has taken the run over.
    """
    held = select(Run.target_id, is_mine().label("is_mine")).where(Run.run_id == run_id)
    # On SQLite a writing transaction is alone anyway, and the word is left out.
    row = connection.execute(held.with_for_update(read=True)).first()
    if row is not None and not row.is_mine:
        raise lost(connection, run_id)
    return None if row is None else row.target_id


def lost(connection: Connection, run_id: str) -> StoreError:
    """Why this process may no longer write to a run."""
    run = connection.execute(
        select(Run.name, Run.host, Run.pid).where(Run.run_id == run_id)
    ).first()
    if run is None:
        return StoreError(f"run {run_id} is not in this database any more")
    return StoreError(
        f"run '{run.name}': process {run.pid} on {run.host} has taken it over, for no heartbeat of "
        f"this one had come for {_HEARTBEAT_GRACE.seconds} s; what this one found since is not stored"
    )


def lock_runs(connection: Connection) -> None:
    """Let one process at a time name or claim a run. (A SQLite transaction does so by itself.)"""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE")


def process_here(store: Store, run_id: str) -> int | None:
    """The process of this machine that works on a run; None: there is none, or it runs elsewhere."""
    with store.reading() as connection:
        run = connection.execute(select(Run.__table__).where(Run.run_id == run_id)).first()
    here = run is not None and run.status == "running" and run.host == socket.gethostname()
    return int(run.pid) if run is not None and here and is_alive(run) else None


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
