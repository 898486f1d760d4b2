"""Datasets from the record, for `datasets`, TRL and LLaMA-Factory. One file a format.

Same store, same options: same bytes. Prompts come from `eligible` alone, and stream: what is held in
memory does not grow with their number.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db.exporters import benchmark as finding
from db.exporters import (
    better,
    card,
    cliff,
    dpo,
    folder,
    kto,
    plan,
    refusal_tokens,
    sft,
    sharegpt,
    test,
)
from db.exporters.behind import Behind
from db.exporters.eligible import Prompts, Selected, select_eligible
from db.exporters.fetching import without_cycles
from db.exporters.files import SplitFiles, Written
from db.exporters.formats import Config, Provenance, Table, arrow, dicts, lines
from db.exporters.plan import Embed, Plan
from db.exporters.tally import Tally
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store

__all__ = ["ALL", "FORMATS", "export", "rows"]

# The configs of each format.
FORMATS: Mapping[str, tuple[Config, ...]] = {
    "test": (test.CONFIG,),
    "sft": (sft.CONFIG,),
    "dpo": (dpo.CONFIG,),
    "better": (better.CONFIG,),
    "kto": (kto.CONFIG,),
    "sharegpt": (sharegpt.SFT, sharegpt.DPO),
    "refusal-tokens": (refusal_tokens.SINGLE, refusal_tokens.CATEGORY),
    "cliff": (cliff.CONFIG,),
}
ALL = "all"


def rows(store: Store, format: str, **options: Any) -> list[dict[str, Any]]:
    """The rows of one format, or of one config by name, best first; may be none. Holds them all.

    Args:
        options: those of `eligible.select_eligible`: run, target, strategy, min_refusal, like, sort,
            limit, seeds.

    Raises:
        ConfigError: as `export`; or a format of several configs.
    """
    by_name = {config.name: config for configs in FORMATS.values() for config in configs}
    config = by_name.get(format)
    if config is None:
        names = ", ".join(each.name for each in _configs(format))
        raise ConfigError(f"format '{format}' is several configs; ask for one of {names}")
    made: list[dict[str, Any]] = []
    with select_eligible(store, **options) as selected:
        for prompts in selected.batches(config.reads):
            made += dicts(config.own(prompts), Provenance(prompts))
    return made


def export(
    store: Store,
    format: str,
    out: str | Path,
    *,
    split: Mapping[str, float] | None = None,
    seed: int = 0,
    against: str | None = None,
    drop_contaminated: bool = False,
    embed: Embed | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write a folder that `datasets.load_dataset(out, config)` reads, with its card.

    Args:
        format: one of `FORMATS`, or "all": each config that has rows.
        out: a folder that does not exist yet.
        split: shares by name of the side; prompts of one lineage and near-duplicates stay on one side.
        seed: of the split.
        against: prompts that the export should not hold: a source in the store, or a file.
        drop_contaminated: leave out what `against` holds, not only name it in the card.
        embed: makes vectors of those prompts of `against` that have none in the store.
        options: as for `rows`.

    Returns:
        format, out, rows (by config), left_out (prompts by config), splits (rows by config and split),
        contaminated (None where nothing was compared), sha256 of the rows.

    Raises:
        ConfigError: `out` exists, or nothing may be exported; the message says what to relax.
        StoreError: the folder cannot be written; nothing is left behind.
    """
    configs = [c for each in FORMATS.values() for c in each] if format == ALL else _configs(format)
    out = Path(out)
    folder.require_new(out)
    with without_cycles(), select_eligible(store, **options) as selected, folder.new(out) as part:
        planned = Plan()
        if split is not None or against is not None:
            benchmark = None if against is None else finding.find(selected.connection, against)
            planned = plan.make(
                selected, split, seed, benchmark, drop=drop_contaminated, embed=embed
            )
        writing = _Writing(part, configs, planned)
        try:
            writing.walk(selected)
            writing.require_some(selected)
            written = writing.close()
        finally:
            writing.abandon()
        content = _content(written)
        digests = {path: digest for w in written for path, digest in w.sha256.items()}
        info = sharegpt.dataset_info({(w.config, w.split): w.jsonl for w in written})
        if info is not None:
            folder.write(part / sharegpt.INFO, info.encode())
            digests[sharegpt.INFO] = hashlib.sha256(info.encode()).hexdigest()
        present = [c for c in configs if any(w.config == c.name for w in written)]
        text = card.card(
            present, written, writing.left_out, writing.tally, selected, planned, digests, content
        )
        folder.write(part / "README.md", text.encode())
    return {
        "format": format,
        "out": str(out),
        "rows": {c.name: sum(w.rows for w in written if w.config == c.name) for c in configs},
        "left_out": writing.left_out,
        "splits": {
            c.name: {w.split: w.rows for w in written if w.config == c.name} for c in present
        },
        "contaminated": None if planned.benchmark is None else len(planned.known),
        "sha256": content,
    }


