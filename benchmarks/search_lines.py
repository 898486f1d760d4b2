"""The runs of benchmarks/search_efficiency.py as they lie in its file: one JSON line each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Find:
    """A confirmed over-refusal that stands for its cluster."""

    prompt_id: str
    text: str
    fitness: float
    refusal_rate: float  # by the run's samples
    confirmed_rate: float  # by fresh ones
    tokens: int  # paid by the run when it was recorded


@dataclass(frozen=True, slots=True)
class Line:
    """One run. `hits`: over-refusals by the run's own samples; `confirmed` of `asked` stood the test
    (one of each cluster is asked first, the others only where it fails)."""

    arm: str
    seed: int
    budget: int
    target_tokens: int
    evaluations: int
    proposals: int
    samples: int
    rejected: Mapping[str, int]
    hits: int
    asked: int
    confirmed: int
    finds: Sequence[Find]
    reason: str
    wall_s: float
    cpu_s: float


def read(file: Path) -> list[Line]:
    """The runs that are in the file; a last line that was cut off is none."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            raw = json.loads(text)
        except json.JSONDecodeError:
            continue
        lines.append(Line(**{**raw, "finds": [Find(**find) for find in raw["finds"]]}))
    return lines


def append(file: Path, line: Line) -> None:
    """One more run; what was cut off before it goes."""
    text = "".join(json.dumps(asdict(one)) + "\n" for one in [*read(file), line])
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)
