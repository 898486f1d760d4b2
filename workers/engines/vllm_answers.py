"""What vLLM answers, as samples: their seeds, text and log-probabilities. Imports nothing of vLLM."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from workers import chat
from workers.interface import Sample, Sampling


def sample(
    tokenizer: Any, prompt_ids: Sequence[int], index: int, output: Any, sampling: Sampling
) -> Sample:
    """One of the outputs of a request; its text without the tokens that end it."""
    tokens = list(output.token_ids)
    content = tokens[:-1] if output.finish_reason == "stop" else tokens
    reasoning, answer = chat.response_parts(tokenizer, prompt_ids, content)
    return Sample(
        index=index,
        text=answer,
        n_tokens=len(tokens),
        finish_reason=output.finish_reason,
        logprob_sum=output.cumulative_logprob,
        sampling_logprob_sum=log_q(output.cumulative_logprob, sampling),
        reasoning=reasoning,
    )


def child_seed(seed: int, first_index: int) -> int:
    """Seed of sample `first_index`; vLLM gives sample first_index + i this plus i. Hashed, so that
    neighbouring seeds do not share samples; below 2^63.

    >>> child_seed(7, 5) == child_seed(7, 3) + 2
    True
    """
    digest = hashlib.sha256(str(seed).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 2) + first_index


def log_q(logprob_sum: float | None, sampling: Sampling) -> float | None:
    """log q where it is known without asking again: greedy (0), or sampled from p itself."""
    if sampling.temperature == 0.0:
        return 0.0
    untouched = sampling.temperature == 1.0 and sampling.top_p >= 1.0 and sampling.top_k == 0
    return logprob_sum if untouched else None
