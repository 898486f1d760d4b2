"""Search algorithms by name. Each is one short file against the face in `interface`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Protocol

from evo.algorithms.best_of_n import BestOfN
from evo.algorithms.evorefuse import EvoRefuse
from evo.algorithms.interface import Algorithm, Choice
from evo.algorithms.orfuzz import OrFuzz
from evo.algorithms.random import RandomSearch
from evo.algorithms.steady_state import SteadyState
from evo.config import SearchConfig
from workers.interface import ConfigError

__all__ = ["ALGORITHMS", "Algorithm", "Choice", "build", "require"]


class _Constructor(Protocol):
    def __call__(
        self, settings: SearchConfig, operators: Sequence[str], run_seed: int
    ) -> Algorithm: ...


ALGORITHMS: Mapping[str, _Constructor] = {
    "steady-state": SteadyState,
    "evorefuse": EvoRefuse,
    "orfuzz": OrFuzz,
    "best-of-n": BestOfN,
    "random": RandomSearch,
}


def build(settings: SearchConfig, operators: Sequence[str], run_seed: int) -> Algorithm:
    """The algorithm that `settings.algorithm` names.

    Raises:
        ConfigError: no such algorithm.
    """
    require(settings.algorithm)
    return ALGORITHMS[settings.algorithm](settings, operators, run_seed)


def require(name: str) -> None:
    """Raises ConfigError, naming the nearest, where no algorithm is called `name`."""
    if name not in ALGORITHMS:
        near = difflib.get_close_matches(name, ALGORITHMS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"search.algorithm: '{name}' is not one of {', '.join(ALGORITHMS)}{hint}")
