"""Drawing tokens: pure functions from logits and uniform numbers to tokens and log-probabilities.

Every row brings its own uniform numbers, so what a sample says does not depend on which other
samples share its batch (up to rounding in the model's forward pass).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from workers.interface import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Enough to hold the nucleus of most next-token distributions; rows that need more are sorted whole.
_HEAD = 1024


def uniforms(seed: int, index: int, n: int) -> NDArray[np.float32]:
    """The n uniform numbers in [0, 1) of sample `index` of the request with `seed`: counter-based
    (Philox), so a prefix of a longer draw equals the shorter draw."""
    key = (seed & (2**64 - 1), index)
    return np.random.Generator(np.random.Philox(key=key)).random(n, dtype=np.float32)


def draw(
    logits: torch.Tensor, uniform: torch.Tensor, sampling: Sampling
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One token for each row by inverting the cumulative distribution.

    Args:
        logits: (rows, vocabulary), any float dtype.
        uniform: (rows,) in [0, 1).

    Returns:
        tokens (rows,) int64; raw log p of each, before temperature and truncation; log q of each
        under the distribution that it was drawn from. Both (rows,) float32, nats.
    """
    logits = logits.float()
    raw = torch.log_softmax(logits, dim=-1)  # (rows, vocabulary)
    if sampling.temperature == 0.0:
        tokens = raw.argmax(dim=-1)
        logp = raw.gather(1, tokens[:, None]).squeeze(1)
        return tokens, logp, torch.zeros_like(logp)
    if sampling.temperature == 1.0:
        probs = raw.exp()
    else:
        probs = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_k == 0 and sampling.top_p >= 1.0:
        cumulative = probs.cumsum(dim=-1)
        tokens = _invert(cumulative, uniform)
        q = probs.gather(1, tokens[:, None]).squeeze(1)
    else:
        tokens, q = _draw_truncated(probs, uniform, sampling)
    logp = raw.gather(1, tokens[:, None]).squeeze(1)
    return tokens, logp, q.log()


def draw_first(
    logits: torch.Tensor,
    uniform: torch.Tensor,
    sampling: Sampling,
    rules: Sequence[tuple[torch.Tensor, float]],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `draw`, under `FirstToken`'s rules, each the ids of its tokens (n,) and its threshold. log p is the
    model's own, before the rules."""
    raw = torch.log_softmax(logits.float(), dim=-1)  # (rows, vocabulary)
    marked = torch.stack([_marks(raw.shape[1], ids, raw.device) for ids, _ in rules])
    excess = torch.stack(
        [
            raw[:, own].logsumexp(dim=-1) - raw[:, ~own].logsumexp(dim=-1) - threshold
            if len(ids)
            else raw.new_full((len(raw),), -torch.inf)
            for own, (ids, threshold) in zip(marked, rules, strict=True)
        ]
    )  # (rules, rows)
    most, which = excess.max(dim=0)
    allowed = torch.where((most >= 0)[:, None], marked[which], ~marked.any(dim=0)[None])
    tokens, _, logq = draw(logits.float().masked_fill(~allowed, -torch.inf), uniform, sampling)
    return tokens, raw.gather(1, tokens[:, None]).squeeze(1), logq


def _marks(size: int, ids: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(size,) bool, true at `ids`."""
    marks = torch.zeros(size, dtype=torch.bool, device=device)
    marks[ids] = True
    return marks


def _invert(cumulative: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Index of the first entry of each row above uniform * total. cumulative: (rows, n)."""
    goal = uniform[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, goal, right=True).squeeze(1)
    return found.clamp_(max=cumulative.shape[1] - 1)


def _draw_truncated(
    probs: torch.Tensor, uniform: torch.Tensor, sampling: Sampling
) -> tuple[torch.Tensor, torch.Tensor]:
    """Top-k, then nucleus: the smallest set of likeliest tokens whose mass reaches top_p.

    Only the least probability that still belongs is needed, so values are sorted without their
    places. Tokens that tie with the least one belong too.
    """
    least = _least_kept(probs, sampling)  # (rows, 1)
    kept = torch.where(probs >= least, probs, 0.0)
    cumulative = kept.cumsum(dim=-1)
    tokens = _invert(cumulative, uniform)
    q = kept.gather(1, tokens[:, None]).squeeze(1) / cumulative[:, -1]
    return tokens, q


def _least_kept(probs: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The smallest probability inside the truncation, for each row. probs, (rows, vocabulary),
    sums to 1; returns (rows, 1)."""
    if 0 < sampling.top_k < probs.shape[1]:
        head = probs.topk(sampling.top_k, dim=-1).values
        return _least_of_nucleus(head, sampling.top_p * head.sum(dim=-1, keepdim=True))
    if probs.device.type != "cpu":
        return _least_of_nucleus(probs.sort(dim=-1, descending=True).values, sampling.top_p)
    # numpy sorts plain floats with vector instructions, 15 times as fast as torch on CPU.
    values = probs.numpy()
    n_head = min(_HEAD, values.shape[1])
    best = -np.sort(-np.partition(values, values.shape[1] - n_head, axis=-1)[:, -n_head:], axis=-1)
    least = _least_of_nucleus(torch.from_numpy(best), sampling.top_p)
    short = best.sum(axis=-1) < sampling.top_p
    if short.any():
        whole = -np.sort(-values[short], axis=-1)
        least[torch.from_numpy(short)] = _least_of_nucleus(torch.from_numpy(whole), sampling.top_p)
    return least


def _least_of_nucleus(values: torch.Tensor, goal: float | torch.Tensor) -> torch.Tensor:
    """values (rows, n) from likely to unlikely; the last one that is needed to reach mass `goal`."""
    before = values.cumsum(dim=-1) - values  # the mass of all likelier tokens
    last = ((before < goal).sum(dim=-1, keepdim=True) - 1).clamp_(min=0)
    return values.gather(1, last)
