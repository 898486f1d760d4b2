"""Search algorithms by name. Each is one short file against the face in `interface`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Protocol

from evo.algorithms.best_of_n import BestOfN
from evo.algorithms.evorefuse import EvoRefuse
from evo.algorithms.interface import Algorithm, Choice, SeesCollapse, TakesTactics
from evo.algorithms.orfuzz import OrFuzz
from evo.algorithms.random import RandomSearch
from evo.algorithms.seeds_only import SeedsOnly
from evo.algorithms.steady_state import SteadyState
from evo.config import SearchConfig
from evo.types import Strategy
from workers.interface import ConfigError

__all__ = ["ALGORITHMS", "Algorithm", "Choice", "SeesCollapse", "TakesTactics", "build", "require"]


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
    "seeds-only": SeedsOnly,
}


def build(
    settings: SearchConfig,
    operators: Sequence[str],
    run_seed: int,
    tactics: Mapping[tuple[str, Strategy], float] | None = None,
) -> Algorithm:
    """The algorithm that `settings.algorithm` names; `tactics`: operator and named strategy of the
    user's -> success rate that is expected of it.

    Raises:
        ConfigError: no such algorithm, or one that has no use for tactics.
    """
    require(settings.algorithm)
    made = ALGORITHMS[settings.algorithm](settings, operators, run_seed)
    if tactics:
        if not isinstance(made, TakesTactics):
            raise ConfigError(
                f"proposer.tactics: the algorithm '{settings.algorithm}' keeps to its own strategies; "
                "use steady-state, or leave the tactics out"
            )
        made.offer(tactics)
    return made


def require(name: str) -> None:
    """Raises ConfigError, naming the nearest, where no algorithm is called `name`."""
    if name not in ALGORITHMS:
        near = difflib.get_close_matches(name, ALGORITHMS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"search.algorithm: '{name}' is not one of {', '.join(ALGORITHMS)}{hint}")
