"""Judges by name. Each is one file: a name, a version, and one verdict for each response."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module

from fitness.types import Judge
from workers.interface import ConfigError

# name -> (module, class)
JUDGES: Mapping[str, tuple[str, str]] = {
    "embedded": ("fitness.judges.embedded", "EmbeddedJudge"),
    "prefix": ("fitness.judges.prefix", "PrefixJudge"),
}


def require(name: str) -> None:
    """Raise ConfigError, naming the nearest, unless there is a judge called `name`."""
    if name not in JUDGES:
        near = difflib.get_close_matches(name, JUDGES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"judges: '{name}' is not one of {', '.join(JUDGES)}{hint}")


def build(name: str) -> Judge:
    """The judge called `name`, ready to judge.

    Raises:
        ConfigError: no such judge.
    """
    require(name)
    module, cls = JUDGES[name]
    judge: Callable[[], Judge] = getattr(import_module(module), cls)
    return judge()
