"""Seeds: the prompts that a search starts from, out of a named dataset, a user's file, or a store."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from evo import files
from evo.config import SeedsConfig
from evo.seeding import generator
from evo.types import Seed, prompt_id
from workers.interface import ConfigError

# The seeds that were imported into a store from a source.
Imported = Callable[[str], Sequence[Seed]]


def load(config: SeedsConfig, run_seed: int, imported: Imported | None = None) -> list[Seed]:
    """The seeds that the config names, each prompt once; with a limit, a random share of them.

    Args:
        imported: asked for `seeds.store`, and needed only for it; raises ConfigError where there is no
            such source.

    Raises:
        ConfigError: no such dataset, file or column; a seed that is not text; nothing in it.
    """
    seeds: Sequence[Seed]
    if config.store is not None:
        if imported is None:
            raise ValueError("seeds.store: a caller without a store cannot load them")
        seeds = imported(config.store)
    elif config.dataset is not None:
        seeds = _named(config.dataset)
    else:
        seeds = list(_from_file(Path(str(config.path)), config.column))
    first_of: dict[str, Seed] = {}
    for seed in seeds:
        first_of.setdefault(prompt_id(seed.text), seed)
    unique = list(first_of.values())
    if not unique:
        raise ConfigError(
            f"seeds: '{config.dataset or config.path or config.store}' holds no prompt"
        )
    if config.limit is not None and config.limit < len(unique):
        drawn = generator(run_seed, "seeds").permutation(len(unique))[: config.limit]
        unique = [unique[i] for i in sorted(drawn)]
    return unique


def _xstest_safe() -> list[Seed]:
    text = (resources.files("evo.seeds") / "xstest_prompts.csv").read_text(encoding="utf-8")
    return [
        Seed(row["prompt"], "xstest-safe", "CC-BY-4.0", row["type"])
        for row in csv.DictReader(text.splitlines())
        if row["label"] == "safe"
    ]


DATASETS = {"xstest-safe": _xstest_safe}


def _named(name: str) -> list[Seed]:
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"seeds.dataset: '{name}' is not one of {', '.join(DATASETS)}{hint}")
    return DATASETS[name]()


def _from_file(path: Path, column: str) -> Iterator[Seed]:
    for place, row in files.rows(path, "seeds.path"):
        yield _seed(row, column, place, path.name)


def _seed(row: Any, column: str, place: str, source: str) -> Seed:
    if isinstance(row, str):
        return Seed(row, source)
    value = files.column(row, column, "seeds.column", place)
    if not isinstance(value, str):
        raise ConfigError(f"seeds.path: {place}: '{column}' is not text but {type(value).__name__}")
    if not _is_unicode(value):
        raise ConfigError(f"seeds.path: {place}: '{column}' holds half of a surrogate pair")
    if not value.strip():
        raise ConfigError(f"seeds.path: {place}: '{column}' is empty")
    topic, licence = row.get("topic") or row.get("type"), row.get("licence") or row.get("license")
    return Seed(
        value,
        str(row.get("source") or source),
        str(licence) if licence else None,
        str(topic) if topic else None,
    )


def _is_unicode(text: str) -> bool:
    """False for lone surrogates, which JSON can escape and nothing can encode."""
    return not any("\ud800" <= c <= "\udfff" for c in text)
