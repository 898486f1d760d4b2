"""What a command that was refused said."""

from __future__ import annotations

from click.testing import Result


def error_line(result: Result) -> str:
    """The one line of an error of exit code 2.

    What objects of earlier tests say when they are collected meanwhile goes to the same stderr, and
    is not the command's.
    """
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    own = [line for line in lines if line.startswith("evocliff: ")]
    assert len(own) == 1, result.stderr
    return own[0]
