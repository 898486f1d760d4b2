"""The parts of a transformers decoder, found by structure: its blocks and their output projections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from workers.interface import ConfigError

_OUT_NAMES = ("o_proj", "out_proj", "c_proj", "dense")


@dataclass(frozen=True, slots=True)
class Decoder:
    """`base` makes hidden states without the language-model head; the input of `blocks[i]` is hidden
    state i, what `base` gives the last one. `projections[i]` maps the heads' outputs of block i, side
    by side, to what its attention writes."""

    base: Any
    blocks: tuple[torch.nn.Module, ...]
    projections: tuple[torch.nn.Module, ...]
    n_heads: int
    width: int


def find(model: Any, name: str) -> Decoder:
    """The parts of `model`.

    Raises:
        ConfigError: it is no decoder of attention blocks; says what is missing.
    """
    config = model.config.get_text_config()
    base = model.base_model
    if base is model:
        raise _missing(name, "a base model under its language-model head")
    lists = [
        m
        for m in base.modules()
        if isinstance(m, torch.nn.ModuleList) and len(m) == config.num_hidden_layers
    ]
    if not lists:
        raise _missing(name, f"a list of its {config.num_hidden_layers} blocks")
    blocks = tuple(lists[0])
    projections = tuple(_projection(block, i, name) for i, block in enumerate(blocks))
    n_heads = int(config.num_attention_heads)
    for i, projection in enumerate(projections):
        if weight(projection).shape[1] % n_heads:
            raise _missing(name, f"an output projection in block {i} that {n_heads} heads share")
    return Decoder(base, blocks, projections, n_heads, int(config.hidden_size))


def weight(projection: torch.nn.Module) -> torch.Tensor:
    """(width, heads x head width) of an output projection; GPT-2's lies the other way."""
    found: Any = projection.weight
    return found.T if type(projection).__name__ == "Conv1D" else found  # type: ignore[no-any-return]


def _projection(block: torch.nn.Module, index: int, name: str) -> torch.nn.Module:
    found: list[torch.nn.Module] = [
        module
        for path, module in block.named_modules()
        if path.rpartition(".")[2] in _OUT_NAMES
        and "att" in path.rpartition(".")[0]
        and getattr(module, "weight", None) is not None
        and module.weight.ndim == 2
    ]
    if len(found) != 1:
        raise _missing(name, f"one attention output ({'/'.join(_OUT_NAMES)}) in block {index}")
    return found[0]


def _missing(name: str, what: str) -> ConfigError:
    return ConfigError(
        f"target.model: '{name}' lacks {what}, so it cannot be looked into; name another decoder"
    )
