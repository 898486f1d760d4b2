"""What every embedder keeps."""

from __future__ import annotations

import numpy as np
import pytest

from tests.loop_fakes import HashEmbedder
from workers.embedders import RememberingEmbedder, SentenceTransformerEmbedder
from workers.interface import ConfigError, Embedder

TEXTS = ["How do I kill a process?", "What is tea?", "", "🙂 \ud800", "How do I kill a process?"]


class EmbedderContract:
    @pytest.fixture
    def embedder(self) -> Embedder:
        raise AssertionError("the subclass has to say which")

    def test_texts_become_unit_rows_in_order(self, embedder: Embedder) -> None:
        vectors = embedder.embed(TEXTS[:2])
        assert vectors.shape == (2, embedder.dim)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
        assert embedder.embed([]).shape == (0, embedder.dim)

    def test_the_same_text_has_the_same_vector_in_any_company(self, embedder: Embedder) -> None:
        together, alone = embedder.embed([*TEXTS[:2], TEXTS[0]]), embedder.embed(TEXTS[:1])
        assert together[0] == pytest.approx(alone[0], abs=1e-5)
        assert together[2] == pytest.approx(alone[0], abs=1e-5)

    def test_it_has_a_name(self, embedder: Embedder) -> None:
        assert embedder.name


class TestHashEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return HashEmbedder()


class TestRememberingEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return RememberingEmbedder(HashEmbedder(), keep=1)

    def test_it_asks_once_for_each_text(self) -> None:
        asked: list[str] = []

        class Counting(HashEmbedder):
            def embed(self, texts):  # type: ignore[no-untyped-def]
                asked.extend(texts)
                return super().embed(texts)

        embedder = RememberingEmbedder(Counting())
        embedder.embed(["a", "b", "a"])
        embedder.embed(["b", "c"])
        assert asked == ["a", "b", "c"]


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder()


@pytest.mark.slow
class TestSentenceTransformerEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self, minilm: SentenceTransformerEmbedder) -> Embedder:
        return minilm

    def test_meaning_is_near_and_odd_text_no_error(self, embedder: Embedder) -> None:
        one, paraphrase, other = embedder.embed(
            ["How do I end a Python process?", "How can I kill a Python process?", "Bake a cake"]
        )
        assert one @ paraphrase > 0.7 > 0.4 > one @ other
        assert np.isfinite(embedder.embed(TEXTS)).all()

    def test_a_model_that_does_not_exist_is_named(self) -> None:
        with pytest.raises(ConfigError, match="neither a folder"):
            SentenceTransformerEmbedder("nowhere")
