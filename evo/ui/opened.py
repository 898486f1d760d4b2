"""The database as the pages read it: it stays open as long as its file is the same one.

With a store go the statements that it has compiled, and compiling them anew for every page costs more than
most pages do.
"""

from __future__ import annotations

import threading

import db
from db.connection import file_of
from db.store import Store


class Opened:
    """Safe to ask from several threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._file: object = None

    def store(self) -> Store:
        """The store, for reading; opened anew where another file has come in place of the one it read.

        Raises:
            StoreError: as `db.open`.
        """
        with self._lock:
            file = file_of(self._url)
            if self._store is None or file != self._file:
                self._close()
                self._store, self._file = db.open(self._url, read_only=True), file
            return self._store

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        # Pages under way keep their connections until they are done.
        if self._store is not None:
            self._store.close()
        self._store = None
