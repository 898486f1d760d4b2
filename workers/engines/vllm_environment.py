"""What vLLM's processes inherit: environment variables, set while an engine starts and then put back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from workers.engines.parallel import Executor

# On CPU vLLM would take nearly all memory of the machine for its cache.
CPU_KV_CACHE_GIB = 2.0
_GIB = 2**30


@contextlib.contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that child processes inherit, and put back what was. The environment is the whole
    process's: one at a time."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def quiet(executor: Executor | None) -> dict[str, str]:
    """No report to anybody; warnings and worse are logged."""
    values = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    values["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"  # stdout is for results
    if "VLLM_LOGGING_LEVEL" not in os.environ:
        values["VLLM_LOGGING_LEVEL"] = "WARNING"
    if executor != "ray":
        # A forked process does not show the guard's mark. With Ray, vLLM itself sees to it.
        values["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    return values


def worker_threads(threads: int | None, pieces: int) -> dict[str, str]:
    """On CPU, share `threads` among the workers and bind them to no core: by default vLLM binds each
    engine of a machine to the same cores, and leaves one of them idle.

    >>> worker_threads(8, 2)["OMP_NUM_THREADS"]
    '4'
    """
    if threads is None:
        return {}
    each = max(1, threads // pieces)
    return {"OMP_NUM_THREADS": str(each), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def cache_bytes(kv_cache_gib: float | None) -> int:
    """Size of the cache: as asked for, else as vLLM's variable for CPUs says, else 2 GiB."""
    if kv_cache_gib is None:
        kv_cache_gib = float(os.environ.get("VLLM_CPU_KVCACHE_SPACE") or CPU_KV_CACHE_GIB)
    return int(kv_cache_gib * _GIB)
