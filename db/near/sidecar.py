"""The signs of a SQLite file's vectors, kept in a file beside it.

    evocliff.db  ->  evocliff.db-near-1f0c9a2e    one for each embedder

It saves reading every vector (1.5 GB for a million) at each question. It only ever names candidates:
their cosines come from the database. So it may be deleted at any time, and it may lag behind.

Layout: 4096 bytes of JSON, then the row ids (int64, n), then the signs (uint64, words x n). It is
mapped into memory, not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from db.near.signs import Codes, n_words

_FORMAT = 1
_HEAD = 4096
_MARKS = 16

Rowids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Signs of the vectors of one embedder in the rows up to `upto`."""

    embedder: str
    dim: int
    upto: int  # every row of this and lower ids was looked at
    rowids: Rowids  # (n,), ascending
    codes: Codes  # (words, n)

    @classmethod
    def empty(cls, embedder: str, dim: int) -> Sidecar:
        none = np.empty((n_words(dim), 0), dtype=np.uint64)
        return cls(embedder, dim, 0, np.empty(0, dtype=np.int64), none)

    def extended(self, upto: int, rowids: Rowids, codes: Codes) -> Sidecar:
        return Sidecar(
            self.embedder,
            self.dim,
            upto,
            np.concatenate([self.rowids, rowids]),
            np.concatenate([self.codes, codes], axis=1),
        )


def place(database: Path, embedder: str) -> Path:
    """Where the signs of this embedder lie."""
    named = hashlib.sha256(embedder.encode()).hexdigest()[:8]
    return Path(f"{database}-near-{named}")


def all_of(database: Path) -> list[Path]:
    """Every such file of a database."""
    return sorted(database.parent.glob(f"{database.name}-near-????????"))


def load(path: Path, embedder: str, dim: int) -> tuple[Sidecar, dict[int, str]] | None:
    """What `save` wrote, and the marks that it was given; None when there is nothing of use."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), path.open("rb") as file:
        head = json.loads(file.read(_HEAD))
        n, words = int(head["n"]), n_words(dim)
        if (head["format"], head["embedder"], head["dim"]) != (_FORMAT, embedder, dim):
            return None
        if path.stat().st_size != _HEAD + n * 8 * (1 + words):
            return None
        # An open mapping keeps the file that it maps, whoever replaces it meanwhile.
        rowids = np.memmap(file, "<i8", "r", _HEAD, (n,))
        codes = np.memmap(file, "<u8", "r", _HEAD + n * 8, (words, n))
        marks = {int(rowid): str(prompt) for rowid, prompt in head["marks"]}
        return Sidecar(embedder, dim, int(head["upto"]), rowids, codes), marks
    return None


def save(path: Path, sidecar: Sidecar, marks: dict[int, str]) -> None:
    """Write it whole, or leave what was there. Where nothing can be written nothing is."""
    head = {
        "format": _FORMAT,
        "embedder": sidecar.embedder,
        "dim": sidecar.dim,
        "n": len(sidecar.rowids),
        "upto": sidecar.upto,
        "marks": list(marks.items()),
    }
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            file.write(json.dumps(head).encode().ljust(_HEAD))
            file.write(np.ascontiguousarray(sidecar.rowids).data)
            file.write(np.ascontiguousarray(sidecar.codes).data)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()


def marked(rowids: Rowids) -> list[int]:
    """A few row ids, evenly spread: if these still hold the same prompts, the rest does too."""
    spread = np.linspace(0, len(rowids) - 1, num=min(_MARKS, len(rowids))).astype(int)
    return [int(rowid) for rowid in dict.fromkeys(rowids[spread].tolist())]
