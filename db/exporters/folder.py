"""A folder that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workers.interface import ConfigError, StoreError


def require_new(out: Path) -> None:
    """Raise ConfigError when something of that name is there already."""
    if os.path.lexists(out):
        raise ConfigError(f"--out {out}: exists already; name a new folder, or remove this one")


@contextlib.contextmanager
def new(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` when the block ends without an error.

    Raises:
        ConfigError: `out` exists.
        StoreError: it cannot be written, or a write inside the block failed; nothing is left behind.
    """
    require_new(out)
    above = _missing_above(out)
    part: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", suffix=".part", dir=out.parent))
        part.chmod(0o777 & ~_umask())  # mkdtemp makes it for its owner alone
        yield part
        require_new(out)
        part.rename(out)
    except BaseException as error:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
        for folder in above:
            _remove_if_empty(folder)
        if isinstance(error, OSError):
            raise StoreError(
                f"--out {out}: cannot be written: {error.strerror or error}; nothing was left there"
            ) from error
        raise


def write(path: Path, content: bytes) -> None:
    """One file, on disk when the call returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _missing_above(out: Path) -> list[Path]:
    """Folders above `out` that have to be made, innermost first."""
    return [folder for folder in out.parents if not folder.exists()]


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # somebody else uses it


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
