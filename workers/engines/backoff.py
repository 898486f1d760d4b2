"""When a request that came to nothing may be tried again: pure functions of what went wrong, how often,
and how long ago it began. Knows seconds; knows nothing of HTTP libraries, and sleeps nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from workers.interface import FailureKind

# Most tries of one request, by how likely the next one is to end better.
ONCE = 1
FEW_TRIES = 3
SOME_TRIES = 6
MANY_TRIES = 12


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why one try of a request came to nothing.

    tries          most tries altogether of a request that ends so; None: as long as patience lasts,
                   since nobody answers
    retry_after_s  what the endpoint asked to wait, seconds
    fatal          the endpoint can answer nobody: a wrong key, no such model, no money left
    status         of the HTTP answer; None where there was none
    parameter      the request's parameter that the endpoint blames, if it names one
    """

    kind: FailureKind
    message: str
    tries: int | None = ONCE
    retry_after_s: float | None = None
    fatal: bool = False
    status: int | None = None
    parameter: str | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with the upper half of each delay left to chance so that callers spread out.

    first_s     the longest delay after the first failed try
    most_s      no delay of our own choice is longer
    patience_s  an endpoint that nobody reaches for so long is given up, and so is one that asks for
                a longer wait
    most_tries  of one request that is answered, whatever the trouble
    """

    first_s: float = 0.5
    most_s: float = 10.0
    patience_s: float = 90.0
    most_tries: int = MANY_TRIES

    def delay_s(
        self, trouble: Trouble, failed: int, elapsed_s: float, chance: float
    ) -> float | None:
        """Seconds to wait before the next try; None: there is none.

        Args:
            failed: tries of this request that came to nothing, this one included.
            elapsed_s: since its first try began.
            chance: uniform in [0, 1).

        >>> cut = Trouble(FailureKind.ENGINE, "cut", tries=None)
        >>> [Backoff().delay_s(cut, failed, 0.0, 0.0) for failed in (1, 2, 3, 9)]
        [0.25, 0.5, 1.0, 5.0]
        >>> Backoff().delay_s(cut, 3, 90.0, 0.0)
        """
        if trouble.tries is None:
            ended = elapsed_s >= self.patience_s
        else:
            ended = failed >= min(trouble.tries, self.most_tries)
        if ended or trouble.fatal:
            return None
        longest = min(self.most_s, self.first_s * 2.0 ** min(failed - 1, 60))
        delay = longest / 2 * (1 + chance)
        if trouble.retry_after_s is None:
            return delay
        if trouble.retry_after_s > self.patience_s:
            return None
        # A little later than asked, or everybody who was told the same comes back at once.
        return max(delay, trouble.retry_after_s + self.first_s * chance)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """What `Retry-After` asks for, seconds from `now`: a number of seconds or an HTTP date, or the
    milliseconds of `Retry-After-Ms`. None where it is absent or unreadable; a date gone by is 0.

    >>> retry_after_s({"retry-after": "7"}, datetime(2026, 1, 1, tzinfo=UTC))
    7.0
    >>> retry_after_s({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, datetime(2026, 1, 1, tzinfo=UTC))
    30.0
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            asked = float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if 0 <= asked < float("inf"):
            return asked
    try:
        when = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())
