"""A whole search whose target is hosted by vLLM in a replica, from the config to the store."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import db
import evo

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def test_a_search_runs_unchanged_with_the_engine_vllm(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/run.db"
    run = evo.search(
        {
            "name": "on-vllm",
            "seeds": {"dataset": "xstest-safe", "limit": 8},
            "target": {
                "engine": "vllm",
                "model": "local:smollm2-overcautious",
                "vllm": {"context_tokens": 1024, "kv_cache_gib": 1.0},
                "sampling": {"max_tokens": 12},
            },
            "search": {"batch": 6, "samples": {"first": 2, "max": 4}},
            "budget": {"evaluations": 24},
        },
        store=url,
    )
    summary = run.summary()
    assert (summary["status"], summary["evaluations"]) == ("finished", 24)
    assert summary["samples"] >= 48
    assert summary["over_refusals"] > 0
    with contextlib.closing(db.open(url, read_only=True)) as store:
        known = store.replay(run.run_id)
    assert len(list(known)) >= 24
