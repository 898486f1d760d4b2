"""Which prompts a file had already: on disk where they are many, so that memory stays bounded."""

from __future__ import annotations

import sqlite3
from types import TracebackType

from workers.interface import StoreError

_CACHE_KIB = 32 * 1024


class Seen:
    """A set of prompt ids in a database of its own, which nobody else sees and which ends with it."""

    def __enter__(self) -> Seen:
        self._connection = sqlite3.connect("", isolation_level=None)  # a temporary file of SQLite's
        for statement in (
            "PRAGMA journal_mode = OFF",
            f"PRAGMA cache_size = -{_CACHE_KIB}",
            "CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID",
            "BEGIN",
        ):
            self._connection.execute(statement)
        self._execute = self._connection.cursor().execute
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._connection.close()

    def add(self, prompt_id: str) -> bool:
        """Whether it is new.

        Raises:
            StoreError: there is no room for it.
        """
        key = bytes.fromhex(prompt_id)
        try:
            return self._execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1
        except sqlite3.Error as error:
            raise StoreError(
                f"a temporary file of this import cannot be written ({error}); free some space, or "
                "name a folder that has some in SQLITE_TMPDIR"
            ) from None
