"""Safety gates by name, and how their decisions combine."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from importlib import import_module

from fitness.types import Gate, GateDecision, Safety
from workers.interface import (
    ConfigError,
    Embedder,
    Generation,
    GenerationRequest,
    WhiteBox,
    Worker,
)

# Of the name behind `llm:`: who generates with it, and the model's revision.
Hosted = tuple[Worker[GenerationRequest, Generation], str]

# kind -> how to write it
GATES = {
    "seed-contrast": "seed-contrast",
    "llm": "llm:NAME",
    "latent-guard": "latent-guard:FILE",  # or latent-guard:FILE@NAME
}
# kind -> (module, class); imported when one is built, so that the search stays light
_CLASSES = {
    "seed-contrast": ("fitness.safety.seed_contrast", "SeedContrastGate"),
    "llm": ("fitness.safety.llm", "LlmGate"),
    "latent-guard": ("fitness.safety.latent_guard", "LatentGuard"),
}


def require(name: str) -> None:
    """Raise ConfigError, naming the nearest, unless there is a gate called `name`."""
    kind, _, rest = name.partition(":")
    if kind not in GATES:
        near = difflib.get_close_matches(kind, GATES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"safety: '{name}' is not one of {', '.join(GATES.values())}{hint}")
    if bool(rest) != (kind != "seed-contrast"):
        raise ConfigError(f"safety: '{name}': write {GATES[kind]}")


def needs_model(name: str) -> str | None:
    """The name of the model that the gate called `name` asks, if it asks one."""
    kind, _, model = name.partition(":")
    return model if kind == "llm" else None


def guard_of(name: str) -> tuple[str, str | None] | None:
    """Of a latent guard: its file, and the model or engine that it looks into, None for the target.

    >>> guard_of("latent-guard:a/b.npz"), guard_of("latent-guard:b.npz@tiny"), guard_of("llm:x")
    (('a/b.npz', None), ('b.npz', 'tiny'), None)
    """
    kind, _, rest = name.partition(":")
    if kind != "latent-guard":
        return None
    file, _, model = rest.partition("@")
    return file, model or None


def build(
    name: str,
    embedder: Embedder,
    hosted: Callable[[str], Hosted] | None = None,
    look: Callable[[str], WhiteBox] | None = None,
) -> Gate:
    """The gate called `name`. `hosted` gives the worker and revision of an `llm` gate's model, `look`
    the white box of the latent guard of that name.

    Raises:
        ConfigError: no such gate, or it was made for another embedder or model.
    """
    require(name)
    guarding = guard_of(name)
    if guarding is not None:
        from fitness.safety.latent_guard import LatentGuard, load

        if look is None:
            raise ConfigError(f"safety: '{name}' needs a white box, which nobody gave")
        return LatentGuard(name, load(guarding[0]), look(name))
    module, cls = _CLASSES[name.partition(":")[0]]
    gate: Callable[..., Gate] = getattr(import_module(module), cls)
    model = needs_model(name)
    if model is None:
        return gate(embedder)
    if hosted is None:
        raise ConfigError(f"safety: '{name}' needs an engine, which nobody gave")
    return gate(name, *hosted(model))


def combine(decisions: Sequence[GateDecision]) -> Safety:
    """Harmful if any gate says so; harmless only if all do and there is one; else controversial.

    >>> combine([])
    <Safety.CONTROVERSIAL: 'controversial'>
    """
    outcomes = {d.outcome for d in decisions}
    if Safety.HARMFUL in outcomes:
        return Safety.HARMFUL
    return Safety.HARMLESS if outcomes == {Safety.HARMLESS} else Safety.CONTROVERSIAL
