"""Lines of a text file in any encoding, read one after the other."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from db.importers.table import LIMIT, shown
from workers.interface import ConfigError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: it begins with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(path: Path, head: bytes, named: str | None) -> str:
    """The encoding of a file that begins with `head`: as named, else by its byte-order mark, else
    UTF-8.

    Raises:
        ConfigError: an unknown encoding; what looks like UTF-16 and has no mark.
    """
    if named is not None:
        try:
            known = codecs.lookup(named).name
            "".encode(known)  # not every codec makes bytes of text
        except (LookupError, ValueError, TypeError):
            raise ConfigError(
                f"--encoding {shown(named)}: unknown; utf-8, utf-16, cp1252 and latin-1 are common"
            ) from None
        return "utf-8-sig" if known == "utf-8" else known
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if head.count(0) > len(head) // 4:
        raise ConfigError(
            f"{shown(path)}: this looks like UTF-16 without a byte-order mark; "
            "name it with --encoding utf-16-le or utf-16-be"
        )
    return "utf-8"


class Lines:
    """The lines of a text file, none longer than the limit, and the number of the last one.

    Args:
        newline: as `open` takes it; it decides what ends a line.
    """

    def __init__(self, path: Path, encoding: str, newline: str) -> None:
        self._shown, self._encoding, self.number = shown(path), encoding, 0
        self.file: IO[str] = path.open(encoding=encoding, newline=newline)

    def __iter__(self) -> Iterator[str]:
        with self.file:
            while line := self.read(self.file.readline, LIMIT + 1):
                self.number += 1
                if len(line) > LIMIT:
                    raise ConfigError(
                        f"{self._shown}:{self.number}: a line of more than {LIMIT >> 20} MB"
                    )
                yield line

    def read(self, some: Callable[[int], str], size: int) -> str:
        """What the file's `read` or `readline` gives for a size.

        Raises:
            ConfigError: the bytes are not of this encoding.
        """
        try:
            return some(size)
        except UnicodeDecodeError as error:
            # Text is decoded ahead of the line that is handed out, so the line is near it only.
            wrong = error.object[error.start : error.start + 1].hex()
            raise ConfigError(
                f"{self._shown}: near line {self.number + 1}: not {self._encoding.removesuffix('-sig')}"
                f" (byte 0x{wrong}); name the file's encoding with --encoding, for example cp1252"
            ) from None
        except UnicodeError as error:  # a byte-order mark that is missing where one was named
            raise ConfigError(f"{self._shown}: near line {self.number + 1}: {error}") from None
