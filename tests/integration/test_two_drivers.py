"""Two drivers and one run: the one that lost it writes nothing into it any more."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

import db
from db.holder import target_of_mine
from db.models import Base, Proposal, Run, utc_now
from db.store import Store
from evo.types import Outcome
from fitness.types import Target
from tests.db.builders import DESCRIPTION, RunBuilder
from workers.interface import Failure, FailureKind, Sampling, StoreError

ROOT = Path(__file__).parents[2]
# A driver on another host, which does what it is told, one word a line.
FAR = """
import contextlib, socket, sys
socket.gethostname = lambda: "far"
import db
from tests.integration.test_two_drivers import Driver
with contextlib.closing(db.open(sys.argv[1])) as store:
    driver = Driver(store)
    print(driver.run.run_id, flush=True)
    for line in sys.stdin:
        print(driver.told(line.strip()), flush=True)
"""


class Driver:
    """What a driver writes into its run, call by call."""

    def __init__(self, store: Store) -> None:
        self.run, self.store = RunBuilder(store, "shared"), store

    def told(self, word: str) -> str:
        """The word "done", or the error in one line."""
        run_id = self.run.run_id
        made, assignment = self.run.proposal(f"prompt {self.run.index}", ())
        failure = Failure(FailureKind.NOT_NOVEL, "no")
        calls = {
            "propose": lambda: self.store.propose(run_id, [(assignment, made)]),
            "record": lambda: self.store.record(
                run_id, [Outcome(assignment, made, failure=failure)]
            ),
            "heartbeat": lambda: self.store.heartbeat(run_id, 1.0, None),
            "target": lambda: self.store.register_target(
                run_id, Target.of(DESCRIPTION, "another", Sampling()), DESCRIPTION
            ),
            "end": lambda: self.store.end_run(run_id, "finished", "done", wall_s=9.0),
        }
        try:
            calls[word]()
        except StoreError as error:
            return str(error)
        return "done"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/a.db"
        return
    server: str = request.getfixturevalue("postgres")
    yield server
    with contextlib.closing(db.open(server)) as store, store.engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


@contextlib.contextmanager
def far_driver(url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A driver on another host, and the id of the run that it began."""
    far = subprocess.Popen(
        [sys.executable, "-c", FAR, url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert far.stdout is not None
    try:
        yield far, far.stdout.readline().strip()
    finally:
        far.kill()
        far.communicate()


def tell(far: subprocess.Popen[str], word: str) -> str:
    assert far.stdin is not None
    assert far.stdout is not None
    far.stdin.write(f"{word}\n")
    far.stdin.flush()
    return far.stdout.readline().strip()


def test_a_driver_that_lost_its_run_writes_nothing_into_it_any_more(url: str) -> None:
    with contextlib.closing(db.open(url)) as store, far_driver(url) as (far, run_id):
        assert tell(far, "record") == "done"
        with store.writing() as connection:
            silent = utc_now() - timedelta(minutes=10)
            connection.execute(update(Run).values(heartbeat_at=silent))
        assert store.claim_run(run_id).run_id == run_id
        with store.reading() as connection:
            before = connection.execute(select(Run.__table__)).all()
        for word in ("propose", "record", "heartbeat", "target", "end"):
            said = tell(far, word)
            assert said.startswith("run 'shared': process "), (word, said)
            assert "has taken it over" in said
        with store.reading() as connection:
            assert connection.execute(select(Run.__table__)).all() == before
            assert connection.scalar(select(func.count()).select_from(Proposal)) == 1
        # The new one goes on.
        going_on = Driver.__new__(Driver)
        going_on.store, going_on.run = store, RunBuilder(store, "other")
        going_on.run.run_id, going_on.run.index = run_id, 5
        assert [going_on.told(w) for w in ("propose", "record", "heartbeat", "end")] == ["done"] * 4


def test_a_run_is_not_claimed_in_the_middle_of_a_write(url: str) -> None:
    with contextlib.closing(db.open(url)) as store, contextlib.closing(db.open(url)) as other:
        run_id = RunBuilder(store).run_id
        claimed = threading.Event()

        def claim() -> None:
            other.claim_run(run_id)
            claimed.set()

        with store.writing() as connection:
            target_of_mine(connection, run_id)
            claiming = threading.Thread(target=claim)
            claiming.start()
            assert not claimed.wait(0.5)
            connection.execute(text("UPDATE prompts SET source = NULL"))
        claiming.join(20)
        assert claimed.is_set()


def test_a_run_whose_holder_is_not_known_may_be_written(url: str) -> None:
    with contextlib.closing(db.open(url)) as store:
        driver = Driver(store)
        with store.writing() as connection:
            connection.execute(update(Run).values(host=None, pid=None, process_started=None))
        assert driver.told("record") == "done"


def test_a_second_writer_of_a_sqlite_file_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connection._BUSY_TIMEOUT_MS", 50)
    url = f"sqlite:///{tmp_path}/a.db"
    with (
        contextlib.closing(db.open(url)) as store,
        contextlib.closing(db.open(url)) as second,
        store.writing(),
        pytest.raises(StoreError, match="another process holds it; wait for it"),
    ):
        second.begin_run("x", {}, 0, "0")
