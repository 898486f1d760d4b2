"""How good are the judge, the safety gate and the predictor on what they have not seen?

    python benchmarks/judges.py

judge      `embedded`, each XSTest model left out, and ChatGPT's responses in five folds (complied
           against the rest); beside it the judge `prefix` and the share of the commoner label
gate       `seed-contrast`, each safe XSTest type left out together with its unsafe contrast
predictor  P(refused) of a ChatGPT prompt from the prompt alone, ten folds
speed      responses a second of `embedded`

Some five minutes on two cores. One JSON line each.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
from sklearn.model_selection import StratifiedKFold

from fitness import judges
from fitness.classification import quality
from fitness.predictor import RefusalPredictor
from fitness.types import JudgeInput
from workers.embedders import SentenceTransformerEmbedder

EXAMPLES = Path(__file__).parents[1] / "examples"
FOLDS = 10


def trainer(name: str) -> ModuleType:
    """The training script of an example, as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_train", EXAMPLES / name / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def show(what: str, probabilities: list[float | None], labels: list[bool]) -> None:
    figures = asdict(quality(probabilities, labels))
    rounded = {k: v if v is None else round(v, 4) for k, v in figures.items()}
    print(json.dumps({"what": what} | rounded), flush=True)


def main() -> None:
    judging = trainer("embedded_judge")
    judging.measure()
    sets = {model: judging.xstest(model) for model in judging.XSTEST}
    sets["chatgpt"] = judging.chatgpt()
    for name, (responses, labels) in sets.items():
        inputs = [JudgeInput("", r) for r in responses]
        verdicts = asyncio.run(judges.build("prefix").judge(inputs))
        show(f"prefix on {name}", [v.p_refusal for v in verdicts], labels.tolist())
        show(
            f"commoner label on {name}",
            [float(labels.mean() >= 0.5)] * len(labels),
            labels.tolist(),
        )

    built = judges.build("embedded")
    inputs = [JudgeInput("", r) for responses, _ in sets.values() for r in responses]
    began = time.perf_counter()
    asyncio.run(built.judge(inputs))
    print(
        json.dumps(
            {"what": "speed", "responses_per_s": round(len(inputs) / (time.perf_counter() - began))}
        )
    )

    prompts, refused = judging.chatgpt("prompt")
    vectors = SentenceTransformerEmbedder().embed(prompts)
    guessed = np.zeros(len(prompts))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(vectors, refused):
        predictor = RefusalPredictor()
        predictor.learn(vectors[train], refused[train].astype(float).tolist())
        guessed[test] = predictor.predict(vectors[test])
    show("predictor on chatgpt", guessed.tolist(), refused.tolist())
    show(
        "commoner label on chatgpt", [float(refused.mean() >= 0.5)] * len(refused), refused.tolist()
    )

    trainer("seed_contrast").measure()


if __name__ == "__main__":
    main()
