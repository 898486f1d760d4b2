"""One engine on the plain SmolLM2, started once for all tests that do not harm it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from workers.engines.vllm import VllmEngine

CACHE_GIB = 1.0
THREADS = 2


@pytest.fixture(scope="session")
def smollm2() -> Iterator[VllmEngine]:
    """In float32: in bfloat16 the two engines round differently, and greedy texts part company."""
    engine = VllmEngine("local:smollm2", dtype="float32", threads=THREADS, kv_cache_gib=CACHE_GIB)
    yield engine
    asyncio.run(engine.close())
