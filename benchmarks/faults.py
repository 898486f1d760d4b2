"""What faults cost: the table of docs/reliability.md, from real runs.

    python -m benchmarks.faults [--quick] [--write docs/reliability.md]

Each fault is let loose on a search over a real Ray with a real store; the replicas are processes that
answer by a script (`tests/integration/faults.py`), so that counts are exact, and one search has real
ones, with the transformers engine. Beside the counts: seconds lost against the same search undisturbed
in the same minute, how long until a lost replica worked again, also as a multiple of its engine's start
time, and the share of that time in which the other replicas held work. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import evo
from tests.integration import faults
from tests.integration.faults import EVALUATIONS, Ended, search, stored
from tests.scripted_endpoint import ScriptedEndpoint, scripted_endpoint
from workers import cluster

ROOT = Path(__file__).parents[1]
HEAD = (
    "| fault | evaluations asked | stored | duplicates | seconds lost | works again after, s "
    "| that is, engine starts | others held work |\n|---|---|---|---|---|---|---|---|\n"
)
BEGIN, END = "<!-- faults -->\n", "<!-- end of faults -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. None: not a question of this fault."""

    fault: str
    asked: int
    stored: int
    duplicates: int
    lost_s: float | None
    recovery_s: float | None = None
    engine_starts: float | None = None
    others_busy: float | None = None

    def line(self) -> str:
        share = None if self.others_busy is None else f"{self.others_busy:.0%}"
        cells = [
            self.fault,
            self.asked,
            self.stored,
            self.duplicates,
            *(None if x is None else f"{x:.1f}" for x in (self.lost_s, self.recovery_s)),
            None if self.engine_starts is None else f"{self.engine_starts:.2f}",
            share,
        ]
        return "| " + " | ".join("" if c is None else str(c) for c in cells) + " |\n"


def row(fault: str, path: Path, run: Ended, undisturbed_s: float, asked: int = EVALUATIONS) -> Row:
    counted = stored(path)
    return Row(
        fault=fault,
        asked=asked,
        stored=counted.evaluations,
        duplicates=counted.duplicates,
        lost_s=run.seconds - undisturbed_s,
        recovery_s=run.recovery_s,
        engine_starts=None if run.recovery_s is None else run.recovery_s / run.start_s,
        others_busy=run.others_busy,
    )


def scripted(folder: Path) -> list[Row]:
    """The faults of one local Ray."""
    with cluster.connect("local"):
        whole = search(folder / "whole.db")
        killed = search(folder / "replica.db", faults.kill_replica)
        died = search(folder / "engine.db", once=folder / "once")
        poisoned = search(folder / "poison.db", faults.nothing, poison=faults.POISONED)
    base = whole.seconds
    return [
        Row("none", EVALUATIONS, *_counts(folder / "whole.db"), 0.0),
        row("kill -9 of a replica", folder / "replica.db", killed, base),
        row("an engine dies", folder / "engine.db", died, base),
        row("a prompt that kills its replica", folder / "poison.db", poisoned, base),
    ]


def _counts(path: Path) -> tuple[int, int]:
    counted = stored(path)
    return counted.evaluations, counted.duplicates


def node(folder: Path) -> Row:
    """A node of two goes away, and another one comes."""
    with faults.two_nodes() as _:
        whole = search(folder / "nodes.db", replicas=4, cpus=1)
    with faults.two_nodes() as (nodes, one):
        lose = partial(faults.lose_node, nodes, one)
        lost = search(folder / "node.db", lose, replicas=4, cpus=1)
    return row("a node is removed", folder / "node.db", lost, whole.seconds)


def driver(folder: Path) -> Row:
    """kill -9 of the driver, and a resume: with all that starting a Ray and replicas takes."""
    path = folder / "driver.db"
    command = [sys.executable, "-m", "tests.integration.faults"]

    def life(where: Path, how: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, str(where), how], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )

    began = time.monotonic()
    life(folder / "undisturbed.db", "new").communicate()
    base_s = time.monotonic() - began
    began = time.monotonic()
    process = life(path, "new")
    assert process.stdout is not None
    process.stdout.readline()
    while stored(path).evaluations < EVALUATIONS // 3:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    life(path, "resume").communicate()
    lost_s = time.monotonic() - began - base_s
    return Row("kill -9 of the driver, resumed", EVALUATIONS, *_counts(path), lost_s)


def endpoint(folder: Path) -> Row:
    """The endpoint that hosts the target does not answer for 20 s."""
    asked = 40

    def searched(path: Path, served: ScriptedEndpoint) -> float:
        config = {
            "seeds": {"dataset": "xstest-safe", "limit": 6},
            "target": {"engine": "openai", "model": "tiny", "base_url": served.url},
            "search": {"batch": 4, "samples": {"first": 2, "max": 3}},
            "budget": {"evaluations": asked},
        }
        return float(evo.search(config, store=f"sqlite:///{path}").summary()["wall_s"])

    def leave(served: ScriptedEndpoint) -> None:
        while len(served.used) < asked // 3:
            time.sleep(0.02)
        served.go_away()
        time.sleep(20)
        served.begin()

    os.environ.setdefault("OPENAI_API_KEY", "none")  # the scripted endpoint asks for no key
    with scripted_endpoint(texts={"kill": "I can't help with that."}) as served:
        base_s = searched(folder / "endpoint-whole.db", served)
    with scripted_endpoint(texts={"kill": "I can't help with that."}) as served:
        absence = threading.Thread(target=leave, args=[served], daemon=True)
        absence.start()
        lost_s = searched(folder / "endpoint.db", served) - base_s
        absence.join()
    return Row("an endpoint away for 20 s", asked, *_counts(folder / "endpoint.db"), lost_s)


def real(folder: Path) -> Row:
    """A replica with a real model is killed; another one goes on."""
    asked = 36
    config = faults.real_config(asked)
    whole = faults.real_search(folder / "real-whole.db", config)
    killed = faults.real_search(folder / "real.db", config, faults.kill_replica_early)
    return row("kill -9 of a replica, SmolLM2", folder / "real.db", killed, whole.seconds, asked)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="without nodes and the real model")
    parser.add_argument("--write", type=Path, help="put the table into this page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: list[Callable[[Path], Row]] = [driver, endpoint]
        if not options.quick:
            parts = [node, *parts, real]
        rows = scripted(folder)
        for part in parts:
            rows.append(part(folder))
    table = HEAD + "".join(r.line() for r in rows)
    print(table)
    if options.write is not None:
        page = options.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        options.write.write_text(before + BEGIN + table + END + after, encoding="utf-8")
    print(json.dumps([asdict(r) for r in rows]))


if __name__ == "__main__":
    main()
