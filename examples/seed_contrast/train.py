"""Train the safety gate `seed-contrast`, and measure it on kinds of prompts that it has not seen.

    python examples/seed_contrast/train.py            # some minutes; writes the artifact
    python examples/seed_contrast/train.py --measure  # figures only, one JSON line each

Learned from: the 450 XSTest prompts (250 safe, 200 unsafe contrasts), and one-line requests filled
from the templates of corpus.py. `--measure` leaves a safe XSTest type and its unsafe contrast out
together. The templates stay in: they were written by people who know XSTest, so the figures say how
the gate takes prompts of a kind that it was not fitted to, not how it takes an unknown world.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from evo.operators.lexical import rewrite
from evo.types import MUTATIONS, Draft
from fitness.safety.seed_contrast import probabilities, requests, signs, word_features
from workers.embedders import RememberingEmbedder, SentenceTransformerEmbedder

sys.path.insert(0, str(Path(__file__).parent))
import corpus

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "fitness/safety/artifacts"
VERSION = 1
N_LINES = 4000  # harmful ones and as many harmless ones
NETWORKS, HIDDEN = 4, 48
EPOCHS, BATCH, LEARNING_RATE, DECAY, DROPOUT, SMOOTHING = 20, 256, 3e-3, 0.1, 0.2, 0.02
EMBEDDING_SCALE = 0.5
XSTEST_WEIGHT = 3.0
MIX = (0.75, 0.25)  # networks, words
HARMLESS_BELOW, HARMFUL_FROM = 0.5, 0.9
REWRITES, GENERATIONS = 2, 3

EMBEDDER = RememberingEmbedder(SentenceTransformerEmbedder("local:all-minilm-l6-v2"), keep=100_000)

# Safe types and the unsafe types that are left out with them.
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "homonyms": (("homonyms",), ("contrast_homonyms",)),
    "figurative_language": (("figurative_language",), ("contrast_figurative_language",)),
    "safe_targets": (("safe_targets",), ("contrast_safe_targets",)),
    "safe_contexts": (("safe_contexts",), ("contrast_safe_contexts",)),
    "definitions": (("definitions",), ("contrast_definitions",)),
    "discrimination": (("nons_group_real_discr", "real_group_nons_discr"), ("contrast_discr",)),
    "historical_events": (("historical_events",), ("contrast_historical_events",)),
    "privacy": (("privacy_public", "privacy_fictional"), ("contrast_privacy",)),
}


@dataclass
class Set:
    texts: list[str]
    unsafe: np.ndarray
    types: np.ndarray

    def where(self, mask: np.ndarray) -> Set:
        return Set(
            [t for t, m in zip(self.texts, mask, strict=True) if m],
            self.unsafe[mask],
            self.types[mask],
        )


def xstest() -> Set:
    with (ROOT / "evo/seeds/xstest_prompts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Set(
        [r["prompt"].strip() for r in rows],
        np.array([r["label"] == "unsafe" for r in rows]),
        np.array([r["type"] for r in rows]),
    )


def rewritten(prompts: Set, seed: int) -> Set:
    """Each prompt after two to `GENERATIONS` rewrites, `REWRITES` times over."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(REWRITES):
        for text in prompts.texts:
            for _ in range(int(rng.integers(2, GENERATIONS + 1))):
                draft = rewrite(text, MUTATIONS[int(rng.integers(len(MUTATIONS)))], rng)
                text = draft.instruction if isinstance(draft, Draft) else text
            texts.append(text)
    return Set(texts, np.tile(prompts.unsafe, REWRITES), np.tile(prompts.types, REWRITES))


@dataclass
class Features:
    dense: np.ndarray
    words: csr_matrix


def features(texts: list[str]) -> Features:
    vectors = EMBEDDER.embed(texts)
    return Features(np.hstack([vectors, np.array([signs(t) for t in texts])]), word_features(texts))


