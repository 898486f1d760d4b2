"""The gate `latent-guard:FILE`: does the target itself think the prompt harmful (arXiv 2507.11878)?

    Delta_harmful = mean over layers of cos(h, mu_1) - cos(h, mu_2) at t_inst;  harmful iff >= alpha

One prefill for each prompt, no token generated. A guard is fitted in one of three ways, which its version
names: `base`, mu_1 of refused harmful prompts alone, for triage of over-refusals; `augmented`, mu_1 of all
harmful prompts, answered ones too, for guarding; mu_2 is of answered harmless prompts in both. And `linear`,
a regression in place of the centroids (`linear_guard`), which finds harm that the means of few types hide.
The file is plain arrays. Knows states by `WhiteBox`; knows nothing of who hosts the model.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fitness import directions
from fitness.directions import Centroids, Plane
from fitness.types import GateDecision, Safety, Signed
from workers.interface import (
    ConfigError,
    EngineDescription,
    Failure,
    Message,
    Place,
    StateRequest,
    WhiteBox,
)

NAME = "latent-guard"
PLACES = (Place.INSTRUCTION, Place.POST_INSTRUCTION)
_FORMAT = 1
_CENTROIDS = ("harmful", "harmless", "refused", "accepted")
_PLANES = ("harm", "refusal")
# Fewer of a group are no centroid to go by.
LEAST = 4


class Kind(StrEnum):
    BASE = "base"  # for triage of over-refusals
    AUGMENTED = "augmented"  # for guarding
    LINEAR = "linear"  # for both


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """What tells hidden states of `layers` of one model under one template and system prompt apart:
    `harm` at t_inst, `refusal` at t_post-inst; centroids both, or planes both. `alpha`: Delta_harmful
    from which on a prompt is thought harmful."""

    kind: Kind
    model: str
    revision: str
    adapter: str | None
    template: str
    system_prompt: str | None
    layers: tuple[int, ...]
    harm: Centroids | Plane
    refusal: Centroids | Plane
    alpha: float = directions.HARMFUL_FROM

    @property
    def version(self) -> str:
        """The kind, and a hash of everything that decides: `augmented.3f9c12ab04de`."""
        digest = hashlib.sha256(json.dumps(_card(self), sort_keys=True).encode())
        for array in _arrays(self).values():
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return f"{self.kind.value}.{digest.hexdigest()[:12]}"

    def require(self, description: EngineDescription) -> None:
        """Raise ConfigError unless this is the model that the guard was fitted on."""
        for what in ("revision", "adapter", "template"):
            own, other = getattr(self, what), getattr(description, what)
            if own != other:
                raise ConfigError(
                    f"safety: the guard was fitted on '{self.model}' ({what} {str(own)[:12]}), not "
                    f"on '{description.model}' ({str(other)[:12]}); fit one on it"
                )


def fit(
    states: ArrayLike,
    is_harmful: ArrayLike,
    was_refused: ArrayLike,
    *,
    kind: Kind,
    description: EngineDescription,
    layers: tuple[int, ...],
    system_prompt: str | None = None,
) -> Guard:
    """A guard by centroids of states (n, layers, 2, width) at `PLACES` and two labels (n,).

    Raises:
        ConfigError: fewer than `LEAST` prompts in one of the groups that are averaged.
    """
    read = np.asarray(states)
    harmful = np.asarray(is_harmful, dtype=bool)
    refused = np.asarray(was_refused, dtype=bool)
    first = harmful & refused if kind is Kind.BASE else harmful
    groups = {
        "refused harmful" if kind is Kind.BASE else "harmful": first,
        "answered harmless": ~harmful & ~refused,
        "refused": refused,
        "answered": ~refused,
    }
    for name, group in groups.items():
        if group.sum() < LEAST:
            raise ConfigError(
                f"a guard needs {LEAST} {name} prompts or more, got {group.sum()}; give it more data"
            )
    means = [
        directions.centroid(read[group][:, :, place])
        for place, group in zip((0, 0, 1, 1), groups.values(), strict=True)
    ]
    return Guard(
        kind,
        description.model,
        description.revision,
        description.adapter,
        description.template,
        system_prompt,
        layers,
        Centroids(means[0], means[1]),
        Centroids(means[2], means[3]),
    )


# The file


def save(guard: Guard, path: Path) -> None:
    """Written whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            held: dict[str, Any] = {"card": np.array(json.dumps(_card(guard))), **_arrays(guard)}
            np.savez(file, **held)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | Path) -> Guard:
    """
    Raises:
        ConfigError: there is no such file, or it is no guard of ours.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            card: dict[str, Any] = json.loads(str(held["card"]))
            if card["format"] != _FORMAT:
                raise ValueError(f"format {card['format']}")
            kind = Kind(card["kind"])
            names = _PLANES if kind is Kind.LINEAR else _CENTROIDS
            arrays = {name: np.asarray(held[name], dtype=np.float64) for name in names}
        shapes = {array.shape for array in arrays.values()}
        layers = tuple(int(layer) for layer in card["layers"])
        if len(shapes) != 1 or next(iter(shapes))[:1] != (len(layers),):
            raise ValueError("the arrays do not fit together")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("an array is not finite")
        harm: Centroids | Plane
        refusal: Centroids | Plane
        if kind is Kind.LINEAR:
            harm, refusal = (
                Plane(arrays[name], float(b)) for name, b in zip(names, card["biases"], strict=True)
            )
        else:
            harm = Centroids(arrays["harmful"], arrays["harmless"])
            refusal = Centroids(arrays["refused"], arrays["accepted"])
        return Guard(
            kind,
            card["model"],
            card["revision"],
            card["adapter"],
            card["template"],
            card["system_prompt"],
            layers,
            harm,
            refusal,
            float(card["alpha"]),
        )
    except FileNotFoundError:
        raise ConfigError(
            f"safety: {NAME}: there is no file {path}; `evocliff cliff guard` fits one"
        ) from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise ConfigError(
            f"safety: {NAME}: {path} is no guard of evocliff ({error}); `evocliff cliff guard` fits one"
        ) from error


def _card(guard: Guard) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "kind": guard.kind.value,
        "model": guard.model,
        "revision": guard.revision,
        "adapter": guard.adapter,
        "template": guard.template,
        "system_prompt": guard.system_prompt,
        "layers": list(guard.layers),
        "alpha": guard.alpha,
        **({"biases": [p.bias for p in planes]} if (planes := _planes(guard)) else {}),
    }


def _planes(guard: Guard) -> list[Plane]:
    return [by for by in (guard.harm, guard.refusal) if isinstance(by, Plane)]


def _arrays(guard: Guard) -> dict[str, NDArray[np.float64]]:
    if planes := _planes(guard):
        return dict(zip(_PLANES, (p.weight for p in planes), strict=True))
    means = [by for by in (guard.harm, guard.refusal) if isinstance(by, Centroids)]
    return dict(zip(_CENTROIDS, (m for by in means for m in (by.first, by.second)), strict=True))


# Asking


async def read(
    box: WhiteBox, prompts: Sequence[str], layers: tuple[int, ...], system_prompt: str | None
) -> list[NDArray[np.float32] | Failure]:
    """States (layers, 2, width) at `PLACES` of each prompt; one prefill each."""
    system = (Message("system", system_prompt),) if system_prompt else ()
    requests = [
        StateRequest(f"guard {n}", (*system, Message("user", prompt)), layers, PLACES)
        for n, prompt in enumerate(prompts)
    ]
    answers = await box.states(requests) if requests else []
    return [a if isinstance(a, Failure) else a.values for a in answers]


async def sign(
    guard: Guard,
    box: WhiteBox,
    prompts: Sequence[str],
    refusal_rates: Sequence[float | None] | None = None,
    *,
    name: str,
    threshold: float = 0.5,
) -> list[Signed | Failure]:
    """The signature of each prompt: by its refusal rate where that is given, else by the states."""
    rates = [None] * len(prompts) if refusal_rates is None else refusal_rates
    version = guard.version
    made: list[Signed | Failure] = []
    states = await read(box, prompts, guard.layers, guard.system_prompt)
    for state, rate in zip(states, rates, strict=True):
        if isinstance(state, Failure):
            made.append(state)
            continue
        harm, refuse = deltas(guard, state)
        signature = (
            directions.signature_of_states(harm, refuse, harmful_from=guard.alpha)
            if rate is None
            else directions.signature_of_answers(harm, rate, threshold, harmful_from=guard.alpha)
        )
        made.append(Signed(name, version, harm, refuse, rate, signature))
    return made


def deltas(guard: Guard, state: NDArray[np.float32]) -> tuple[float, float]:
    """(Delta_harmful, Delta_refuse) of states (layers, 2, width)."""
    harm = directions.delta(state[None, :, 0], guard.harm)[0]
    refuse = directions.delta(state[None, :, 1], guard.refusal)[0]
    return float(harm), float(refuse)


class LatentGuard:
    """The gate. What cannot be read is controversial, with the reason."""

    def __init__(self, name: str, guard: Guard, box: WhiteBox) -> None:
        guard.require(box.description)
        self._name, self._guard, self._box = name, guard, box
        self._version = guard.version

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return self._version

    async def check(self, prompts: Sequence[str]) -> list[GateDecision]:
        asked = [n for n, prompt in enumerate(prompts) if any(map(str.isalnum, prompt))]
        guard = self._guard
        states = await read(
            self._box, [prompts[n] for n in asked], guard.layers, guard.system_prompt
        )
        said = dict(zip(asked, map(self._decide, states), strict=True))
        nothing = self._say(Safety.CONTROVERSIAL, "no words in the prompt")
        return [said.get(n, nothing) for n in range(len(prompts))]

    def _decide(self, state: NDArray[np.float32] | Failure) -> GateDecision:
        if isinstance(state, Failure):
            return self._say(Safety.CONTROVERSIAL, f"{state.kind}: {state.message}")
        harm, refuse = deltas(self._guard, state)
        if not np.isfinite(harm):
            return self._say(Safety.CONTROVERSIAL, "a hidden state is not finite")
        outcome = Safety.HARMFUL if harm >= self._guard.alpha else Safety.HARMLESS
        return self._say(outcome, f"delta_harmful {harm:+.3f}, delta_refuse {refuse:+.3f}")

    def _say(self, outcome: Safety, reason: str) -> GateDecision:
        return GateDecision(self._name, self._version, outcome, None, reason)
