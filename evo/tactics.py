"""Named strategies of the user's: their values, and the YAML file they are proposed and read in.

A file is written by `evocliff tactics` (evo/mining.py finds what is in it) and edited by a person: only
entries with `use: true` take part in a search. Knows no search and no store.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evo.types import FAMILIES, Strategy
from workers.interface import ConfigError

FORMAT = 1
MAX_FRAME_LETTERS = 400
_POSITIONS = Literal["lead", "colon", "wedge", "tail", "trail"]


class TacticFrame(BaseModel):
    """A sentence that the tactic puts beside a request, and where: the positions of the grammar."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: _POSITIONS
    text: str = Field(min_length=1, max_length=MAX_FRAME_LETTERS)

    @field_validator("text")
    @classmethod
    def _plain(cls, text: str) -> str:
        if "{" in text or "}" in text or "\n" in text:
            raise ValueError("a frame is one plain line, without braces")
        return text.strip()


class Tactic(BaseModel):
    """One named strategy. `instruction` tells a model how to rewrite; `frames` are for the built-in
    grammar. `prior`: the success rate that the bandit begins with, in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=50, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    use: bool = False
    family: str = "mixed"
    instruction: str = Field(min_length=1, max_length=2000)
    frames: list[TacticFrame] = []
    prior: float = Field(0.1, ge=0.0, le=1.0)

    @field_validator("family")
    @classmethod
    def _known_family(cls, family: str) -> str:
        if family not in (*FAMILIES, "mixed"):
            raise ValueError(f"a family is one of {', '.join(FAMILIES)}, mixed")
        return family

    @property
    def strategy(self) -> Strategy:
        """The strategy as candidates and stored rows have it, `tactic:NAME`."""
        return Strategy(f"tactic:{self.name}")


def read(path: str | Path) -> list[Tactic]:
    """The tactics of a file that its user has chosen (`use: true`), in the order of the file.

    Raises:
        ConfigError: no such file, no YAML, an entry that cannot be used, a name twice.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such tactics file; make one: evocliff tactics") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("tactics"), list):
        raise ConfigError(f"{path}: expected a key 'tactics' with a list; see docs/tactics.md")
    if raw.get("format", FORMAT) != FORMAT:
        raise ConfigError(f"{path}: format {raw['format']} is not {FORMAT}; make the file again")
    found: list[Tactic] = []
    for number, entry in enumerate(raw["tactics"], 1):
        where = f"{path}: tactic {number}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{where} is no mapping")
        if entry.get("name"):
            where = f"{path}: tactic '{entry['name']}'"
        _require_known_keys(entry, where)
        try:
            found.append(
                Tactic.model_validate({k: v for k, v in entry.items() if k not in _SHOWN_ONLY})
            )
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            message = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{where}: {place}: {message}") from None
    require_distinct(found, str(path))
    return [tactic for tactic in found if tactic.use]


def require_distinct(tactics: Sequence[Tactic], where: str) -> None:
    """Raises ConfigError where two tactics have one name."""
    names = [t.name for t in tactics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{where}: the name '{twice[0]}' is there twice; rename one")


def arms(tactics: Sequence[Tactic], operators: Sequence[str]) -> dict[tuple[str, Strategy], float]:
    """Operator and strategy of every way to use a tactic, with its prior: the llm operator uses all,
    the grammar those that have frames."""
    return {
        (operator, tactic.strategy): min(max(tactic.prior, _LEAST_PRIOR), _MOST_PRIOR)
        for operator in operators
        for tactic in tactics
        if operator == "llm" or tactic.frames
    }


# A prior of a handful of prompts must leave the bandit its doubts.
_LEAST_PRIOR, _MOST_PRIOR = 0.02, 0.5

# What `evocliff tactics` writes beside what a search reads.
_SHOWN_ONLY = ("words", "size", "success", "examples")


def _require_known_keys(entry: dict[Any, Any], where: str) -> None:
    known = [*Tactic.model_fields, *_SHOWN_ONLY]
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known keys: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key '{key}'{hint}")


def slug(words: Sequence[str]) -> str:
    """A name out of words.

    >>> slug(["Furious", "call centre"])
    'furious-call-centre'
    """
    return "-".join(re.findall(r"[a-z0-9]+", " ".join(words).casefold()))
