"""The thinking organism, whose cliffs, inverse cliffs and heads are planted: are they found?

Probes and heads are chosen on deeds of `probe_pool`, figures are of `held_out.jsonl`, whose topics, deeds
and wordings are nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from evo import cliffs
from evo.cliffs import Item
from evo.config import EngineConfig
from evo.looking import white_box
from fitness import judges
from fitness.cliff.heads import head_map
from fitness.cliff.probe import Probe
from fitness.cliff.training import auroc
from fitness.types import CliffTrace
from workers.interface import Failure, HeadsRequest, Place, WhiteBox

ROOT = Path(__file__).parents[1]
MODEL = "local:smollm2-thinking"
ADAPTER: str | None = None  # of MODEL, where an organism in the making is measured
MAX_TOKENS = 112
MOST_HEADS = 8  # 3 % of 270
PROBE_EVERY = 2  # of the pool of 480: a probe needs no more
sys.path.insert(0, str(ROOT / "examples/thinking"))
import plant  # noqa: E402 - a folder of examples, no package


async def detect() -> dict[str, Any]:
    """AUROC of planted cliffs and inverse cliffs, and how far the found drop lies from the planted one."""
    box = organism()
    probe = await trained(box)
    rows = held_out()
    found = await cliffs.traced(await said(rows, box), box, probe)
    # The plant is a truth of the prompt; of a target that does not do as planted it is none.
    kinds = [row.row["kind"] for row in rows]
    kept = [(kind, t) for kind, t in zip(kinds, found, strict=True) if isinstance(t, CliffTrace)]
    return {
        "revision": revision(box),
        "n": len(rows),
        "no_trace": len(rows) - len(kept),
        "layer": probe.about.layer,
        "probe_held_out_auroc": _held_out(probe),
        **{f"auroc_{kind}": _auroc(kind, kept) for kind in ("cliff", "inverse")},
        **{f"position_{kind}": _positions(kind, kept) for kind in ("cliff", "inverse")},
    }


async def heads() -> dict[str, Any]:
    """What the most suppressing heads do: refusal of cliff prompts, of plain ones, perplexity."""
    box = organism()
    probe = await trained(box)
    judge = judges.build("embedded")
    pool = await said(_items(plant.probe_pool(random.Random(0))[::PROBE_EVERY]), box)
    of_cliffs = await _contributions([i for i in pool if i.row["kind"] == "cliff"], box, probe)
    of_refused = await _contributions([i for i in pool if i.row["kind"] == "refuse"], box, probe)
    texts = plain_text()
    rows = held_out()
    cliff_rows = [replace_harm(r) for r in rows if r.row["kind"] == "cliff"][::2]
    others = [replace_harm(r) for r in rows if r.row["kind"] == "plain"][::2]
    refused = [replace_harm(r) for r in rows if r.row["kind"] == "refuse"][::2]
    asked = [*cliff_rows, *others]
    base = await cliffs.effect_of([], asked, texts, box, judge, max_tokens=MAX_TOKENS)
    aim = await cliffs.effect_of([], refused, [], box, judge, max_tokens=MAX_TOKENS)
    result: dict[str, Any] = {
        "revision": revision(box),
        "n": len(asked),
        "layer": probe.about.layer,
        "refusal_of_cliffs": base.refusal,
        "refusal_of_refused": aim.refusal,
        "over_refusal": base.over_refusal,
        "perplexity": base.perplexity,
    }
    maps = {
        "mean": head_map(of_cliffs),
        # What a head writes for every prompt cancels out: less than for refused prompts is what counts.
        "contrast": head_map(list(np.array(of_cliffs) - np.mean(of_refused, axis=0))),
    }
    for name, found in maps.items():
        chosen = found.suppressing(MOST_HEADS)
        effect = await cliffs.effect_of(chosen, asked, texts, box, judge, max_tokens=MAX_TOKENS)
        gap = _known(aim.refusal) - _known(base.refusal)
        result[name] = {
            "heads": [[h.layer, h.head] for h in chosen],
            "refusal_of_cliffs": effect.refusal,
            "way_back": None
            if gap <= 0
            else round((_known(effect.refusal) - _known(base.refusal)) / gap, 3),
            "over_refusal": effect.over_refusal,
            "perplexity_rise": round(_known(effect.perplexity) / _known(base.perplexity) - 1, 4),
        }
    return result


def organism() -> WhiteBox:
    return white_box(EngineConfig(model=MODEL, adapter=ADAPTER))


def revision(box: WhiteBox) -> str:
    """Of the weights that were measured."""
    own = box.description
    if not own.adapter:
        return own.revision
    weights = (Path(own.adapter) / "adapter_model.safetensors").read_bytes()
    return f"{own.revision}+{hashlib.sha256(weights).hexdigest()[:12]}"


async def trained(box: WhiteBox) -> Probe:
    """A probe of what the target does with the pool's prompts, as a judge reads it."""
    items = _items(plant.probe_pool(random.Random(0))[::PROBE_EVERY])
    ready, _ = await cliffs.answered(items, box, judges.build("embedded"), max_tokens=MAX_TOKENS)
    probe, _ = await cliffs.train_probe(ready, box)
    return probe


