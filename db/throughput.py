"""How fast a target answered in former runs: what an estimate of the next run may rest on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from db.models import Evaluation, Run

if TYPE_CHECKING:
    from db.store import Store

# What makes a target fast or slow, as far as the config tells.
_SAME = ("engine", "model", "adapter", "dtype", "device")


@dataclass(frozen=True, slots=True)
class Measured:
    """Generated tokens per second of one replica, from the first proposal to the last answer, and
    the run that they were counted in."""

    tokens_per_s: float
    run: str


def measured(store: Store, target: Mapping[str, Any]) -> Measured | None:
    """From the newest run of the same model, hosted in the same way; None when there is none.

    Args:
        target: the `target` section of a config, as plain data.
    """
    tokens = func.sum(Evaluation.target_tokens)
    query = (
        select(Run.name, Run.config, Run.wall_s, tokens)
        .join(Evaluation, Evaluation.run_id == Run.run_id)
        .where(Run.wall_s > 0)
        .group_by(Run.run_id, Run.name, Run.config, Run.wall_s, Run.started_at)
        .having(tokens > 0)
        .order_by(Run.started_at.desc())
    )
    with store.reading() as connection:
        for name, config, wall_s, n_tokens in connection.execute(query):
            settings = json.loads(config)
            if settings.get("targets"):  # whose tokens they were is not known
                continue
            former = settings.get("target", {})
            replicas = former.get("replicas", 1)
            same = all(former.get(key) == target.get(key) for key in _SAME)
            if same and isinstance(replicas, int):
                return Measured(float(n_tokens) / wall_s / replicas, str(name))
    return None
