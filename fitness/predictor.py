"""Will this target refuse this prompt? Guessed from the prompt's embedding alone, before it is asked.

After Reuter and Schulze (arXiv 2306.03423, task B), who predict from the words of a prompt; here a
logistic regression over a radial-basis kernel of the sentence embedding, which is there already. One
predictor belongs to one target and is refitted as evaluations come in. A guess orders candidates; it is
never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fitness.descent import minimum

if TYPE_CHECKING:
    from collections.abc import Sequence

# P(refusal), (n,), of prompts by their vectors (n, dim).
Guess = Callable[[NDArray[np.float32]], NDArray[np.float64]]

FEWEST = 20  # evaluations before anything is learned from them
GROWTH = 1.25  # refitted when there are so many times more,
EARLY = 1000  # and from so many on when there are
LATE_GROWTH = 1.5  # so many times more: a quarter more teaches little then
MOST = 2000  # evaluations kept of each side, refused or answered; a refit costs no more than that
_LANDMARKS, _GAMMA, _C = 400, 1.0, 10.0
_JITTER = 1e-6  # on the kernel among landmarks: some may be equal
_MOST_STEPS, _TOLERANCE = 200, 1e-4

_Real = TypeVar("_Real", np.float32, np.float64)


def growth(n: int) -> float:
    """How many times as many evaluations call for a refit when the last was on n."""
    return GROWTH if n < EARLY else LATE_GROWTH


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
        self._model: _Model | None = None

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
        if len(self) >= max(FEWEST, growth(self._fitted_on) * self._fitted_on):
            self._fit()

    @property
    def guess(self) -> Guess | None:
        """What it says now; what is learned later does not change it. None until it has been fitted."""
        return self._model.guess if self._model else None

    def predict(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """P(refusal), (n,), of prompts by their vectors (n, dim)."""
        asked = np.asarray(vectors, dtype=np.float32)
        if self._model is None or not len(asked):
            return np.full(len(asked), self._total / self._n if self._n else 0.5)
        return self._model.guess(asked)

    def _fit(self) -> None:
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
        self._model = _fit(x, rate, weight)


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """P(refusal of x) = sigmoid(sum over landmarks l of weight_l exp(-gamma |x - l|^2) + intercept)."""

    landmarks: NDArray[np.float64]  # (m, dim)
    weights: NDArray[np.float64]  # (m,)
    intercept: float

    def guess(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        alike = _kernel(vectors.astype(np.float64), self.landmarks)
        return _sigmoid(alike @ self.weights + self.intercept)


def _fit(x: NDArray[np.float32], rate: NDArray[np.float64], weight: NDArray[np.float64]) -> _Model:
    """Logistic regression over the Nystroem features of some rows, the landmarks.

    With K_xm the kernel of rows and landmarks and K_mm = R R^T that among landmarks, the features are
    F = K_xm R^-T, and w, b minimise |w|^2 / 2 + C sum_i weight_i H(rate_i, sigmoid(F_i w + b)), H the
    cross-entropy. So a guess needs R^-T w alone.
    """
    n_landmarks = min(_LANDMARKS, len(x))
    chosen = np.random.default_rng(0).permutation(len(x))[:n_landmarks]
    landmarks = x[chosen].astype(np.float64)
    factor = np.linalg.cholesky(_kernel(landmarks, landmarks) + _JITTER * np.eye(n_landmarks))
    alike = _kernel(x, x[chosen])  # (n, m)
    inverse = np.linalg.inv(factor).T
    features = alike @ inverse.astype(np.float32)  # (n, m)
    scale = 1.0 / (_C * weight.sum())

    def loss(beta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """And its gradient, both over `C sum weight`; beta is w and b, (m + 1,)."""
        w, b = beta[:-1], beta[-1]
        odds = features @ w.astype(np.float32) + b  # (n,)
        cross = np.logaddexp(0.0, odds) - rate * odds
        wrong = weight * (_sigmoid(odds) - rate) / weight.sum()
        slope = np.append(wrong.astype(np.float32) @ features + scale * w, wrong.sum())
        return float(weight @ cross / weight.sum() + scale * (w @ w) / 2), slope

    best = minimum(loss, np.zeros(n_landmarks + 1), _TOLERANCE, _MOST_STEPS)
    return _Model(landmarks, inverse @ best[:-1], float(best[-1]))


def _kernel(rows: NDArray[_Real], others: NDArray[_Real]) -> NDArray[_Real]:
    """exp(-gamma |x - y|^2) of each row with each other: (n, dim), (m, dim) -> (n, m)."""
    kernel = rows @ others.T
    kernel *= 2
    kernel -= np.einsum("ij,ij->i", rows, rows)[:, None]
    kernel -= np.einsum("ij,ij->i", others, others)
    kernel *= _GAMMA
    np.minimum(kernel, 0, out=kernel)
    np.exp(kernel, out=kernel)
    return kernel


def _sigmoid(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    sigmoid: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * odds))
    return sigmoid
