"""The error tree: few classes, raised where the cause is known, shown in one place (the command line).

An exception stops the work. A request that failed while its neighbours went on is not an
exception but a `workers.interface.Failure`, which is data. This module knows the standard library only.
"""

from __future__ import annotations


class EvocliffError(Exception):
    """Base of all errors of evocliff. The message names the thing, the place and the mend.

    `exit_code` is what the command line ends with: 1 the work failed, 2 the input was bad.
    """

    exit_code = 1


class ConfigError(EvocliffError):
    """The input (config, file, option) is wrong; nothing was started."""

    exit_code = 2


class EndpointAway(ConfigError):
    """Nobody at an endpoint can answer an engine that starts. At the first start the config is to
    blame; an engine that comes back may try again for `patience_s` seconds."""

    def __init__(self, message: str, patience_s: float) -> None:
        super().__init__(message)
        self.patience_s = patience_s

    def __reduce__(self) -> tuple[type[EndpointAway], tuple[str, float]]:
        return EndpointAway, (str(self), self.patience_s)  # it crosses processes


class StoreError(EvocliffError):
    """The database cannot be used as asked: locked, read-only, newer, damaged, full, or not ours."""

    exit_code = 2


class TargetError(EvocliffError):
    """A model could not be loaded or its engine cannot go on."""


class EngineDied(TargetError):
    """The engine can answer nothing any more; its process has to be replaced."""
