"""Sections that say what is searched from, how, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from evo import tactics as tactics_file
from evo.config.hosts import EngineConfig
from evo.config.section import Section
from evo.tactics import Tactic
from fitness.elbo import DEFAULT_WEIGHT
from fitness.objective import Objective
from workers.interface import ConfigError


class SeedsConfig(Section):
    """Where the search starts: a named dataset, a file (.jsonl, .csv, .txt) and its column, or what was
    imported into the store under a name."""

    dataset: str | None = None
    path: str | None = None
    store: str | None = None
    column: str = "prompt"
    limit: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> SeedsConfig:
        if [self.dataset, self.path, self.store].count(None) != 2:
            raise ValueError("name one of 'dataset', 'path' and 'store'")
        return self


class ProposerConfig(Section):
    """What makes new prompts: the built-in grammar (lexical), the grammar led by guesses of what
    carries a refusal (guided), a language model (llm), or several of them. `tactics`: a file of named
    strategies, or their entries; the resolved form holds the entries in use."""

    operators: list[Literal["lexical", "llm", "guided"]] = Field(["lexical"], min_length=1)
    engine: EngineConfig | None = None
    attempts: int = Field(3, ge=1, le=10)
    tactics: list[Tactic] = Field(default_factory=list)

    @field_validator("tactics", mode="before")
    @classmethod
    def _read_tactics(cls, given: Any) -> Any:
        try:
            return tactics_file.read(given) if isinstance(given, str) else given
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _some_operator_knows_each_tactic(self) -> ProposerConfig:
        names = [t.name for t in self.tactics]
        if len(set(names)) < len(names):
            raise ValueError("two tactics have one name")
        for tactic in self.tactics:
            if not tactic.use:
                raise ValueError(f"the tactic '{tactic.name}' has 'use: false'; leave it out")
            if not tactic.frames and "llm" not in self.operators:
                raise ValueError(
                    f"the tactic '{tactic.name}' has no frames: only the operator llm can use it"
                )
        return self

    @model_validator(mode="after")
    def _llm_needs_an_engine(self) -> ProposerConfig:
        if "llm" in self.operators and self.engine is None:
            raise ValueError("the llm operator needs an 'engine' block: proposer.engine.model")
        return self


class SamplesConfig(Section):
    """Samples of each prompt: `first` always, up to `max` while it still matters."""

    first: int = Field(2, ge=1)
    max: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> SamplesConfig:
        if self.max < self.first:
            raise ValueError(f"max ({self.max}) is smaller than first ({self.first})")
        return self


class ScreeningConfig(Section):
    """What is guessed of a prompt before it is sampled. `lost`: share of the known over-refusals that
    the predictor may turn away. `blind`: share of the proposals that go through whatever was guessed."""

    predictor: bool = True
    opening: bool = True
    lost: float = Field(0.05, ge=0.0, le=0.5)
    blind: float = Field(0.1, ge=0.0, le=1.0)


class SearchConfig(Section):
    """How the search chooses. `threshold`: refusal rate from which a harmless prompt is an
    over-refusal. `novelty`: a candidate whose cosine to an earlier one reaches it is turned away.
    `fitness_over`, `quantile`: how several targets make one fitness (`fitness.targets.Over`).
    `fitness`: `fitness.objective`; one that reads thoughts does so by the `probe` in a folder. Its
    `probe_version` is written down when a run begins: another one is refused."""

    algorithm: str = "steady-state"
    fitness: Literal["elbo", "cliff", "inverse-cliff"] = "elbo"
    probe: str | None = None
    probe_version: str | None = None
    reference: bool = False
    population: int = Field(256, ge=2)
    samples: SamplesConfig = SamplesConfig()
    threshold: float = Field(0.5, gt=0.0, le=1.0)
    novelty: float = Field(0.9, gt=0.0, le=1.0)
    racing: bool = True
    settle: float = Field(0.05, ge=0.0, le=0.5)
    screening: ScreeningConfig = ScreeningConfig()
    confidence_weight: float = Field(DEFAULT_WEIGHT, ge=0.0)
    entropy_weight: float = Field(0.0, ge=0.0)
    fitness_over: Literal["mean", "min", "quantile"] = "mean"
    quantile: float = Field(0.25, ge=0.0, le=1.0)
    recombination: float = Field(0.25, ge=0.0, le=1.0)
    bandit: bool = True
    archive: bool = True
    islands: bool = True
    migration: float = Field(0.1, ge=0.0, le=1.0)
    batch: int = Field(24, ge=1)
    in_flight: int | None = Field(None, ge=1)

    @property
    def objective(self) -> Objective:
        return Objective(self.fitness)

    @model_validator(mode="before")
    @classmethod
    def _cliffs_are_not_screened(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or raw.get("fitness") != Objective.CLIFF:
            return raw
        given = raw.get("screening", {})
        off = {"predictor": False, "opening": False}
        return {**raw, "screening": {**off, **given}} if isinstance(given, Mapping) else raw

    @model_validator(mode="after")
    def _fitness_and_its_probe(self) -> SearchConfig:
        if self.objective.reads_thoughts and not self.probe:
            raise ValueError(
                f"'fitness: {self.fitness}' needs 'probe', a folder of evocliff cliff train"
            )
        if not self.objective.reads_thoughts and (self.probe or self.probe_version):
            raise ValueError("'probe' is for the fitness cliff or inverse-cliff, not for elbo")
        screened = self.screening.predictor or self.screening.opening
        if self.objective is Objective.CLIFF and screened:
            raise ValueError(
                "screening keeps what promises a refusal, and a cliff ends in an answer: "
                "leave out 'screening.predictor' and 'screening.opening'"
            )
        return self

    @model_validator(mode="after")
    def _reference_is_of_evorefuse(self) -> SearchConfig:
        if self.reference and self.algorithm != "evorefuse":
            raise ValueError(f"'reference' is for evorefuse, not for '{self.algorithm}'")
        if self.reference and self.objective.reads_thoughts:
            raise ValueError(f"'reference' has a fitness of its own, not '{self.fitness}'")
        return self


class BudgetConfig(Section):
    """What ends the run, whichever comes first. Nothing set is an error: a search never ends alone.

    evaluations    prompts scored by the target
    target_tokens  tokens generated by the target
    wall_clock     seconds of searching, resumes added up
    stall          evaluations in a row without a new over-refusal
    money          USD charged by endpoints: target, proposer, judges and gates together
    proposals      proposals made, evaluated or not; default 20 for each evaluation
    """

    evaluations: int | None = Field(None, ge=1)
    target_tokens: int | None = Field(None, ge=1)
    wall_clock: float | None = Field(None, gt=0)
    stall: int | None = Field(None, ge=1)
    money: float | None = Field(None, gt=0)
    proposals: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _some_end(self) -> BudgetConfig:
        ends = (self.evaluations, self.target_tokens, self.wall_clock, self.stall, self.money)
        if not any(ends):
            raise ValueError("set one of evaluations, target_tokens, wall_clock, stall, money")
        return self


class KeepConfig(Section):
    """What of the run is kept when it is over and `evocliff db vacuum` comes.

    samples    all; over-refusals (raw samples that over-refusals, boundary pairs, labels or cliffs rest
               on); or all for a time such as "30 days", then the same. Scores stay whatever it says.
    """

    samples: str = Field("all", pattern=r"^(all|over-refusals|\d+ days?)$")
