"""Which device an engine computes on, and in which dtype. Shared by the engines that hold weights."""

from __future__ import annotations

import torch

from workers.interface import ConfigError


def pick_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"target.device: '{device}' was asked for and torch sees no CUDA device")
    return torch.device(device)


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype != "auto":
        chosen = getattr(torch, dtype, None)
        if not isinstance(chosen, torch.dtype):
            raise ConfigError(f"target.dtype: '{dtype}' is not one of bfloat16, float16, float32")
        return chosen
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    # Without these instructions bfloat16 is emulated and slower than float32.
    fast = (
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
        if torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        else False
    )
    return torch.bfloat16 if fast else torch.float32
