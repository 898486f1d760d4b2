"""The Ray cluster under a run: start a quiet local one, or join one that runs already.

A local Ray has no dashboard, sends no usage report, answers only those who hold its token (Ray's
default for a cluster of its own; its ports cannot be bound to loopback alone), and ends with the
block that started it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from workers.interface import ConfigError

# Objects that pass through the local store are prompts and samples: kilobytes.
_LOCAL_OBJECT_STORE_BYTES = 256 * 1024 * 1024
_PACKAGES = ("workers", "fitness", "evo", "db")


@contextlib.contextmanager
def connect(address: str = "local") -> Iterator[None]:
    """Be connected to Ray inside the block.

    Args:
        address: "local" starts one here and stops it again; "auto" joins the one of this machine;
            "ray://HOST:PORT" or "HOST:PORT" joins a remote one.

    Raises:
        ConfigError: nothing answers at the address, or its Ray version differs.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_LOCAL_OBJECT_STORE_BYTES,
            **quiet,
        )
    else:
        root = Path(__file__).parent.parent
        modules = [str(root / name) for name in _PACKAGES]
        try:
            ray.init(address=address, runtime_env={"py_modules": modules}, **quiet)
        except (ConnectionError, TimeoutError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"--address {address}: no usable Ray there ({str(error).splitlines()[0]}); "
                "start one with `ray start --head` or use --address local"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def available_cpus() -> int:
    """CPU cores that the connected cluster offers; at least 1."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))
