"""How good are the judge, the safety gate and the predictor on what they have not seen?

    python benchmarks/judges.py

judge      `embedded`, each XSTest model left out, and ChatGPT's responses in five folds (complied
           against the rest) and by the paper's split; beside it the judge `prefix` and the share of
           the commoner label
classes    hard against soft refusals, where people told full from partial ones
gate       `seed-contrast`, each safe XSTest type left out together with its unsafe contrast
predictor  P(refused) of a ChatGPT prompt from the prompt alone, ten folds
speed      responses a second of `embedded`

Some three minutes on two cores. One JSON line each.
"""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from fitness import judges
from fitness.classification import quality
from fitness.judges.classes import response_class
from fitness.predictor import RefusalPredictor
from fitness.types import JudgeInput, ResponseClass
from workers.embedders import SentenceTransformerEmbedder

ROOT = Path(__file__).parents[1]
FOLDS = 10


def trainer(name: str) -> ModuleType:
    """The training script of an example, as a module."""
    spec = importlib.util.spec_from_file_location(
        f"{name}_train", ROOT / "examples" / name / "train.py"
    )
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


def judge(judging: ModuleType) -> None:
    judging.measure()
    sets = {model: judging.xstest(model) for model in judging.XSTEST}
    sets["chatgpt"] = chat = judging.chatgpt()
    # The paper's split, 70 to 15 to 15 (arXiv 2306.03423); nothing here needs its middle part.
    places = np.arange(len(chat.refused))
    train, rest = train_test_split(places, test_size=0.3, random_state=0)
    middle, test = train_test_split(rest, test_size=0.5, random_state=0)
    known = [sets[m] for m in judging.XSTEST]
    fitted = judging.fit([*known, chat.take(np.concatenate([train, middle]))])
    guessed = judging.predict(fitted, chat.versions[0][test])
    show("embedded on chatgpt, the paper's split", guessed.tolist(), chat.refused[test].tolist())
    for name, labelled in sets.items():
        inputs = [JudgeInput("", r) for r in labelled.responses]
        verdicts = asyncio.run(judges.build("prefix").judge(inputs))
        refused = labelled.refused.tolist()
        show(f"prefix on {name}", [v.p_refusal for v in verdicts], refused)
        commoner = float(labelled.refused.mean() >= 0.5)
        show(f"commoner label on {name}", [commoner] * len(refused), refused)
    responses = [JudgeInput("", r) for labelled in sets.values() for r in labelled.responses]
    built = judges.build("embedded")
    began = time.perf_counter()
    asyncio.run(built.judge(responses))
    per_s = round(len(responses) / (time.perf_counter() - began))
    print(json.dumps({"what": "speed", "responses_per_s": per_s}), flush=True)


def classes(judging: ModuleType) -> None:
    """The share of XSTest's full refusals that are called hard, and of its partial ones called soft."""
    right: dict[str, list[bool]] = {"2_full_refusal": [], "3_partial_refusal": []}
    for model in judging.XSTEST:
        path = ROOT / f"data/xstest_completions_{model}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["final_label"] in right:
                    hard = response_class(row["completion"], 1.0) is ResponseClass.HARD_REFUSAL
                    right[row["final_label"]].append(hard == (row["final_label"][0] == "2"))
    shares = {label: round(sum(r) / len(r), 4) for label, r in right.items()}
    print(json.dumps({"what": "hard against soft"} | shares), flush=True)


def predictor() -> None:
    lines = (ROOT / "data/chatgpt_refusals.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [r for r in map(json.loads, lines) if r["tone"] not in {"dontknow", "incoherent"}]
    refused = np.array([r["tone"] != "complied" for r in rows])
    vectors = SentenceTransformerEmbedder().embed([r["prompt"] for r in rows])
    guessed = np.zeros(len(rows))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(vectors, refused):
        learning = RefusalPredictor()
        learning.learn(vectors[train], refused[train].astype(float).tolist())
        guessed[test] = learning.predict(vectors[test])
    show("predictor on chatgpt's prompts", guessed.tolist(), refused.tolist())
    commoner = float(refused.mean() >= 0.5)
    show("commoner label on chatgpt's prompts", [commoner] * len(refused), refused.tolist())


def main() -> None:
    judging = trainer("embedded_judge")
    judge(judging)
    classes(judging)
    predictor()
    trainer("seed_contrast").measure()


if __name__ == "__main__":
    main()
