"""The record: models, migrations, the store, queries and exports.

`db.open(url)` gives a `Store`. SQLAlchemy is imported then, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.store import Store


def open(url: str, *, read_only: bool = False) -> Store:
    """Open a database, making or migrating it when it may be written.

    Args:
        url: for example sqlite:///evocliff.db (a file in the working folder).
        read_only: never writes; an older schema is then an error that says `evocliff db upgrade`.

    Raises:
        StoreError: one line that names the database and the mend.
    """
    from db.store import Store

    return Store(url, read_only=read_only)
