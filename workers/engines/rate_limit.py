"""A rate limit for each endpoint, shared by everything in this process that asks it.

Requests go out evenly spaced, by their number and by their tokens. It computes how long to wait from
a time that is passed in; it does not sleep and reads no clock.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class RateLimit:
    """Safe to use from several threads. None: no limit of that kind."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    _request_at: float = 0.0  # when the next request may go
    _token_at: float = 0.0  # when the tokens granted so far have been paid off
    _held_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def wait_s(self, now: float, tokens: int) -> float:
        """Take the next place in the queue; seconds until this request may be sent.

        Args:
            now: seconds, of the clock that all callers share.
            tokens: most tokens that it may use, prompt and answers together.
        """
        with self._lock:
            at = max(now, self._held_until)
            if self.requests_per_minute is not None:
                at = max(at, self._request_at)
            if self.tokens_per_minute is not None:
                at = max(at, self._token_at)
                self._token_at = at + tokens * 60.0 / self.tokens_per_minute
            if self.requests_per_minute is not None:
                self._request_at = at + 60.0 / self.requests_per_minute
            return at - now

    def settle(self, reserved: int, used: int) -> None:
        """Give back the tokens that were reserved and not used (or take what was used on top)."""
        if self.tokens_per_minute is not None:
            with self._lock:
                self._token_at -= (reserved - used) * 60.0 / self.tokens_per_minute

    def hold(self, until: float) -> None:
        """Let nobody send before `until`: the endpoint has asked us to wait."""
        with self._lock:
            self._held_until = max(self._held_until, until)

    def tighten(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """Keep the lower of two limits: two parts of a run may name one endpoint differently."""
        with self._lock:
            self.requests_per_minute = _lower(self.requests_per_minute, requests_per_minute)
            self.tokens_per_minute = _lower(self.tokens_per_minute, tokens_per_minute)


def _lower(one: float | None, other: float | None) -> float | None:
    given = [limit for limit in (one, other) if limit is not None]
    return min(given) if given else None


_SHARED: dict[str, RateLimit] = {}
_SHARED_LOCK = threading.Lock()


def shared(
    endpoint: str, requests_per_minute: float | None, tokens_per_minute: float | None
) -> RateLimit:
    """The one limit of `endpoint` in this process, as low as anybody has asked for."""
    with _SHARED_LOCK:
        limit = _SHARED.setdefault(endpoint, RateLimit())
    limit.tighten(requests_per_minute, tokens_per_minute)
    return limit
