"""Do the migrations make what the models say? `python -m db.migrations.check`, a step of `make lint`.

Upgrades an empty SQLite database and lets Alembic compare; ends with 1 and the differences if any.
"""

from __future__ import annotations

import sys
import tempfile

from alembic import command
from alembic.util import CommandError
from sqlalchemy import create_engine

from db.migrations import alembic_config


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/check.db")
        with engine.begin() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            try:
                command.check(config)
            except CommandError as error:
                print(error, file=sys.stderr)
                return 1
        engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
