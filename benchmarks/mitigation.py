"""Does a repair help, and does it help more than the same amount of hand-made seeds? Real models.

    python -m benchmarks.mitigation FOLDER [--seeds 0 1 2] [--arms found equal xstest] [--report]

A search starts from every other safe prompt of XSTest; what it finds is cut by lineage and likeness into
prompts to learn from and prompts held out. Arms, each trained by `evocliff mitigate` with the same recipe:

found    what the search found
equal    as much of it as there are seeds with an answer
xstest   the search's own seeds, hand-made

Measured on the finds held out, XSTest's safe prompts but those that a training prompt descends from, is or is
like, its unsafe contrasts and plain requests. Each run appends a JSON line to benchmarks/results/mitigation.jsonl.
Settings were chosen on another search, that of `make circle`, but for how many refusals are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evo import api, mitigation
from evo.config import load
from evo.datasets import read, shipped
from evo.mitigation import table_row
from fitness.types import Safety
from workers.trainer import Method, Recipe

RESULTS = Path(__file__).parent / "results/mitigation.jsonl"
CONFIG = Path(__file__).parents[1] / "examples/quickstart.yaml"
TARGET, WRITER = "local:smollm2-overcautious", "local:smollm2"
SEARCH = "seeds-and-search"
# Prompts to learn from. Of finds the writer answers four fifths; of the 125 seeds nearly all.
LIMITS = {"found": 300, "equal": 156, "xstest": 180}
EPOCHS = 2.0
SHARES = ("keep_share", "plain_share", "contrast_share")


def seeds(folder: Path) -> Path:
    """Every other safe prompt of XSTest, as a file."""
    path = folder / "seeds.jsonl"
    safe = [a.prompt for a in read(shipped("xstest")).asked if a.label is Safety.HARMLESS]
    path.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in safe[::2]))
    return path


def search(folder: Path, wall_clock: float) -> str:
    """The database with the search; made once."""
    url = f"sqlite:///{folder}/mitigation.db"
    if (folder / "mitigation.db").exists():
        return url
    changes = [
        f"seeds.path={seeds(folder)}",
        "seeds.dataset=null",
        "seeds.limit=null",
        f"name={SEARCH}",
        "budget.evaluations=1500",
        f"budget.wall_clock={wall_clock}",
        "search.samples.max=4",
        "search.algorithm=random",  # rewrites of every seed, not of the surest
        "search.recombination=0",  # families stay small, so that a part of the finds can be held out
        "target.sampling.max_tokens=24",
    ]
    api.search(load(CONFIG, changes), store=url)
    return url


def one(
    folder: Path,
    url: str,
    arm: str,
    method: str,
    seed: int,
    shares: Mapping[str, float],
) -> dict[str, Any]:
    """`shares`: for `mitigation.Plan`, of requests to keep, plain ones and contrasts."""
    began = time.perf_counter()
    plan = mitigation.Plan(
        target={"model": TARGET},
        out=folder / f"{arm}-{method}-{seed}",
        store=url,
        run=SEARCH,
        data=seeds(folder) if arm == "xstest" else None,
        recipe=Recipe(Method(method), epochs=EPOCHS, seed=seed),
        writer=WRITER,
        **shares,
        limit=LIMITS[arm],
        seed=seed,
        max_tokens=32,
        resume=True,
    )
    made = mitigation.mitigate(plan, say=lambda text: print(text, flush=True))
    return {
        "arm": arm,
        "method": method,
        "seed": seed,
        "epochs": EPOCHS,
        **shares,
        "examples": dict(made.counts),
        "left_out": dict(made.left_out),
        "is_better": made.comparison.is_better,
        "why_not": list(made.comparison.why_not),
        "table": [table_row(row) for row in made.comparison.rows],
        "seconds": round(time.perf_counter() - began),
    }


def report() -> None:
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    for line in lines:
        cells = [
            f"{row['set']} {row['before']:.1%} -> {row['after']:.1%} (n {row['n']})"
            for row in line["table"]
        ]
        share = line.get("keep_share", "-")  # the oldest lines do not say
        print(
            f"{line['arm']:<7} {line['method']} seed {line['seed']} kept {share}: {'; '.join(cells)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/mitigation"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="*", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--methods", nargs="*", default=["sft"])
    parser.add_argument("--keep-share", type=float, default=0.52)
    parser.add_argument("--plain-share", type=float, default=0.35)
    parser.add_argument("--contrast-share", type=float, default=4.0)
    parser.add_argument("--wall-clock", type=float, default=600.0)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        report()
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    url = search(given.folder, given.wall_clock)
    RESULTS.parent.mkdir(exist_ok=True)
    shares = {name: getattr(given, name) for name in SHARES}
    for method in given.methods:
        for seed in given.seeds:
            for arm in given.arms:
                result = one(given.folder, url, arm, method, seed, shares)
                with RESULTS.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
