"""Sentence embeddings: texts to unit vectors, and a memory of those already embedded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workers import local_models
from workers.interface import ConfigError, Embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SentenceTransformerEmbedder:
    """`Embedder` over a sentence-transformers model, in float32 on CPU unless `device` says otherwise.

    Raises:
        ConfigError: the model does not exist or cannot be loaded.
    """

    def __init__(
        self, model: str = "local:all-minilm-l6-v2", *, device: str = "cpu", batch_size: int = 64
    ) -> None:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a second's work; the bar would stand in the middle of a live view
        where = local_models.resolve(model)
        try:
            self._model: Any = SentenceTransformer(
                str(where), device=device, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"embedder.model: '{model}' cannot be loaded: {first_line}"
            ) from error
        self._name = model
        self._batch_size = batch_size

    @property
    def name(self) -> str:
        return self._name

    @property
    def dim(self) -> int:
        return int(self._model.get_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        vectors = self._model.encode(
            [t.encode("utf-8", "replace").decode() for t in texts],  # lone surrogates
            batch_size=self._batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, dtype=np.float32)


class RememberingEmbedder:
    """An `Embedder` that asks `inner` once for each text; novelty and safety gates then share the work.

    Keeps the `keep` texts embedded last (384 floats each: 10,000 take 15 MB).
    """

    def __init__(self, inner: Embedder, keep: int = 10_000) -> None:
        self._inner = inner
        self._keep = keep
        self._memory: dict[str, NDArray[np.float32]] = {}
        self._lock = threading.Lock()  # batches embed in threads of their own

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def dim(self) -> int:
        return self._inner.dim

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        with self._lock:
            new = [t for t in dict.fromkeys(texts) if t not in self._memory]
            if new:
                self._memory.update(zip(new, self._inner.embed(new), strict=True))
            vectors = np.stack([self._memory[t] for t in texts])
            while len(self._memory) > self._keep:
                del self._memory[next(iter(self._memory))]
            return vectors
