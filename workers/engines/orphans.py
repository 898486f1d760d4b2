"""No process of an engine outlives the one that started it, however that one ends.

An engine that works in processes of its own leaves them behind when its parent is killed: they wait
for ever and hold the memory of their device. So a guard process holds the read end of a pipe; when
the pipe closes, because the engine was closed or because its process is gone, the guard kills every
process that carries the engine's mark in its environment, and ends. Linux only, standard library
only: it runs as a script.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "EVOCLIFF_ENGINE_MARK"
_PROC = Path("/proc")
_LAST_LOOKS = 5  # a process that was about to start another is looked for again
_END_S = 10.0


class Guard:
    """Watches over what is started while `environment` is set. Call `close` after an orderly end."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(8)
        # Isolated: in a script, the folder of this file would come first among the modules.
        self._process = subprocess.Popen(  # noqa: S603 - this file and a number of our own
            [sys.executable, "-I", __file__, self._mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for others
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the engine's processes have to inherit."""
        return {MARK: self._mark}

    @property
    def pids(self) -> list[int]:
        """The engine's processes that live."""
        return marked(self._mark)

    def close(self) -> None:
        """Kill what is left, and wait for that."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(
            OSError
        ):  # the guard was killed; so what is left is looked for here
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        kill_marked(self._mark)


def marked(mark: str) -> list[int]:
    """Process ids, but for this process's, that carry the mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:  # gone meanwhile, or somebody else's
                continue
            if wanted in environment.split(b"\0"):
                found.append(int(folder.name))
    return found


def kill_marked(mark: str) -> None:
    """Kill all that carry the mark, and what they start meanwhile."""
    for _ in range(_LAST_LOOKS):
        pids = marked(mark)
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def main() -> None:
    sys.stdin.buffer.read()  # until the other end is closed
    kill_marked(sys.argv[1])


if __name__ == "__main__":
    main()
