"""`--near TEXT`: what a text means, in the words of the model that embedded the stored prompts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from db import near
from workers.errors import ConfigError

if TYPE_CHECKING:
    from db.query import Nearest
    from db.store import Store


def nearest_to(store: Store, text: str, embedder: str | None = None) -> Nearest:
    """The k stored prompts nearest to a text, for `db.query.Query.near`.

    Args:
        embedder: the model to embed it by; None: the one that the stored prompts have.

    Raises:
        ConfigError: the text is empty; no prompt is embedded, or by another model, or by several and
            none is chosen; or the model cannot be loaded.
    """
    if not text.strip():
        raise ConfigError("--near: give a text")
    model = near.sole_embedder(store, embedder)
    from workers.embedders import SentenceTransformerEmbedder

    vector = SentenceTransformerEmbedder(model).embed([text])[0]
    return partial(near.nearest, store, vector, model)
