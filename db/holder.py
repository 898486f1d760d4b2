"""Who holds a run: the process that writes it now, and whether that process still lives."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any

import psutil
from sqlalchemy import Connection, Row

from db.models import utc_now

# A writer on another host counts as alive while its last heartbeat is younger than this.
_HEARTBEAT_GRACE = timedelta(seconds=60)


def holder() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "heartbeat_at": utc_now(),
    }


def lock_runs(connection: Connection) -> None:
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
