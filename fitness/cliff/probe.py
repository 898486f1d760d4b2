"""The refusal probe: P(refusal) from one hidden state, sigmoid(w.h + b), and its file.

A probe belongs to one model, template and layer, names them, and is refused elsewhere. Its version is a hash
of what it says and of whom, so two probes with equal versions give equal scores. It is saved as numbers and
JSON; nothing in the folder is a program. How one is made: `fitness.cliff.training`.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fitness.cliff.course import Scores, sigmoid
from workers.interface import ConfigError, EngineDescription

_ARRAYS, _FACTS = "probe.safetensors", "probe.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class About:
    """Whose states the probe reads. `layer` indexes the hidden states: 0 the embeddings, `n_layers` the
    last layer after the final norm. `width` is the length of a state."""

    model: str
    revision: str
    adapter: str | None
    template: str
    n_layers: int
    width: int
    layer: int

    @classmethod
    def of(cls, description: EngineDescription, *, n_layers: int, width: int, layer: int) -> About:
        return cls(
            description.model,
            description.revision,
            description.adapter,
            description.template,
            n_layers,
            width,
            layer,
        )


@dataclass(frozen=True, slots=True)
class LayerQuality:
    """How well the states of one layer tell refusals from answers.

    auroc        over the topics of training, each left out in its turn; by this the layer is chosen
    loss         cross-entropy of the same guesses, nats; among equal aurocs the smallest is chosen
    held_out     AUROC over the topics that no choice has seen
    In all of them refusals and answers weigh the same within each topic, so a probe that knows topics
    alone reaches 0.5.
    """

    layer: int
    auroc: float
    loss: float
    held_out: float


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """`weight` (width,) and `bias` as float32 numbers; `layers` says how each layer did, `held_out` names
    the topics that are in none of them."""

    about: About
    weight: NDArray[np.float32]
    bias: float
    layers: tuple[LayerQuality, ...] = ()
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.weight.shape != (self.about.width,):
            raise ValueError(f"a weight {self.weight.shape} for states of {self.about.width}")
        if not (np.isfinite(self.weight).all() and math.isfinite(self.bias)):
            raise ValueError("a probe's weight and bias must be finite")

    @property
    def version(self) -> str:
        """Content hash over whom it is of and what it says, 16 hex digits."""
        digest = hashlib.sha256(json.dumps(asdict(self.about), sort_keys=True).encode())
        digest.update(np.asarray(self.weight, dtype="<f4").tobytes())
        digest.update(np.float32(self.bias).astype("<f4").tobytes())
        return digest.hexdigest()[:16]

    @property
    def name(self) -> str:
        """Names it in rows: its kind and its layer."""
        return f"refusal-layer-{self.about.layer}"

    def scores(self, states: ArrayLike) -> Scores:
        """P(refusal) of states (..., width): (...)."""
        rows = np.asarray(states, dtype=np.float64)
        return sigmoid(rows @ self.weight.astype(np.float64) + float(np.float32(self.bias)))

    def require(self, description: EngineDescription, *, n_layers: int, width: int) -> None:
        """Raise ConfigError unless the states of this model at its layer are what it was trained on."""
        own = self.about
        if (n_layers, width) != (own.n_layers, own.width):
            raise ConfigError(
                f"probe {self.version}: was trained on {own.model} with {own.n_layers} layers of "
                f"{own.width}, not on {description.model} with {n_layers} of {width}; "
                "train one on it with evocliff cliff train"
            )
        there = (description.revision, description.adapter, description.template)
        if there != (own.revision, own.adapter, own.template) or (
            own.revision == "unknown" and description.model != own.model
        ):
            raise ConfigError(
                f"probe {self.version}: was trained on {own.model} (revision {own.revision}, adapter "
                f"{own.adapter or 'none'}, template {own.template}), not on {description.model} "
                f"(revision {there[0]}, adapter {there[1] or 'none'}, template {there[2]}); "
                "train one on it with evocliff cliff train"
            )

    def require_layer(self, layer: int) -> None:
        """Raise ConfigError unless states of `layer` are what it reads."""
        if layer != self.about.layer:
            raise ConfigError(
                f"probe {self.version}: reads layer {self.about.layer}, not {layer}; train one with "
                f"evocliff cliff train --layer {layer}"
            )


def write(probe: Probe, folder: Path) -> None:
    """The probe's files into a folder that exists. OSError where it cannot be written."""
    from safetensors.numpy import save

    arrays = {
        "weight": np.ascontiguousarray(probe.weight, dtype=np.float32),
        "bias": np.array([probe.bias], dtype=np.float32),
    }
    (folder / _ARRAYS).write_bytes(save(arrays))
    facts = {
        "format": _FORMAT,
        "version": probe.version,
        "about": asdict(probe.about),
        "held_out": list(probe.held_out),
        "layers": [asdict(layer) for layer in probe.layers],
    }
    (folder / _FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Probe:
    """The probe that `write` left in a folder.

    Raises:
        ConfigError: there is none, or it is not what its hash says.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        arrays = load((folder / _ARRAYS).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"PROBE: {folder}: holds no probe; evocliff cliff train makes one"
        ) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigError(f"PROBE: {folder}: cannot be read: {error}") from error
    try:
        if facts["format"] != _FORMAT:
            raise ConfigError(
                f"PROBE: {folder}: has format {facts['format']}, this version reads {_FORMAT}"
            )
        probe = Probe(
            about=About(**_of_fields(About, facts["about"])),
            weight=np.asarray(arrays["weight"], dtype=np.float32),
            bias=float(arrays["bias"][0]),
            layers=tuple(LayerQuality(**_of_fields(LayerQuality, q)) for q in facts["layers"]),
            held_out=tuple(map(str, facts["held_out"])),
        )
        stated = facts["version"]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(f"PROBE: {folder}: is no probe of evocliff: {error}") from error
    if probe.version != stated:
        raise ConfigError(
            f"PROBE: {folder}: its content has the hash {probe.version}, but it says {stated}; "
            "it was changed or cut short: train it anew"
        )
    return probe


def _of_fields(cls: type, given: Any) -> dict[str, Any]:
    names = [field.name for field in fields(cls)]
    return {name: given[name] for name in names}
