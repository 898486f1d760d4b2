"""Changes a decoder for the time of a call: scaled heads, added directions. Hooks only."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from workers.decoder import Decoder, weight
from workers.interface import AddDirection, ConfigError, Intervention, ScaleHead, Where


class Touched:
    """Which tokens of the pass under way come from the last token of the prompt on: (rows, tokens),
    or None while the engine decodes: the prompts of its rows all end at the last token."""

    mask: torch.Tensor | None = None


@contextlib.contextmanager
def applied(
    decoder: Decoder, interventions: Sequence[Intervention], touched: Touched
) -> Iterator[None]:
    """The decoder under `interventions`, as it was afterwards.

    Raises:
        ConfigError: a layer, head or width that this model does not have.
    """
    require(decoder, interventions)
    factors: dict[int, list[ScaleHead]] = defaultdict(list)
    added: list[AddDirection] = []
    for change in interventions:
        if isinstance(change, ScaleHead):
            factors[change.layer].append(change)
        else:
            added.append(change)
    with contextlib.ExitStack() as hooks:
        for layer, scaled in factors.items():
            hook = _scaling(decoder, layer, scaled)
            handle = decoder.projections[layer].register_forward_pre_hook(hook)
            hooks.callback(handle.remove)
        for change in added:
            add = _adding(decoder, change, touched)
            if change.layer < len(decoder.blocks):
                handle = on_input(decoder.blocks[change.layer], add)
            else:
                handle = on_output(decoder.base, add)
            hooks.callback(handle.remove)
        yield


def require(decoder: Decoder, interventions: Sequence[Intervention]) -> None:
    n_layers = len(decoder.blocks)
    for change in interventions:
        if isinstance(change, ScaleHead):
            if not (0 <= change.layer < n_layers and 0 <= change.head < decoder.n_heads):
                raise ConfigError(
                    f"white box: head {change.head} of layer {change.layer} is not there: the model "
                    f"has layers 0 to {n_layers - 1} with heads 0 to {decoder.n_heads - 1}"
                )
        else:
            require_layer(decoder, change.layer)
            require_width(decoder, change.vector.shape)


def require_layer(decoder: Decoder, layer: int) -> None:
    if not 0 <= layer <= len(decoder.blocks):
        raise ConfigError(
            f"white box: layer {layer} is not there: the model has 0 to {len(decoder.blocks)}"
        )


def require_width(decoder: Decoder, shape: tuple[int, ...]) -> None:
    if shape != (decoder.width,):
        raise ConfigError(
            f"white box: a direction of shape {tuple(shape)} does not fit this model of width "
            f"{decoder.width}; it was made for another one"
        )


def on_input(block: torch.nn.Module, act: Callable[[torch.Tensor], torch.Tensor | None]) -> Any:
    """`act` on the hidden states (rows, tokens, width) that go into a block; what it returns goes in
    their place."""

    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            new = act(args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        new = act(kwargs["hidden_states"])
        return None if new is None else (args, {**kwargs, "hidden_states": new})

    return block.register_forward_pre_hook(hook, with_kwargs=True)


def on_output(base: torch.nn.Module, act: Callable[[torch.Tensor], torch.Tensor | None]) -> Any:
    """`act` on the last hidden states, after the final norm."""

    def hook(_: Any, __: Any, output: Any) -> Any:
        new = act(output.last_hidden_state)
        if new is not None:
            output["last_hidden_state"] = new
        return output

    return base.register_forward_hook(hook)


def _scaling(decoder: Decoder, layer: int, scaled: Sequence[ScaleHead]) -> Any:
    matrix = weight(decoder.projections[layer])
    factor = torch.ones(decoder.n_heads, dtype=torch.float32)
    for change in scaled:
        factor[change.head] *= change.factor
    of_input = factor.repeat_interleave(matrix.shape[1] // decoder.n_heads)  # (heads x head width,)
    of_input = of_input.to(matrix.device, matrix.dtype)
    return lambda _, args: (args[0] * of_input, *args[1:])


def _adding(
    decoder: Decoder, change: AddDirection, touched: Touched
) -> Callable[[torch.Tensor], torch.Tensor]:
    step = torch.as_tensor(change.vector, dtype=torch.float32) * change.coefficient

    def add(hidden: torch.Tensor) -> torch.Tensor:
        moved = step.to(hidden.device, hidden.dtype)
        if change.where is Where.EVERYWHERE:
            return hidden + moved
        if touched.mask is not None:
            return hidden + touched.mask[..., None].to(hidden.dtype) * moved
        new = hidden.clone()
        new[:, -1:] += moved
        return new

    return add
