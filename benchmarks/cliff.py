"""Inside the model, measured: what probes, traces, head maps, selections and latent guards find, where it is known.

    python -m benchmarks.cliff [--part detect|heads|select|gate|traces] [--report]
        [--model MODEL --adapter FOLDER]

Each part appends one JSON line to benchmarks/results/cliff.jsonl; without --part all run, some half an
hour on two cores. `--report` prints the last line of each part as a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results/cliff.jsonl"
Figures = dict[str, Any]


def detect() -> Figures:
    from benchmarks import cliff_planted

    return asyncio.run(cliff_planted.detect())


def heads() -> Figures:
    from benchmarks import cliff_planted

    return asyncio.run(cliff_planted.heads())


def select() -> Figures:
    from benchmarks import cliff_repair

    return cliff_repair.select()


def gate() -> Figures:
    from benchmarks import cliff_gate

    return asyncio.run(cliff_gate.gate())


def traces() -> Figures:
    """In a process of its own: its peak memory is what is measured."""
    command = [sys.executable, "-m", "benchmarks.whitebox"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


PARTS: Mapping[str, Callable[[], Figures]] = {
    "detect": detect,
    "heads": heads,
    "select": select,
    "gate": gate,
    "traces": traces,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--model", help="instead of local:smollm2-thinking")
    parser.add_argument("--adapter", help="of that model: an organism in the making")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if arguments.report:
        print(table(RESULTS.read_text(encoding="utf-8").splitlines()))
        return
    if arguments.model:
        from benchmarks import cliff_planted

        cliff_planted.MODEL, cliff_planted.ADAPTER = arguments.model, arguments.adapter
    for name in arguments.part or PARTS:
        began = time.perf_counter()
        figures = PARTS[name]()
        wall_s = round(time.perf_counter() - began, 1)
        line = json.dumps({"part": name, "wall_s": wall_s, **figures})
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)


def table(lines: Sequence[str]) -> str:
    """Markdown of the last line of each part, one figure a row."""
    last = {found["part"]: found for found in map(json.loads, lines)}
    rows = ["| part | figure | value |", "|---|---|---|"]
    for part in PARTS:
        for name, value in last.get(part, {}).items():
            if name != "part":
                rows.append(f"| {part} | {name} | {value} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
