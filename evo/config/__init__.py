"""The run's configuration: one YAML file, validated once at the door.

An unknown key is an error that names the nearest known one; `${NAME}` takes the environment's value.
The resolved form is stored with the run. Knows no defaults but those written here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from evo.config.explaining import explain
from evo.config.hosts import (
    SAFETY_PRIOR,
    EmbedderConfig,
    EngineConfig,
    FirstTokenConfig,
    PriceConfig,
    ReplicasConfig,
    TargetConfig,
    VllmConfig,
)
from evo.config.searching import (
    BudgetConfig,
    KeepConfig,
    ProposerConfig,
    SamplesConfig,
    ScreeningConfig,
    SearchConfig,
    SeedsConfig,
)
from evo.config.section import SamplingConfig, Section
from fitness.objective import Objective
from workers.interface import ConfigError

__all__ = [
    "SAFETY_PRIOR",
    "BudgetConfig",
    "Config",
    "EmbedderConfig",
    "EngineConfig",
    "FirstTokenConfig",
    "KeepConfig",
    "PriceConfig",
    "ProposerConfig",
    "ReplicasConfig",
    "SamplesConfig",
    "SamplingConfig",
    "ScreeningConfig",
    "SearchConfig",
    "Section",
    "SeedsConfig",
    "TargetConfig",
    "VllmConfig",
    "load",
    "validate",
    "with_overrides",
]


class Config(Section):
    """A whole run."""

    name: str = Field("search", min_length=1, max_length=100)
    seed: int = Field(0, ge=0, lt=2**63)
    seeds: SeedsConfig
    engines: dict[str, EngineConfig] = Field(default_factory=dict)
    targets: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")], TargetConfig] = Field(
        default_factory=dict
    )
    target: TargetConfig  # with `targets`: the first of them
    proposer: ProposerConfig = ProposerConfig()
    judges: list[str] = Field(["embedded"], min_length=1)
    safety: list[str] = Field(["seed-contrast"], min_length=1)
    embedder: EmbedderConfig = EmbedderConfig()
    search: SearchConfig = SearchConfig()
    budget: BudgetConfig
    store: str = "sqlite:///evocliff.db"
    keep: KeepConfig = KeepConfig()

    @model_validator(mode="before")
    @classmethod
    def _named_engines(cls, raw: Any) -> Any:
        """`engine: NAME` of target and proposer takes over what the block NAME of `engines` says."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("engines"), Mapping):
            return raw
        whole = dict(raw)
        if "target" in raw:
            whole["target"] = _with_named(raw["target"], raw["engines"])
        if isinstance(raw.get("targets"), Mapping):
            whole["targets"] = {
                name: _with_named(target, raw["engines"]) for name, target in raw["targets"].items()
            }
        proposer = raw.get("proposer")
        if isinstance(proposer, Mapping) and "engine" in proposer:
            engine = _with_named(proposer["engine"], raw["engines"])
            whole["proposer"] = {**proposer, "engine": engine}
        return whole

    @model_validator(mode="before")
    @classmethod
    def _first_of_targets(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or not raw.get("targets") or "target" in raw:
            return raw
        several = raw["targets"]
        return {**raw, "target": next(iter(several.values()))} if isinstance(several, dict) else raw

    @model_validator(mode="after")
    def _one_target_or_several(self) -> Config:
        if self.targets and len(self.targets) < 2:
            raise ValueError("'targets' wants two or more; a single one stands under 'target'")
        # The stored form has both: what is written there says the same.
        if self.targets and self.target != next(iter(self.targets.values())):
            raise ValueError("name either 'target' or 'targets', not both")
        return self

    @property
    def every_target(self) -> dict[str, TargetConfig]:
        """All targets by name; a single one is called "target"."""
        return self.targets or {"target": self.target}

    def about(self, name: str) -> Config:
        """The same run with one of its targets alone."""
        return self.model_copy(update={"target": self.every_target[name], "targets": {}})

    @property
    def by_refusals(self) -> Config:
        """The same run with nothing but refusals to look at: no thought is read for it."""
        plain = {"fitness": Objective.ELBO.value, "probe": None, "probe_version": None}
        return self.model_copy(update={"search": self.search.model_copy(update=plain)})

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> Config:
        engines = [*self.every_target.values(), self.proposer.engine, *self.engines.values()]
        if self.budget.money and all(e is None or e.price == PriceConfig() for e in engines):
            raise ValueError("budget.money needs a price, for example target.price.completion")
        return self


def _with_named(section: Any, named: Mapping[str, Any]) -> Any:
    """`section` on top of the block that its `engine` names; unchanged where it names none."""
    block = named.get(str(section.get("engine"))) if isinstance(section, Mapping) else None
    if not isinstance(block, Mapping):
        return section
    merged = {**block, **section}
    for key in block.keys() & section.keys():
        if isinstance(block[key], Mapping) and isinstance(section[key], Mapping):
            merged[key] = {**block[key], **section[key]}
    return merged | {"engine": block.get("engine", EngineConfig.model_fields["engine"].default)}


def load(
    path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Config:
    """Read a YAML file, apply `key.path=value` overrides, expand `${NAME}` and validate.

    Raises:
        ConfigError: the file is absent or not YAML, a key is unknown (the message names the nearest),
            a value is out of range, or a variable is not set.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path}: a config is a mapping of sections; see examples/quickstart.yaml"
        )
    for override in overrides:
        _apply(raw, override)
    return validate(_expand(raw, os.environ if environment is None else environment), str(path))


def validate(raw: Mapping[str, Any], origin: str = "config") -> Config:
    """A `Config` from plain data; `origin` names it in errors.

    Raises:
        ConfigError: with one line for the first thing that is wrong.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {explain(error, Config)}") from None


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """A stored config with `key=value` changes on top, as `--resume` allows them."""
    raw = config.model_dump(mode="json")
    if config.targets:
        del raw["target"]  # it is the first of them again
    for override in overrides:
        _apply(raw, override)
    return validate(raw, "--set")


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: write key=value, for example budget.evaluations=200")
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        below = place.setdefault(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(f"--set {override}: '{parent}' is a value, not a section")
        place = below
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from None


def _expand(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _expand(v, environment) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, environment) for v in value]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environment:
            raise ConfigError(f"${{{name}}}: this environment variable is not set")
        return environment[name]

    return re.sub(r"\$\{(\w+)\}", look_up, value)
