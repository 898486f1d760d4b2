"""Engines by name. Each lives in its own module, which alone imports the library that hosts it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from workers.interface import ConfigError, Engine

# name -> (module, class)
ENGINES: Mapping[str, tuple[str, str]] = {
    "transformers": ("workers.engines.transformers", "TransformersEngine"),
    "vllm": ("workers.engines.vllm", "VllmEngine"),
    "openai": ("workers.engines.openai", "OpenAIEngine"),
}
# Engines that ask a server: they hold no weights and take neither cores nor GPUs.
ENDPOINTS = frozenset({"openai"})


def require(name: str) -> None:
    """Raise ConfigError, naming the nearest, unless there is an engine called `name`."""
    if name not in ENGINES:
        near = difflib.get_close_matches(name, ENGINES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"engine: '{name}' is not one of {', '.join(ENGINES)}{hint}")


def build(name: str, **settings: Any) -> Engine:
    """The engine called `name`, loaded and ready. `settings` are its constructor's.

    Raises:
        ConfigError: no such engine (the message names the nearest), or it refuses its settings.
    """
    require(name)
    module, cls = ENGINES[name]
    engine: Callable[..., Engine] = getattr(import_module(module), cls)
    return engine(**settings)
