"""Every random choice of a run descends from its seed and a name, by SHA-256.

No generator is carried from one decision to the next, so a resumed run draws what the undisturbed
one would have drawn.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(run_seed: int, *names: str | int) -> int:
    """A 63-bit seed for the thing that `names` name.

    >>> derive(0, "proposal", 1) == derive(0, "proposal", 1) != derive(0, "proposal", 2)
    True
    """
    text = "/".join([str(run_seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(run_seed: int, *names: str | int) -> np.random.Generator:
    """A generator for the thing that `names` name."""
    return np.random.default_rng(derive(run_seed, *names))
