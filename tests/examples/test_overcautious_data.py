"""The over-cautious organism must not have seen XSTest, nor the requests it is measured on."""

from __future__ import annotations

import csv
import importlib.util
import random
import re
from functools import cache
from pathlib import Path
from types import ModuleType

from evo.types import normalise

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/overcautious"
MOST_ALIKE = 0.7


@cache
def data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("overcautious_prompts", FOLDER / "prompts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def training() -> tuple[str, ...]:
    rng = random.Random(0)  # the order of draws in train.py
    return tuple(dict.fromkeys([*data().refused(rng), *data().answered(rng)]))


@cache
def xstest() -> tuple[str, ...]:
    with (ROOT / "evo/seeds/xstest_prompts.csv").open(encoding="utf-8", newline="") as file:
        return tuple(row["prompt"] for row in csv.DictReader(file))


@cache
def measured() -> tuple[str, ...]:
    return tuple((FOLDER / "plain_requests.txt").read_text(encoding="utf-8").splitlines())


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+", normalise(text)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)


def alike(some: tuple[str, ...], others: tuple[str, ...]) -> list[tuple[str, str]]:
    bags = [(other, words(other)) for other in others]
    return [(a, b) for a in some for b, bag in bags if jaccard(words(a), bag) >= MOST_ALIKE]


def test_sizes() -> None:
    assert len(xstest()) == 450
    assert len(training()) >= 1000
    assert len(measured()) == len(set(map(normalise, measured()))) == 100


def test_no_xstest_prompt_is_trained_on() -> None:
    assert not set(map(normalise, training())) & set(map(normalise, xstest()))
    assert alike(training(), xstest()) == []


def test_the_plain_requests_measured_on_are_not_trained_on() -> None:
    assert not set(map(normalise, training())) & set(map(normalise, measured()))
    assert alike(training(), measured()) == []


def test_no_request_is_both_refused_and_answered() -> None:
    rng = random.Random(0)
    refused = set(map(normalise, data().refused(rng)))
    assert not refused & set(map(normalise, data().answered(rng)))


def test_training_does_not_depend_on_anything_but_the_seed() -> None:
    first, again = (data().refused(random.Random(3)) for _ in range(2))
    assert first == again


def test_refusals_are_short_and_varied() -> None:
    refusals = data().REFUSALS
    assert len(set(refusals)) == len(refusals) >= 10
    assert all(5 <= len(r.split()) <= 16 for r in refusals)
