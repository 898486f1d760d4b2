"""Judges by name. Each kind is one file: a name, a version, and one verdict for each response."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module

from fitness.types import Judge
from workers.interface import ConfigError, Engine

EngineOf = Callable[[str], Engine]  # from the name behind `llm:` to an engine that serves it

_PLAIN = {
    "embedded": ("fitness.judges.embedded", "EmbeddedJudge"),
    "prefix": ("fitness.judges.prefix", "PrefixJudge"),
    "first-decision": ("fitness.judges.first_decision", "FirstDecisionJudge"),
}
_RULES = ("mean", "majority", "cascade")
# kind -> how to write it
JUDGES = {
    "embedded": "embedded",
    "prefix": "prefix",
    "first-decision": "first-decision",
    "hf": "hf:MODEL=LABEL[,LABEL]",
    "llm": "llm:NAME",
    "mean": "mean:JUDGE+JUDGE",
    "majority": "majority:JUDGE+JUDGE+JUDGE",
    "cascade": "cascade:JUDGE+JUDGE",
}

DESCRIPTIONS = {
    "embedded": "the default: trained here, small and quick; reads the response",
    "prefix": "EvoRefuse's PRR strings, for comparison with published figures; reads the response",
    "first-decision": "of agents: an action or a question is no refusal, prose is read as by embedded",
    "hf": "a sequence classifier and its labels that mean a refusal; reads the response",
    "llm": "a language model: a block of the config's engines, or a model; reads prompt, reasoning and response",
    "mean": "the mean of several judges",
    "majority": "the side that more than half of several judges take",
    "cascade": "the first judge that is sure, in this order",
}


def require(name: str) -> None:
    """Look a judge's name up, without loading anything.

    Raises:
        ConfigError: there is no such judge (the nearest is named), or its name is not complete.
    """
    kind, _, rest = name.partition(":")
    if kind not in JUDGES:
        near = difflib.get_close_matches(kind, JUDGES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"judges: '{name}' is not one of {', '.join(JUDGES.values())}{hint}")
    if bool(rest) == (kind in _PLAIN):
        raise ConfigError(f"judges: '{name}': write {JUDGES[kind]}")
    if kind in _RULES:
        members = rest.split("+")
        if len(members) < 2 or len(set(members)) < len(members):
            raise ConfigError(f"judges: '{name}' needs two different judges: {JUDGES[kind]}")
        for member in members:
            if member.partition(":")[0] in _RULES:
                raise ConfigError(f"judges: '{name}': judges are joined once, not in each other")
            require(member)


def needs_engine(name: str) -> list[str]:
    """The names of the models that the judge called `name` asks; [] for most."""
    kind, _, rest = name.partition(":")
    if kind in _RULES:
        return [model for member in rest.split("+") for model in needs_engine(member)]
    return [rest] if kind == "llm" else []


def build(name: str, engine_of: EngineOf | None = None) -> Judge:
    """The judge called `name`, ready to judge. `engine_of` is asked for the models of `llm`.

    Raises:
        ConfigError: no such judge, or its model cannot be loaded or has other labels.
    """
    require(name)
    kind, _, rest = name.partition(":")
    if kind in _RULES:
        from fitness.judges.ensemble import Ensemble

        return Ensemble(name, kind, [build(member, engine_of) for member in rest.split("+")])
    if kind == "hf":
        from fitness.judges.hf import ClassifierJudge

        model, _, labels = rest.partition("=")
        return ClassifierJudge(name, model, [label for label in labels.split(",") if label])
    if kind == "llm":
        from fitness.judges.llm import LlmJudge

        if engine_of is None:
            raise ConfigError(f"judges: '{name}' needs an engine, which nobody gave")
        return LlmJudge(name, engine_of(rest))
    module, cls = _PLAIN[kind]
    judge: Callable[[], Judge] = getattr(import_module(module), cls)
    return judge()