def fit(seeds: Set, lines: tuple[list[str], np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of the model."""
    texts = seeds.texts + lines[0]
    labels = np.concatenate([seeds.unsafe, lines[1]])
    weight = np.concatenate([np.full(len(seeds.texts), XSTEST_WEIGHT), np.ones(len(lines[0]))])
    for label in (False, True):
        weight[labels == label] /= weight[labels == label].mean()
    x = features(texts)
    dim = EMBEDDER.dim
    mean = x.dense.mean(axis=0)
    scale = np.ones(x.dense.shape[1])
    scale[:dim] = EMBEDDING_SCALE / x.dense[:, :dim].std()
    w1, b1, w2, b2 = networks((x.dense - mean) * scale, labels, weight)
    linear = LogisticRegression(C=10.0, max_iter=1000).fit(x.words, labels, sample_weight=weight)
    return {
        "mean": mean,
        "scale": scale,
        "w1": w1,
        "b1": b1,
        "w2": w2,
        "b2": b2,
        "words": linear.coef_[0],
        "mix": np.array([MIX[0], MIX[1], MIX[1] * linear.intercept_[0]]),
    }


def networks(x: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> list[np.ndarray]:
    """Weights and biases of `NETWORKS` networks of one hidden layer, trained side by side."""
    generator = torch.Generator().manual_seed(0)
    n, d = x.shape
    inputs = torch.tensor(x, dtype=torch.float32)
    y = torch.tensor(labels * (1 - 2 * SMOOTHING) + SMOOTHING, dtype=torch.float32)
    w = torch.tensor(weight, dtype=torch.float32)
    shapes = ((NETWORKS, d, HIDDEN), (NETWORKS, HIDDEN), (NETWORKS, HIDDEN), (NETWORKS,))
    spread = (d**-0.5, 0.0, HIDDEN**-0.5, 0.0)
    weights = [
        (torch.randn(shape, generator=generator) * s).requires_grad_()
        for shape, s in zip(shapes, spread, strict=True)
    ]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=DECAY)
    steps = EPOCHS * (n // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(n, (NETWORKS, BATCH), generator=generator)
        keep = (torch.rand((NETWORKS, BATCH, d), generator=generator) >= DROPOUT) / (1 - DROPOUT)
        w1, b1, w2, b2 = weights
        hidden = torch.relu(torch.einsum("mbd,mdh->mbh", inputs[rows] * keep, w1) + b1[:, None])
        logits = torch.einsum("mbh,mh->mb", hidden, w2) + b2[:, None]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y[rows], weight=w[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return [v.detach().numpy().astype(np.float64) for v in weights]


def predict(arrays: dict[str, np.ndarray], texts: list[str]) -> np.ndarray:
    """P(harmful) of whole prompts: the worst request of each."""
    asked = [requests(t) for t in texts]
    flat = [s for group in asked for s in group]
    p = probabilities(
        {k: v.astype(np.float32) for k, v in arrays.items()}, flat, EMBEDDER.embed(flat)
    )
    ends = np.cumsum([len(group) for group in asked])
    return np.array([part.max() for part in np.split(p, ends[:-1])])


def report(name: str, kind: str, p: np.ndarray, unsafe: np.ndarray) -> dict[str, Any]:
    called = p < HARMLESS_BELOW
    row = {
        "left_out": name,
        "prompts": kind,
        "n": len(p),
        "auroc": round(float(roc_auc_score(unsafe, p)), 4),
        "unsafe_called_harmless": round(float(called[unsafe].mean()), 4),
        "safe_kept": round(float(called[~unsafe].mean()), 4),
    }
    print(json.dumps(row), flush=True)
    return row


def measure(errors: bool = False) -> None:
    seeds = xstest()
    variants = {"plain": seeds, "rewritten": rewritten(seeds, 1001)}
    lines = corpus.lines(N_LINES, np.random.default_rng(0))
    held: dict[str, np.ndarray] = {kind: np.zeros(len(s.texts)) for kind, s in variants.items()}
    for name, (safe, contrast) in GROUPS.items():
        arrays = fit(seeds.where(~np.isin(seeds.types, safe + contrast)), lines)
        for kind, variant in variants.items():
            mask = np.isin(variant.types, safe + contrast)
            part = variant.where(mask)
            p = predict(arrays, part.texts)
            held[kind][mask] = p
            report(name, kind, p, part.unsafe)
            if errors and kind == "plain":
                for t, v, u in zip(part.texts, p, part.unsafe, strict=True):
                    if (v >= HARMLESS_BELOW) != u:
                        print(f"   {'unsafe' if u else 'safe'} {v:.3f} {t}")
    for kind, variant in variants.items():
        report("overall", kind, held[kind], variant.unsafe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="print figures, write nothing")
    parser.add_argument(
        "--errors", action="store_true", help="with --measure: print the errors too"
    )
    args = parser.parse_args()
    if args.measure:
        measure(args.errors)
        return
    seeds = xstest()
    arrays = fit(seeds, corpus.lines(N_LINES, np.random.default_rng(0)))
    for kind, variant in {"plain": seeds, "rewritten": rewritten(seeds, 1001)}.items():
        report("nothing (shipped model)", kind, predict(arrays, variant.texts), variant.unsafe)
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / "seed_contrast.safetensors"
    save_file(
        {
            k: np.ascontiguousarray(
                v, dtype=np.float16 if v.ndim > 2 or k == "words" else np.float32
            )
            for k, v in arrays.items()
        },
        path,
    )
    meta = {
        "embedder": EMBEDDER.name,
        "dim": EMBEDDER.dim,
        "harmless_below": HARMLESS_BELOW,
        "harmful_from": HARMFUL_FROM,
        "version": VERSION,
    }
    (ARTIFACTS / "seed_contrast.json").write_text(
        json.dumps(meta, indent=2) + "\n", encoding="utf-8"
    )
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
