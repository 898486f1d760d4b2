"""`make circle`: from a search to a model that refuses less and stays as safe, and the table that shows it.

    python examples/circle.py [FOLDER] [--quick]

Search, repair (answers of the base model, an adapter beside harmful requests whose refusal must stay),
measure before and after. Everything goes into FOLDER (default: out/circle). `--quick` is for a test: too
little of everything to repair anything.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
TARGET, WRITER = "local:smollm2-overcautious", "local:smollm2"
SEARCH = (
    "budget.evaluations=500",
    "budget.wall_clock=330",
    "search.samples.max=4",
    "target.sampling.max_tokens=24",
    # Rewrites of every seed, not of the surest: a repair wants finds of many subjects.
    "search.algorithm=random",
    "search.recombination=0",  # families stay small, so that a part of the finds can be held out
)
RECIPE = ("--epochs", "2", "--limit", "125", "--contrast-share", "3", "--keep-share", "0.62")
QUICK = ("budget.evaluations=40", "seeds.limit=24", "search.samples.max=2")
QUICK_RECIPE = ("--epochs", "0.2", "--limit", "12", "--contrast-share", "1", "--measure", "6")


def evocliff(*arguments: str, may_fail: bool = False) -> None:
    """Run a command as a user would, and show it."""
    print(f"\n$ evocliff {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "evo.cli", *arguments], check=False)
    if done.returncode and not (may_fail and done.returncode == 1):
        raise SystemExit(done.returncode)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/circle"))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    folder: Path = given.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    db = ("--db", f"sqlite:///{folder}/circle.db")
    changes = [word for change in (QUICK if given.quick else SEARCH) for word in ("--set", change)]
    evocliff("search", str(HERE / "quickstart.yaml"), "--name", "circle", *changes, *db)
    evocliff("query", "--run", "circle", "--min-refusal", "0.5", "--limit", "10", *db)
    evocliff(
        *("mitigate", "--run", "circle", "--target", TARGET, "--writer", WRITER),
        *(
            "--out",
            f"{folder}/repaired",
            *(QUICK_RECIPE if given.quick else RECIPE),
            *db,
        ),
        may_fail=True,  # a model that is not better is a result too
    )
    print(
        f"\nThe database is {folder}/circle.db, the adapter {folder}/repaired. Rows of the table:\n"
        f"  evocliff query --run repaired-before --db {db[1]}\n"
        f"  evocliff query --run repaired-after --db {db[1]}"
    )


if __name__ == "__main__":
    main()
