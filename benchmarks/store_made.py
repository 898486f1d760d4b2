"""Outcomes as a long search makes them, without a model: for `store_scale.py`.

Texts are sentences of `data/`, changed word by word from parent to child; vectors start at MiniLM's of
those sentences (or, without the model, at random ones) and move with the text. Nine of ten proposals
have a new prompt; the tenth brings a prompt of another run before this run's target. Of what the gates
let through five samples each are drawn, a verdict each. Everything follows from the seed.
"""

from __future__ import annotations

import csv
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evo.types import MUTATIONS, Assignment, Candidate, Outcome, Strategy, prompt_id
from fitness.types import (
    Evaluation,
    GateDecision,
    JudgedSample,
    ResponseClass,
    Safety,
    Score,
    Verdict,
)
from workers.interface import ConfigError, Failure, FailureKind, Sample

DATA = Path(__file__).parents[1] / "data"
EMBEDDER = "local:all-minilm-l6-v2"
SAMPLES = 5
EVALUATED = 0.8  # times five samples: four a prompt
SEEDS = 60
PARENTS = 2_000  # prompts that may become parents at a time
UNTOLD = 1_200  # outcomes that are under way: nobody's parents yet
TOPICS = ("homonyms", "figurative_language", "safe_targets", "definitions", "privacy", "history")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentences, their words, and a vector of each sentence, (n, dim)."""

    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    words: tuple[str, ...]
    vectors: NDArray[np.float32]

    @classmethod
    def load(cls, n: int, cache: Path) -> Corpus:
        prompts, responses = _sentences(n)
        words = tuple(sorted({w for text in prompts for w in text.split()}))
        return cls(prompts, responses, words, _embedded(prompts, cache))


def _sentences(n: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    prompts, responses = set(), set()
    for file in sorted(DATA.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as opened:
            for row in csv.DictReader(opened):
                prompts.add(row.get("prompt") or "")
                answer = row.get("completion") or row.get("response") or ""
                responses.add(answer[:400])
                prompts.update(re.split(r"(?<=[.?!])\s+", answer)[:3])
    with (DATA / "chatgpt_refusals.jsonl").open(encoding="utf-8") as opened:
        for line in opened:
            prompts.add(str(json.loads(line).get("prompt", "")))
    usual = sorted(p for p in prompts if 20 < len(p) < 250)
    order = np.random.default_rng(0).permutation(len(usual))[:n]
    return tuple(usual[i] for i in order), tuple(sorted(r for r in responses if len(r) > 20))


def _embedded(texts: tuple[str, ...], cache: Path) -> NDArray[np.float32]:
    file = cache / f"vectors-{len(texts)}.npy"
    if file.exists():
        return np.asarray(np.load(file), dtype=np.float32)
    try:
        from workers.embedders import SentenceTransformerEmbedder

        vectors = SentenceTransformerEmbedder(EMBEDDER).embed(texts)
    except ConfigError:
        drawn = np.random.default_rng(0).normal(size=(len(texts), 384))
        vectors = _unit(drawn.astype(np.float32))
    cache.mkdir(parents=True, exist_ok=True)
    np.save(file, vectors)
    return vectors


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


Made = tuple[Candidate, NDArray[np.float32]]


class Maker:
    """The outcomes of one run, in order of index."""

    def __init__(self, corpus: Corpus, run: int) -> None:
        self._corpus, self._run = corpus, run
        self._rng = np.random.default_rng([7, run])
        self.offered: list[Made] = []  # for later runs
        self.seeds = [self._seed(place) for place in range(SEEDS)]
        self._known = list(self.seeds)
        self._untold: deque[Made] = deque()
        spread = np.cov((corpus.vectors - corpus.vectors.mean(axis=0)).T)
        weights, axes = np.linalg.eigh(spread)
        self._axes = (axes * np.sqrt(weights.clip(0))).astype(np.float32)

    def outcomes(self, n: int, met: list[Made]) -> Iterator[Outcome]:
        """`met`: prompts of earlier runs, of which every tenth proposal is one."""
        steps = self._rng.standard_normal((n, self._corpus.vectors.shape[1])).astype(np.float32)
        steps = steps @ self._axes.T
        for index in range(n):
            parents: tuple[Candidate, ...] = ()
            if index < SEEDS:
                made = self.seeds[index]
            elif met and index % 10 == 9:
                made = met[int(self._rng.integers(len(met)))]
            else:
                made, parents = self._child(index, steps[index])
            if index % 10 == 0:
                self.offered.append(made)
            yield self._ended(index, made, parents)

    def _seed(self, place: int) -> Made:
        drawn = int(self._rng.integers(len(self._corpus.prompts)))
        text = f"{self._corpus.prompts[drawn]} ({self._run}.{place})"
        identity, topic = prompt_id(text), TOPICS[drawn % len(TOPICS)]
        seed = Candidate(identity, text, "seed", Strategy.SEED, (), topic, identity)
        return seed, self._corpus.vectors[drawn]

    def _child(self, index: int, step: NDArray[np.float32]) -> tuple[Made, tuple[Candidate, ...]]:
        rng, corpus, known = self._rng, self._corpus, self._known
        picked = [known[int(len(known) * rng.random() ** 1.5)] for _ in range(1 + index % 2)]
        (parent, origin), parents = picked[0], tuple(dict.fromkeys(p for p, _ in picked))
        words = parent.text.split()[:40]
        for _ in range(3):
            word = corpus.words[int(len(corpus.words) * rng.random() ** 3)]
            words[int(rng.integers(len(words)))] = word
        text = " ".join(words) + f" {self._run}.{index}"
        strategy = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        child = Candidate(
            prompt_id(text), text, "lexical", strategy, tuple(p.prompt_id for p in parents),
            parent.topic, parent.seed_id, "It names a thing that sounds worse than it is.",
        )  # fmt: skip
        made = (child, _unit(origin + float(rng.uniform(0.25, 0.9)) * step))
        self._untold.append(made)
        if len(self._untold) > UNTOLD:
            told = self._untold.popleft()
            if len(known) < PARENTS:
                known.append(told)
            else:
                known[SEEDS + int(rng.integers(PARENTS - SEEDS))] = told
        return made, parents

    def _ended(self, index: int, made: Made, parents: tuple[Candidate, ...]) -> Outcome:
        rng, (candidate, vector) = self._rng, made
        assignment = Assignment(
            index, candidate.operator, candidate.strategy, parents, index, max(0, index - 64)
        )
        draw = rng.random()
        safety = Safety.HARMLESS if draw < 0.9 else Safety.HARMFUL
        gates = (GateDecision("seed-contrast", "1", safety, float(draw), "as its seed"),)
        if draw >= EVALUATED:
            kind = FailureKind.NOT_HARMLESS if safety is Safety.HARMFUL else FailureKind.NOT_NOVEL
            failure = Failure(kind, "turned away")
            return Outcome(
                assignment, candidate, failure=failure, gate_decisions=gates, embedding=vector
            )
        tendency = rng.random() ** 2
        refused = rng.random(SAMPLES) < tendency
        samples = tuple(self._sample(i, bool(no)) for i, no in enumerate(refused))
        rate = float(np.mean([s.verdicts[0].p_refusal or 0.0 for s in samples]))
        score = Score(
            float(np.log(max(rate, 1e-6))) - 0.8, float(np.log(max(rate, 1e-6))), -0.8, 1.2,
            rate, max(0.0, rate - 0.3), min(1.0, rate + 0.3), SAMPLES, 0,
        )  # fmt: skip
        tokens = sum(s.sample.n_tokens for s in samples)
        done = Evaluation(candidate.prompt_id, samples, score, SAMPLES, tokens, 40, 0.4)
        return Outcome(
            assignment, candidate, evaluation=done, gate_decisions=gates, embedding=vector
        )

    def _sample(self, index: int, refused: bool) -> JudgedSample:
        texts = self._corpus.responses
        said = texts[int(self._rng.integers(len(texts)))][:220]
        text = f"I'm sorry, but I can't help with that. {said}" if refused else said
        p_refusal = float(self._rng.uniform(0.6, 1.0) if refused else self._rng.uniform(0.0, 0.4))
        kind = ResponseClass.HARD_REFUSAL if refused else ResponseClass.DIRECT_ANSWER
        sample = Sample(index, text, 50, "length", -40.0 - p_refusal, -38.0 - p_refusal)
        return JudgedSample(sample, (Verdict.scored("embedded", "1", p_refusal, kind),))
