"""`make demo`: search a real model, look at what was found, export it. Some five minutes on two cores.

    python examples/demo.py [FOLDER]

Everything goes into FOLDER (default: out/demo): the database, and the exported dataset.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def evocliff(*arguments: str) -> None:
    """Run a command as a user would, and show it."""
    print(f"\n$ evocliff {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "evo.cli", *arguments]
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    db = f"sqlite:///{folder}/demo.db"
    evocliff("search", str(HERE / "quickstart.yaml"), "--db", db)
    evocliff("show", "quickstart", "--db", db)
    evocliff("query", "--run", "quickstart", "--min-refusal", "0.5", "--limit", "10", "--db", db)
    evocliff(
        "export",
        "--format",
        "test",
        "--run",
        "quickstart",
        "--out",
        f"{folder}/dataset",
        "--db",
        db,
    )
    print(f"\nThe database is {folder}/demo.db, the dataset {folder}/dataset.")


if __name__ == "__main__":
    main()