class _Writing:
    """The files of one export."""

    def __init__(self, part: Path, configs: Sequence[Config], planned: Plan) -> None:
        self._part, self._configs, self._plan = part, configs, planned
        self._files: dict[tuple[str, str], SplitFiles] = {}
        self._behind = Behind()
        self.left_out = {config.name: 0 for config in configs}
        self.tally = Tally()

    def walk(self, selected: Selected) -> None:
        reads = frozenset().union(*(config.reads for config in self._configs))
        place = 0
        for prompts in selected.batches(reads):
            for split, some in self._sides(prompts, place).items():
                self.tally.add(some)
                provenance = Provenance(some)
                for config in self._configs:
                    own = config.own(some)
                    self.left_out[config.name] += len(some) - len(set(own.places))
                    if len(own.places):
                        self._write(config, split, own, provenance)
            place += len(prompts)
        self._behind.finish()

    def _sides(self, prompts: Prompts, place: int) -> dict[str | None, Prompts]:
        """The prompts by name of the side; None where there is no split."""
        if self._plan.side is None:
            return {None: prompts}
        side = self._plan.side[place : place + len(prompts)]
        names: Sequence[str | None] = self._plan.sides or (None,)
        return {
            name: prompts.at(np.flatnonzero(side == number).tolist())
            for number, name in enumerate(names)
        }

    def _write(self, config: Config, split: str | None, own: Table, provenance: Provenance) -> None:
        name = split or config.split
        if (config.name, name) not in self._files:
            jsonl = f"{config.name}.jsonl" if split is None else f"{config.name}-{split}.jsonl"
            self._files[config.name, name] = SplitFiles(
                self._part, config.name, name, config.schema, jsonl
            )
        files = self._files[config.name, name]
        self._behind.do(files.write, arrow(config.schema, own, provenance), lines(own, provenance))

    def require_some(self, selected: Selected) -> None:
        """Raise ConfigError when there is nothing to write, with what to relax."""
        selected.require_some()
        if not self.tally.n:
            raise ConfigError(
                f"nothing to export: all {selected.n} prompts are in {self._plan.benchmark}; leave "
                "--drop-contaminated out"
            )
        if not self._files:
            first = self._configs[0]
            raise ConfigError(
                f"nothing to export: none of the {self.tally.n} prompts has {first.needs}; "
                f"{first.mend}"
            )

    def close(self) -> list[Written]:
        """Everything on disk, in order of config and split."""
        names = self._plan.sides
        order = {name: number for number, name in enumerate(names)}
        keys = sorted(
            self._files,
            key=lambda key: (
                [c.name for c in self._configs].index(key[0]),
                order.get(key[1], 0),
            ),
        )
        return [self._files[key].close() for key in keys]

    def abandon(self) -> None:
        self._behind.stop()
        for files in self._files.values():
            files.abandon()


def _content(written: Sequence[Written]) -> str:
    lines = "".join(f"{w.config} {w.split} {w.content}\n" for w in written)
    return hashlib.sha256(lines.encode()).hexdigest()


def _configs(format: str) -> Sequence[Config]:
    if format not in FORMATS:
        known = [*FORMATS, ALL]
        near = difflib.get_close_matches(format, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"--format {format}: not one of {', '.join(known)}{hint}")
    return FORMATS[format]
