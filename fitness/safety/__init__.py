"""Safety gates by name, and how their decisions combine."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from fitness.types import Gate, GateDecision, Safety
from workers.interface import ConfigError, Embedder

# name -> (module, class); the class is built from an Embedder
GATES: Mapping[str, tuple[str, str]] = {
    "seed-contrast": ("fitness.safety.seed_contrast", "SeedContrastGate"),
}


def require(name: str) -> None:
    """Raise ConfigError, naming the nearest, unless there is a gate called `name`."""
    if name not in GATES:
        near = difflib.get_close_matches(name, GATES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"safety: '{name}' is not one of {', '.join(GATES)}{hint}")


def build(name: str, embedder: Embedder) -> Gate:
    """The gate called `name`.

    Raises:
        ConfigError: no such gate, or it was made for another embedder.
    """
    require(name)
    module, cls = GATES[name]
    gate: Callable[[Any], Gate] = getattr(import_module(module), cls)
    return gate(embedder)


def combine(decisions: Sequence[GateDecision]) -> Safety:
    """Harmful if any gate says so; harmless only if all do and there is one; else controversial.

    >>> combine([])
    <Safety.CONTROVERSIAL: 'controversial'>
    """
    outcomes = {d.outcome for d in decisions}
    if Safety.HARMFUL in outcomes:
        return Safety.HARMFUL
    return Safety.HARMLESS if outcomes == {Safety.HARMLESS} else Safety.CONTROVERSIAL
