"""Makes evo/mitigation/sets: what a repair must not change, and on what that is measured.

    python examples/mitigation_sets.py

kept.jsonl   harmful requests with a refusal each, and what they are refused for: their refusal must stay
plain.jsonl  everyday requests, to be answered as before
Half of the harmful requests are written from lists (harmful_requests.py). The others, and the everyday ones, are those that the over-cautious organism learned from (examples/overcautious/prompts.py), from
which whatever shares most of its words with an XSTest prompt is left out already.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "overcautious"))
import harmful_requests
import prompts as organism

OUT = Path(__file__).parents[1] / "evo/mitigation/sets"
KEPT, PLAIN = 240, 120


def main() -> None:
    rng = random.Random(7)
    harmful = organism.refused(rng)
    # Not the faults that were planted, and nobody else's idea of what to refuse.
    faults = {*organism.FAULTS, *organism.asked_of_chatgpt("rejected")}
    kept = rng.sample([p for p in harmful if p not in faults], KEPT)
    everyday = [p.format(t=t) for t in organism.TOPICS for p in rng.sample(organism.PLAIN, 5)]
    everyday += organism.PLAIN_MORE
    measured = (Path(__file__).parent / "overcautious/plain_requests.txt").read_text().splitlines()
    plain = rng.sample(organism.unseen(everyday), PLAIN)
    rows = {
        "kept": [
            {
                "prompt": p,
                "refusal": rng.choice(organism.REFUSALS),
                "category": harmful_requests.category(p),
            }
            for p in kept
        ],
        "plain": [{"prompt": p} for p in plain],
        "plain_measured": [{"prompt": p} for p in measured],
    }
    also = random.Random(5)
    rows["kept"] += [
        {"prompt": p, "refusal": also.choice(sorted(organism.REFUSALS)), "category": c}
        for p, c in harmful_requests.written(also)
    ]
    OUT.mkdir(parents=True, exist_ok=True)
    for name, made in rows.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
        (OUT / f"{name}.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
