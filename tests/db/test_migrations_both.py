"""On both databases the migrations make what the models say."""

from __future__ import annotations

from db.store import Store
from tests.db.test_migrations import differences


def test_the_migrations_make_what_the_models_say_on_both_databases(store: Store) -> None:
    assert differences(store) == []
