"""Export rows/s and resident memory, for each format, over a store that is made up in bulk.

    python benchmarks/export_scale.py --prompts 200000

Each format is exported in a process of its own, so that its peak is its own. Prints a table and, last,
one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import db
from db import exporters
from db.models import Base, utc_now
from db.rows import insert_new
from evo.types import prompt_id
from workers.interface import ConfigError

RUNS, SEEDS, SAMPLES = 8, 400, 4
_WORDS = [
    "how",
    "do",
    "i",
    "kill",
    "a",
    "zombie",
    "process",
    "on",
    "linux",
    "before",
    "the",
    "exam",
    "shoot",
    "great",
    "photos",
    "of",
    "my",
    "dog",
    "in",
    "the",
    "park",
    "without",
    "breaking",
    "any",
    "lens",
    "where",
    "can",
    "someone",
    "learn",
    "to",
    "whip",
    "cream",
    "crush",
    "garlic",
    "blow",
    "up",
    "balloons",
    "for",
    "parties",
    "destroy",
    "old",
    "hard",
    "drives",
    "safely",
    "beat",
    "eggs",
    "attack",
    "this",
    "maths",
    "problem",
]
_BATCH = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=200_000)
    parser.add_argument("--format", action="append", help="default: each, then all together")
    parser.add_argument("--store", type=Path, help="keep the store in this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(measured(asked.store, asked.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = asked.store or Path(folder) / "scale.db"
        if not path.exists():
            build(path, asked.prompts)
        formats = asked.format or [*exporters.FORMATS, exporters.ALL]
        found = [_in_a_child(path, name) for name in formats]
    for row in found:
        print(
            "{format:<16}{rows:>9} rows {rows_per_s:>9.0f} rows/s  {rss_mb:>6.0f} MB".format(**row)
        )
    print(json.dumps({"prompts": asked.prompts, "formats": found}))


def _in_a_child(path: Path, name: str) -> dict[str, Any]:
    words = [sys.executable, __file__, "--store", str(path), "--child", name]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measured(path: Path, name: str) -> dict[str, Any]:
    """Rows (of all configs together), rows/s by the clock and by the processor, and the peak."""
    store = db.open(f"sqlite:///{path}", read_only=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        began, cpu = time.perf_counter(), time.process_time()
        try:
            done = exporters.export(store, name, Path(folder) / "out")
        except ConfigError as error:
            return {"format": name, "rows": 0, "rows_per_s": 0.0, "rss_mb": 0.0, "why": str(error)}
        took, worked = time.perf_counter() - began, time.process_time() - cpu
    rows = sum(done["rows"].values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "format": name,
        "rows": rows,
        "rows_per_s": rows / took,
        "rows_per_cpu_s": rows / worked,
        "rss_mb": peak,
    }


def build(path: Path, n: int) -> None:
    """Eight runs on one target; most prompts are refused over-refusals, one in fifty is in two runs."""
    store = db.open(f"sqlite:///{path}")
    with store.writing() as connection:
        for table in ("targets", "runs"):
            insert_new(connection, _table(table), _heads(table))
        seeds = list(_seeds())
        insert_new(connection, _table("prompts"), seeds)
    for start in range(0, n, _BATCH):
        rows = _made(start, min(n, start + _BATCH), [s["prompt_id"] for s in seeds])
        with store.writing() as connection:
            for table, made in rows.items():
                insert_new(connection, _table(table), made)
    with store.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    store.close()


def _table(name: str) -> Any:
    return next(m.class_ for m in Base.registry.mappers if m.class_.__tablename__ == name)


def _heads(table: str) -> list[dict[str, Any]]:
    if table == "targets":
        return [
            {
                "target_id": "t" * 16,
                "model": "made-up",
                "revision": "1",
                "adapter": None,
                "template": "tpl",
                "system_prompt": None,
                "temperature": 1.0,
                "top_p": 0.995,
                "top_k": 0,
                "max_tokens": 50,
                "engine": "none",
                "dtype": "float32",
                "device": "cpu",
            }
        ]
    config = {"search": {"threshold": 0.5}, "safety": ["g", "h"], "judges": ["j"]}
    return [
        {
            "run_id": f"{number:012x}",
            "name": f"run-{number}",
            "status": "finished",
            "config": json.dumps(config),
            "seed": 0,
            "target_id": "t" * 16,
            "version": "0",
            "started_at": utc_now(),
            "threshold": 0.5,
        }
        for number in range(RUNS)
    ]


def _seeds() -> Iterator[dict[str, Any]]:
    for number in range(SEEDS):
        text = f"How do I stop process number {number}?"
        yield {
            "prompt_id": prompt_id(text),
            "text": text,
            "source": "made-up",
            "licence": "CC0-1.0",
            "created_at": utc_now(),
        }


def _made(start: int, stop: int, seeds: list[str]) -> dict[str, list[dict[str, Any]]]:
    chance = np.random.default_rng(start)
    words = chance.integers(len(_WORDS), size=(stop - start, 14))
    tables: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            "prompts",
            "proposals",
            "lineage",
            "gate_decisions",
            "embeddings",
            "samples",
            "verdicts",
            "evaluations",
        )
    }
    now = utc_now()
    for number in range(start, stop):
        text = " ".join(_WORDS[w] for w in words[number - start]) + f" {number}?"
        prompt = prompt_id(text)
        own = {"prompt_id": prompt}
        tables["prompts"].append(
            own | {"text": text, "source": None, "licence": None, "created_at": now}
        )
        harmless = number % 20 != 0
        for gate in ("g", "h"):
            tables["gate_decisions"].append(
                own
                | {
                    "gate": gate,
                    "version": "1",
                    "outcome": "harmless" if harmless else "controversial",
                    "p_harmful": 0.1,
                    "reason": "",
                }
            )
        rate = [0.25, 0.5, 0.75, 0.5, 0.75][number % 5]
        target = {"target_id": "t" * 16, "prompt_id": prompt}
        for index in range(SAMPLES):
            refused = index < rate * SAMPLES
            said = "I'm sorry, but I can't help with that. " if refused else "Sure, here is how. "
            first = {"run_id": f"{number % RUNS:012x}"}
            tables["samples"].append(
                target
                | first
                | {
                    "sample_index": index,
                    "text": said + text * 2,
                    "reasoning": None,
                    "n_tokens": 40,
                    "logprob_sum": -20.0,
                    "sampling_logprob_sum": -19.0,
                    "finish_reason": "stop",
                    "created_at": now,
                }
            )
            tables["verdicts"].append(
                target
                | {
                    "sample_index": index,
                    "judge": "j",
                    "version": "1",
                    "p_refusal": (0.9 if refused else 0.05) + index * 0.01,
                    "unscored_reason": None,
                    "response_class": "hard_refusal" if refused else "direct_answer",
                }
            )
        for run in {number % RUNS, (number + (number % 50 == 0)) % RUNS}:
            key = {"run_id": f"{run:012x}", "proposal_index": number}
            seed = seeds[number % SEEDS]
            tables["proposals"].append(
                key
                | {
                    "operator": "lexical",
                    "strategy": ["violent_words", "anger", "despair"][number % 3],
                    "assignment_seed": number,
                    "asked_after": 0,
                    "status": "evaluated",
                    "completed_order": number,
                    "prompt_id": prompt,
                    "text": text,
                    "topic": ["homonyms", "privacy", "figurative"][number % 3],
                    "seed_prompt_id": seed,
                    "gates": '[["g", "1"], ["h", "1"]]',
                    "embedder": "e",
                    "safety": "harmless" if harmless else "controversial",
                }
            )
            tables["lineage"].append(key | {"position": 0, "parent_prompt_id": seed})
            tables["evaluations"].append(
                key
                | target
                | {
                    "fitness": rate - 1 - (number % 9973) / 1e5,
                    "refusal_term": rate - 1,
                    "confidence": -0.8,
                    "entropy": None,
                    "refusal_rate": rate,
                    "refusal_low": rate / 2,
                    "refusal_high": (1 + rate) / 2,
                    "n_samples": SAMPLES,
                    "n_unscored": 0,
                    "n_new": SAMPLES,
                    "target_tokens": 160,
                    "prompt_tokens": 40,
                    "engine_s": 0.1,
                    "judges": '[["j", "1"]]',
                    "strategy": tables["proposals"][-1]["strategy"],
                    "safety": tables["proposals"][-1]["safety"],
                }
            )
        tables["embeddings"].append(own | {"embedder": "e", "dim": 384, "vector": _vector(chance)})
    return tables


def _vector(chance: np.random.Generator) -> bytes:
    drawn = chance.normal(size=384)
    return (drawn / np.linalg.norm(drawn)).astype("<f4").tobytes()


if __name__ == "__main__":
    main()
