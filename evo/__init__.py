"""What to try next: operators, selection, archive and the search loop.

`evo.search(config)` runs a search to its end; `evo.Search` is the ask/tell object for people who
bring their own loop. Both are imported at first use, so that `import evo` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo.api import Run as Run
    from evo.config import Config as Config
    from evo.config import load as load_config

_LAZY = {
    "Config": ("evo.config", "Config"),
    "Run": ("evo.api", "Run"),
    "Search": ("evo.search", "Search"),
    "load_config": ("evo.config", "load"),
}
