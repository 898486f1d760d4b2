"""How alike found prompts are: clusters of look-alikes, and how new each one is among the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import Connection

from db.values import read_vectors
from evo.selection import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Two over-refusals whose embeddings have this cosine or more are the same finding.
CLUSTER_COSINE = 0.9
_NEIGHBOURS = 5
_CHUNK = 500

# Prompt id, and the embedder of the proposal by which it was found.
Embedded = tuple[str, str | None]


def n_clusters(connection: Connection, found: Sequence[Embedded]) -> int:
    """Prompts that are not look-alikes; one without a vector counts by itself. `found`: the best
    first, each prompt once."""
    vectors = _vectors(connection, found)
    prompt_ids = [prompt for prompt, _ in found if prompt in vectors]
    without = len(found) - len(prompt_ids)
    if not prompt_ids:
        return without
    matrix = np.stack([vectors[prompt] for prompt in prompt_ids])  # (n, dim)
    order = np.arange(len(prompt_ids), 0, -1, dtype=np.float64)
    return len(distinct(matrix, order, CLUSTER_COSINE)) + without


def novelty(connection: Connection, found: Sequence[Embedded]) -> dict[str, float]:
    """Mean cosine distance of each prompt to its nearest others among these."""
    return distances(_vectors(connection, found))


def distances(vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """The same of unit vectors of shape (dim,) by prompt id; nothing where there is no other."""
    prompt_ids = sorted(vectors)
    if len(prompt_ids) < 2:
        return {}
    matrix = np.stack([vectors[p] for p in prompt_ids])  # (n, dim)
    nearest = min(_NEIGHBOURS, len(prompt_ids) - 1)
    found: dict[str, float] = {}
    for start in range(0, len(prompt_ids), _CHUNK):
        similarity = matrix[start : start + _CHUNK] @ matrix.T  # (chunk, n)
        places = np.arange(len(similarity))
        similarity[places, places + start] = -np.inf
        top = np.partition(similarity, -nearest, axis=1)[:, -nearest:]
        for prompt_id, mean in zip(prompt_ids[start:], 1.0 - top.mean(axis=1), strict=False):
            found[prompt_id] = float(mean)
    return found


def _vectors(connection: Connection, found: Sequence[Embedded]) -> dict[str, NDArray[np.float32]]:
    """Unit vectors by prompt id, all of one embedder: the one that most of these were embedded by."""
    stored: dict[str, dict[str, NDArray[np.float32]]] = defaultdict(dict)
    prompt_ids = sorted({prompt for prompt, _ in found})
    for (prompt, embedder), vector in read_vectors(connection, prompt_ids).items():
        stored[embedder][prompt] = vector
    if not stored:
        return {}
    named = Counter(embedder for _, embedder in found)
    return stored[max(stored, key=lambda name: (named[name], len(stored[name]), name))]
