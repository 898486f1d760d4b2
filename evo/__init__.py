"""What to try next: operators, selection, archive and the search loop.

`evo.search(config)` runs a search to its end; `evo.Search` is the ask/tell object for people who
bring their own loop. Both are imported at first use, so that `import evo` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo.api import Run, search
    from evo.asktell import Search
    from evo.config import Config
    from evo.config import load as load_config

__all__ = ["Config", "Run", "Search", "load_config", "search"]

_HOMES = {
    "Config": ("evo.config", "Config"),
    "Run": ("evo.api", "Run"),
    "Search": ("evo.asktell", "Search"),
    "load_config": ("evo.config", "load"),
    "search": ("evo.api", "search"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'evo' has no attribute '{name}'")
