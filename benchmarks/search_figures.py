"""What a search found, in the figures of docs/benchmarks.md.

    python benchmarks/search_figures.py sqlite:///out/demo/demo.db quickstart

clusters: over-refusals that are not seeds, no two with a cosine of 0.9 or more. best_50: the mean
refusal rate of the 50 best of them by fitness, beside that of the seeds. The last line is JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
from statistics import fmean

import db
from db import queries

BEST = 50


def figures(url: str, run: str) -> dict[str, float | int | str]:
    with contextlib.closing(db.open(url, read_only=True)) as store:
        summary = queries.run_summary(store, run)
        rows = queries.query(store, run=run, safety="harmless", sort="fitness")
    scored = [row for row in rows if row["refusal_rate"] is not None]
    seeds = [row["refusal_rate"] for row in scored if row["strategy"] == "seed"]
    children = [row["refusal_rate"] for row in scored if row["strategy"] != "seed"]
    seeds_mean, best_mean = fmean(seeds), fmean(children[:BEST])
    return {
        "run": summary["name"],
        "evaluations": summary["evaluations"],
        "over_refusals": summary["over_refusals"],
        "clusters": summary["clusters"],
        "seeds_mean": round(seeds_mean, 3),
        "children_mean": round(fmean(children), 3),
        "best_50_mean": round(best_mean, 3),
        "best_50_over_seeds": round(best_mean / seeds_mean, 2),
        "search_s": round(summary["wall_s"], 1),
    }


if __name__ == "__main__":
    print(json.dumps(figures(*sys.argv[1:3])))
