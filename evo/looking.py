"""White boxes out of a config: refused when things are wired where a target has no hidden states.

An edge, as `evo.wiring`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from evo.config import EngineConfig
from workers import engines, looking
from workers.interface import WhiteBox
from workers.looking import Look, WhiteBoxWorker
from workers.pool import Pool


def white_box(settings: EngineConfig, threads: int | None = None) -> WhiteBox:
    """Loaded in this process.

    Raises:
        ConfigError: the engine shows no hidden states, or the model cannot be loaded or looked into.
    """
    return _box(settings.model_dump(mode="json"), threads)


def white_box_pool(
    settings: EngineConfig, *, threads: int, cpus: float, name: str = "white-box"
) -> Pool[Look, Any]:
    """Replicas that hold a white box each; `PooledWhiteBox.started` gives them the face of one.

    Raises:
        ConfigError: the engine shows no hidden states.
    """
    looking.require(settings.engine)
    return Pool(
        partial(_worker, settings.model_dump(mode="json"), threads),
        replicas=settings.least_replicas,
        cpus=cpus,
        gpus=settings.gpus,
        name=name,
    )


def _worker(settings: Mapping[str, Any], threads: int) -> WhiteBoxWorker:
    """Runs inside a replica."""
    return WhiteBoxWorker(_box(settings, threads))


def _box(settings: Mapping[str, Any], threads: int | None) -> WhiteBox:
    looking.require(settings["engine"])
    engine = engines.build(
        settings["engine"],
        model=settings["model"],
        adapter=settings["adapter"],
        dtype=settings["dtype"],
        device=settings["device"],
        batch_tokens=settings["batch_tokens"],
        threads=threads,
    )
    return looking.over(engine)
