"""The prompts nearest in meaning to a text; the model that embeds it is loaded once for all pages."""

from __future__ import annotations

import threading
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from db import near
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.query import Nearest
    from db.store import Store

_LOADING = threading.Lock()


def nearest_to(store: Store, text: str) -> Nearest:
    """For `db.query.Query.near`; safe to call from several threads.

    Raises:
        ConfigError: the text is empty, or the stored prompts are of no model or of several.
    """
    if not text.strip():
        raise ConfigError("near: give a text")
    name = near.sole_embedder(store)
    with _LOADING:
        vector = _embedder(name).embed([text])[0]
    return partial(near.nearest, store, vector, name)


@cache
def _embedder(name: str) -> Any:
    from workers.embedders import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder(name)
