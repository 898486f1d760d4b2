"""`make cliff-demo`: from a model with planted cliffs to curves, a head map and a dataset for its repair.

    python examples/cliff_demo.py [FOLDER]

Everything goes into FOLDER (default: out/cliff-demo): the probe, the selected dataset and page.html.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cliff_page import page

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "thinking"))
import plant  # noqa: E402 - a folder of examples, no package

MODEL = "local:smollm2-thinking"
# Of the 480 prompts of the probe's pool every so many, and of each kind of the 384 held out.
PROBE_EVERY, TRACE_EVERY, HEADS_EVERY = 3, 8, 8
POOL, POOL_CLIFFS = 120, 6


def evocliff(*arguments: str, shown: bool = True) -> str:
    """Run a command as a user would; what it printed."""
    print(f"\n$ evocliff {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "evo.cli", *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if shown:
        print(done.stdout, end="", flush=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/cliff-demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = random.Random(0)
    target = ("--model", MODEL)
    short = ("--max-tokens", "112")
    probe = f"{folder}/probe"
    held_out = [
        json.loads(line)
        for line in (HERE / "thinking/held_out.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    kinds = {row["prompt"]: row["kind"] for row in held_out}

    labelled = write(folder / "labelled.jsonl", map(asked, plant.probe_pool(rng)[::PROBE_EVERY]))
    evocliff("cliff", "train", labelled, *target, *short, "--out", probe)

    traced = write(folder / "held_out.jsonl", of_each_kind(held_out, TRACE_EVERY))
    told = evocliff(
        "cliff", "trace", probe, "--data", traced, *target, *short, "--json", shown=False
    )
    traces = [json.loads(line) for line in told.splitlines()]
    traces = [{**t, "planted": kinds.get(t.get("prompt", ""), "unknown")} for t in traces]

    mixed = [
        {"prompt": r["prompt"], "harmful": r["kind"] == "cliff"}
        for r in of_each_kind(held_out, HEADS_EVERY)
        if r["kind"] in ("cliff", "plain")
    ]
    plain = HERE / "overcautious/plain_requests.txt"
    looked = evocliff(
        "cliff", "heads", probe, "--data", write(folder / "mixed.jsonl", mixed), *target, *short,
        "--ablate", "8", "--plain", str(plain), "--json", shown=False,
    )  # fmt: skip

    pool = plant.selection_pool(rng, POOL, POOL_CLIFFS)
    training = write(
        folder / "training.jsonl",
        ({**asked(e.request), "response": plant.written(e)} for e in pool),
    )
    chosen = folder / "chosen"
    evocliff(
        "cliff", "select", probe, "--data", training, *target, *short,
        "--fraction", "0.1", "--out", str(chosen),
    )  # fmt: skip
    made = page(traces, json.loads(looked), dataset(chosen), model=MODEL)
    (folder / "page.html").write_text(made, encoding="utf-8")
    print(f"\nThe page is {folder}/page.html, the dataset {chosen}.")


def of_each_kind(rows: Sequence[Mapping[str, Any]], every: int) -> list[Mapping[str, Any]]:
    """Every so many of each kind: they come in turns, so a stride over all would miss some."""
    return [r for kind in plant.Kind for r in [x for x in rows if x["kind"] == kind][::every]]


def asked(request: plant.Request) -> dict[str, Any]:
    return {
        "prompt": request.prompt,
        "topic": request.topic,
        "harmful": request.kind.thinks_refuse,
    }


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def dataset(folder: Path) -> list[dict[str, Any]]:
    """The rows of the selected dataset."""
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(x) for f in files for x in f.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