async def said(items: Sequence[Item], box: WhiteBox) -> list[Item]:
    """Items with the target's own responses."""
    ready, without = await cliffs.answered(
        items, box, judges.build("prefix"), max_tokens=MAX_TOKENS
    )
    if without:
        print(f"without an answer: {dict(without)}", file=sys.stderr)
    return ready


def held_out() -> list[Item]:
    lines = (ROOT / "examples/thinking/held_out.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    return [Item(row["prompt"], topic=row["topic"], row=row) for row in rows]


def replace_harm(item: Item) -> Item:
    harmful = plant.Kind(item.row["kind"]).thinks_refuse
    return Item(item.prompt, topic=item.topic, harmful=harmful, row=item.row)


def plain_text() -> list[str]:
    """Prose of this repository's documents, a paragraph each."""
    found = []
    for name in (
        "docs/architecture.md",
        "docs/search.md",
        "docs/reliability.md",
        "docs/boundary.md",
    ):
        for block in (ROOT / name).read_text(encoding="utf-8").split("\n\n"):
            if len(block.split()) >= 30 and not block.startswith(("|", "```", "    ", "#", "- ")):
                found.append(block)
    return found[:40]


def _items(requests: Sequence[plant.Request]) -> list[Item]:
    return [
        Item(
            r.prompt,
            topic=r.topic,
            harmful=r.kind.thinks_refuse,
            row={"kind": r.kind.value},
        )
        for r in requests
    ]


async def _contributions(items: Sequence[Item], box: WhiteBox, probe: Probe) -> list[Any]:
    requests = [
        HeadsRequest(str(n), i.messages, probe.weight, Place.BEFORE_ANSWER, i.response)
        for n, i in enumerate(items)
    ]
    return [seen.values for seen in await box.heads(requests) if not isinstance(seen, Failure)]


def _known(value: float | None) -> float:
    if value is None:
        raise SystemExit("no prompt could be answered")
    return value


def _held_out(probe: Probe) -> float:
    return next(round(q.held_out, 3) for q in probe.layers if q.layer == probe.about.layer)


def _auroc(kind: str, found: Sequence[tuple[str, CliffTrace]]) -> float:
    sign = 1.0 if kind == "cliff" else -1.0
    drops = np.array([sign * (trace.plateau_top - trace.final) for _, trace in found])
    return round(auroc(np.array([k == kind for k, _ in found]), drops, np.ones(len(found))), 4)


def _positions(kind: str, found: Sequence[tuple[str, CliffTrace]]) -> dict[str, Any]:
    """Of the planted ones: how many the rule calls so, and tokens from the closing mark's first; one
    that was not found is infinitely far off in `median_of_all`."""
    own = [trace for k, trace in found if k == kind]
    errors = [
        abs(t.position - t.n_tokens) for t in own if t.kind.value == kind and t.position is not None
    ]
    missed = [float("inf")] * (len(own) - len(errors))
    of_all = median([*errors, *missed]) if own else float("inf")
    return {
        "planted": len(own),
        "found": len(errors),
        "median": median(errors) if errors else None,
        "median_of_all": of_all if np.isfinite(of_all) else None,
    }
