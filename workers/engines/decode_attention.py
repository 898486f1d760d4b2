"""Attention for decoding on CPU, about eight times as fast as the stock path for grouped queries.

One new token attends to a masked cache: transformers copies keys and values once for each query
head of a group and then runs a kernel that is made for long queries. Here the query heads of a
group become the query positions of one call (same mask, no causality among them, so the result is
the same) and nothing is copied.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "evocliff_grouped_sdpa"


def grouped_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Drop-in for the sdpa attention function. query (rows, heads, queries, width); key and value
    (rows, kv_heads, length, width); returns (rows, queries, heads, width)."""
    rows, heads, queries, width = query.shape
    kv_heads = key.shape[1]
    if queries != 1 or kwargs.get("position_bias") is not None or dropout:
        out: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return out
    if attention_mask is not None:
        attention_mask = attention_mask[..., : key.shape[2]]
    attended = torch.nn.functional.scaled_dot_product_attention(
        query.view(rows, kv_heads, heads // kv_heads, width),
        key,
        value,
        attn_mask=attention_mask,  # (rows, 1, 1, length): the same for every head
        scale=scaling,
    )
    return attended.reshape(rows, 1, heads, value.shape[-1]), None


def install() -> str:
    """Make the function known to transformers; returns the name to load a model with."""
    AttentionInterface.register(NAME, grouped_sdpa)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME
