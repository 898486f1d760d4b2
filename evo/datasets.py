"""A data set of prompts as `evocliff evaluate` asks it: any file that can be imported, or a folder.

An edge: files are read as `db.importers` reads them. Knows labels and columns; asks nobody anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db import importers
from db.importers.formats import Cells, require_column, word
from db.importers.table import Table, shown
from evo.evaluating import Asked
from evo.files import rows
from evo.types import prompt_id
from fitness.types import Safety
from workers.interface import ConfigError

# What data sets call their prompts, besides what the user says.
_HARMLESS = frozenset({"harmless", "safe", "benign"})
_HARMFUL = frozenset({"harmful", "unsafe", "toxic"})
_FILES = (".parquet", ".jsonl", ".json", ".csv")
# What lies beside the rows of an export.
_ABOUT = ("dataset_info.json",)


@dataclass(frozen=True, slots=True)
class Options:
    """How to read it. `prompt`, `label`, `topic`, `strategy`, `page` name columns; None: what the file shows.
    `assume` is said of every row that has no label."""

    prompt: str | None = None
    label: str | None = None
    topic: str | None = None
    strategy: str | None = None
    page: str | None = None
    harmless: Collection[str] = _HARMLESS
    harmful: Collection[str] = _HARMFUL
    assume: Safety | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """`asked`: each prompt once; `repeated` and `empty`: rows that were left out, and counted. `pages`: of
    each prompt the page on which it is to be done, where the file names one."""

    name: str
    source: str
    asked: tuple[Asked, ...]
    repeated: int
    empty: int
    labels: Mapping[str, int] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)


def read(path: str | Path, options: Options | None = None) -> Dataset:
    """The prompts of a CSV, JSONL, JSON, Parquet or text file, or of the one data set in a folder.

    Raises:
        ConfigError: it cannot be read, has no such column, or holds no prompt.
    """
    options = options or Options()
    place = Path(path)
    files = files_of(place, "DATASET")
    asked: list[Asked] = []
    met: set[str] = set()
    repeated = empty = 0
    labels: dict[str, int] = {}
    pages: dict[str, str] = {}
    source = ""
    for file in files:
        table, plan = _plan(file, options)
        source = plan.source
        for text, label, topic, strategy, page in _rows(table, plan, options, file):
            if not isinstance(text, str) or not text.strip():
                empty += 1
                continue
            identity = prompt_id(text)
            if identity in met:
                repeated += 1
                continue
            met.add(identity)
            safety = _safety(label, options)
            labels[label or "none"] = labels.get(label or "none", 0) + 1
            asked.append(Asked(text, safety, topic, strategy, plan.source, plan.licence))
            if page is not None:
                pages[text] = page
            if len(asked) == options.limit:
                break
        if len(asked) == options.limit:
            break
    if not asked:
        raise ConfigError(f"DATASET: {shown(place)}: holds no prompt")
    return Dataset(place.resolve().stem, source, tuple(asked), repeated, empty, labels, pages)


def _plan(file: Path, options: Options) -> tuple[Table, importers.Plan]:
    said = importers.Options(prompt=options.prompt, label=options.label, category=options.topic)
    if file.suffix != ".txt":
        return importers.check(file, said)
    lines = [(place, {"prompt": line}) for place, line in rows(file, "DATASET")]
    table = Table(("prompt",), lambda wanted: iter(lines))
    return table, importers.plan_of(file, table.columns, said)


def _rows(
    table: Table, plan: importers.Plan, options: Options, file: Path
) -> Iterator[tuple[Any, str | None, str | None, str | None, str | None]]:
    """prompt, label, topic, strategy, page of each row."""
    cells, columns = plan.cells, table.columns
    strategy = _column(options.strategy, "strategy", columns, "--strategy-col", file)
    topic = cells.category or _column(options.topic, "topic", columns, "--topic-col", file)
    page = _column(options.page, "page", columns, "--page-col", file)
    wanted = {*cells.names, *(c for c in (strategy, topic, page) if c is not None)}
    for _, row in table.rows(tuple(wanted)):
        yield (
            plan.format.text(row.get(cells.prompt)),
            _label(row, cells, plan),
            None if topic is None else word(row.get(topic)),
            None if strategy is None else word(row.get(strategy)),
            None if page is None else word(row.get(page)),
        )


def _label(row: Mapping[str, Any], cells: Cells, plan: importers.Plan) -> str | None:
    return plan.format.said(row, cells, plan.origin)


def _column(
    named: str | None, usual: str, columns: Sequence[str], option: str, file: Path
) -> str | None:
    if named is not None:
        require_column(named, columns, option, file)
        return named
    return usual if usual in columns else None


def _safety(label: str | None, options: Options) -> Safety | None:
    if label is None:
        return options.assume
    said = label.casefold()
    if said in {word.casefold() for word in options.harmless}:
        return Safety.HARMLESS
    if said in {word.casefold() for word in options.harmful}:
        return Safety.HARMFUL
    return None


def files_of(place: Path, option: str) -> list[Path]:
    """A file itself; of a folder the files of its one data set, of the first kind that is there: an
    export of ours has the same rows as JSONL and as Parquet.

    Raises:
        ConfigError: there are none, or they are of several data sets.
    """
    if not place.is_dir():
        return [place]
    for ending in _FILES:
        found = sorted(f for f in place.rglob(f"*{ending}") if not f.name.startswith("."))
        found = [f for f in found if f.name not in _ABOUT]
        if not found:
            continue
        if len({f.parent for f in found}) > 1:
            several = ", ".join(sorted({str(f.parent.relative_to(place)) for f in found}))
            raise ConfigError(
                f"{option}: {shown(place)}: holds several data sets ({shown(several)}); name one"
            )
        return found
    raise ConfigError(
        f"{option}: {shown(place)}: no {', '.join(_FILES)} in this folder; name a file or a data set"
    )


def shipped(name: str) -> str | Path:
    """A data set that comes with evocliff, by name (xstest, agent-tasks), else the path as it is."""
    known = {
        "xstest": ("evo.seeds", "xstest_prompts.csv"),
        "agent-tasks": ("evo.surfaces", "tasks.jsonl"),
    }
    if name not in known or Path(name).exists():
        return name
    from importlib.resources import files

    package, file = known[name]
    return Path(str(files(package))) / file
