"""Will this target refuse this prompt? Guessed from the prompt's embedding alone, before it is asked.

After Reuter and Schulze (arXiv 2306.03423, task B), who predict from the words of a prompt; here a
logistic regression over a radial-basis kernel of the sentence embedding, which is there already. One
predictor belongs to one target and is refitted as evaluations come in. A guess orders candidates; it is
never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

# P(refusal), (n,), of prompts by their vectors (n, dim).
Guess = Callable[[NDArray[np.float32]], NDArray[np.float64]]

FEWEST = 20  # evaluations before anything is learned from them
GROWTH = 1.25  # refitted when there are so many times more
MOST = 2000  # evaluations kept of each side, refused or answered; a refit costs no more than that
_LANDMARKS, _GAMMA, _C = 400, 1.0, 10.0


class _Side:
    """A uniform sample of the evaluations on one side of one half (reservoir sampling)."""

    def __init__(self, seed: int) -> None:
        self.seen = 0
        self.kept: list[tuple[int, NDArray[np.float32], float]] = []  # arrival, vector, rate
        self._rng = np.random.default_rng(seed)

    def take(self, arrival: int, vector: NDArray[np.float32], rate: float) -> None:
        self.seen += 1
        if len(self.kept) < MOST:
            self.kept.append((arrival, vector, rate))
        elif (place := int(self._rng.integers(self.seen))) < MOST:
            self.kept[place] = arrival, vector, rate


class RefusalPredictor:
    """P(refusal) of prompts of one target, from unit vectors of one embedder.

    Until `FEWEST` evaluations are known, or while all were alike, it says their mean (0.5 of none).
    Learns from at most `MOST` refused and `MOST` answered prompts, each weighed by how many it stands
    for. Deterministic: the same evaluations in the same order and portions give the same predictor.
    """

    def __init__(self) -> None:
        self._n = 0
        self._total = 0.0
        self._answered, self._refused = _Side(0), _Side(1)
        self._fitted_on = 0
        self._model: Any = None
        self._guess: Guess | None = None

    def __len__(self) -> int:
        return self._n

    def learn(self, vectors: NDArray[np.float32], rates: Sequence[float]) -> None:
        """Take evaluations in: vectors (n, dim), refusal rates (n,) in [0, 1].

        Raises:
            ValueError: lengths differ, or a rate is outside [0, 1].
        """
        for vector, rate in zip(vectors, rates, strict=True):
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"a refusal rate must be in [0, 1], got {rate}")
            side = self._refused if rate >= 0.5 else self._answered
            side.take(self._n, np.array(vector, dtype=np.float32), float(rate))
            self._n += 1
            self._total += float(rate)
        if len(self) >= max(FEWEST, GROWTH * self._fitted_on):
            self._fit()

    @property
    def guess(self) -> Guess | None:
        """What it says now; what is learned later does not change it. None until it has been fitted."""
        return self._guess

    def predict(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """P(refusal), (n,), of prompts by their vectors (n, dim)."""
        asked = np.asarray(vectors, dtype=np.float32)
        if self._model is None or not len(asked):
            return np.full(len(asked), self._total / self._n if self._n else 0.5)
        return _refused(self._model, asked)

    def _fit(self) -> None:
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        self._fitted_on = self._n
        rows = sorted(
            (
                (arrival, vector, rate, side.seen / len(side.kept))
                for side in (self._answered, self._refused)
                for arrival, vector, rate in side.kept
            ),
            key=lambda row: row[0],
        )
        x = np.stack([vector for _, vector, _, _ in rows])  # (n, dim)
        rate = np.array([rate for _, _, rate, _ in rows])
        weight = np.array([weight for *_, weight in rows])  # 1 while everything is kept
        # Rescaled, so that the regularisation is that of the rows there are.
        weight /= weight.mean()
        if rate.max() == rate.min():
            return
        kernel = Nystroem(gamma=_GAMMA, n_components=min(_LANDMARKS, len(x)), random_state=0)
        features = kernel.fit_transform(x)
        # A rate between 0 and 1 is a refusal and an answer, each with its share of the weight.
        regression = LogisticRegression(C=_C, max_iter=2000).fit(
            np.vstack([features, features]),
            np.repeat([1, 0], len(x)),
            sample_weight=np.concatenate([weight * rate, weight * (1.0 - rate)]),
        )
        self._model = make_pipeline(kernel, regression)
        self._guess = partial(_refused, self._model)


def _refused(model: Any, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    p: NDArray[np.float64] = model.predict_proba(vectors)[:, 1]
    return p
