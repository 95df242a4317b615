"""How long is waited for what: time-outs, retries with backoff, and what counts as a stall.

References:
    Full jitter: Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015. Retry-After: RFC 9110, 10.2.3.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from forensics.errors import RemoteError


@dataclass(frozen=True, slots=True)
class Patience:
    """Every time-out, wait and count of the transport; seconds, unless a name says otherwise.

    Attributes:
        connect_s: for a connection to come up (each address of a host).
        read_s: of silence on an open connection.
        attempts: in a row without a new byte before giving up.
        total_attempts: for one range, however much each brought; bounds a line that drops all the time.
        backoff_s: upper bound of the first wait; it doubles with every failure in a row.
        max_backoff_s: where the doubling ends.
        max_retry_after_s: the longest pause that a server may ask for: the Hub counts requests in windows of 5 minutes.
        min_bytes_per_s: a range that is slower on average over ``window_s`` has stalled.
        window_s: long enough for a hiccup on a bad line.
        clock: monotonic seconds.
        now: the time of day, in UTC.
        draw: a random number between two bounds.
    """

    connect_s: float = 10.0
    read_s: float = 20.0
    attempts: int = 6
    total_attempts: int = 50
    backoff_s: float = 0.5
    max_backoff_s: float = 20.0
    max_retry_after_s: float = 300.0
    min_bytes_per_s: float = 1024.0
    window_s: float = 30.0
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    draw: Callable[[float, float], float] = random.uniform

    @property
    def answer_s(self) -> float:
        """For an answer's headers to be there, the connection and names included."""
        return self.connect_s + self.read_s

    def backoff(self, failures: int) -> float:
        """The wait after so many failures in a row: uniform between 0 and a bound that doubles (full jitter)."""
        return self.draw(0.0, min(self.max_backoff_s, self.backoff_s * 2.0 ** (failures - 1)))


class AgainError(Exception):
    """This attempt failed in a way that the next one may mend; never leaves the transport.

    Attributes:
        why: in words.
        wait_s: the pause that the server asked for, or None.
        stalled: the line is up and too slow; what it brought is no progress.
    """

    def __init__(self, why: str, wait_s: float | None = None, *, stalled: bool = False) -> None:
        super().__init__(why)
        self.why, self.wait_s, self.stalled = why, wait_s, stalled


WORTH_A_LINE_S = 2.0
"""A pause longer than this looks like a hang to who waits at the prompt."""


class Pauses:
    """Says that the Hub asks for a long pause: once, though every worker is asked."""

    def __init__(self, patience: Patience, say: Callable[[str], object] | None) -> None:
        self._clock, self._say = patience.clock, say
        self._lock = threading.Lock()
        self._until = float("-inf")

    def begin(self, seconds: float) -> None:
        """A pause begins; those within one that was told of are not told."""
        if self._say is None or seconds <= WORTH_A_LINE_S:
            return
        with self._lock:
            now = self._clock()
            if now < self._until:
                return
            self._until = now + seconds
        self._say(f"the Hub asks for a pause of {seconds:,.0f} s")


class Attempts:
    """Counts the attempts at one range and waits between them."""

    def __init__(
        self, name: str, patience: Patience, pause: Callable[[float], None], pauses: Pauses | None = None
    ) -> None:
        self._name, self._patience, self._pause, self._pauses = name, patience, pause, pauses
        self._in_a_row = self._total = 0

    def failed(self, again: AgainError, *, progress: bool) -> None:
        """Waits for the next attempt.

        Args:
            again: what went wrong.
            progress: whether the attempt brought at least one new byte.

        Raises:
            RemoteError: there have been enough attempts, or the server asks for too long a pause.
        """
        patience = self._patience
        self._total += 1
        self._in_a_row = 1 if progress and not again.stalled else self._in_a_row + 1
        if self._in_a_row >= patience.attempts or self._total >= patience.total_attempts:
            raise RemoteError(
                f"{self._name}: given up after {self._total} attempts, the last: {again.why}",
                hint="check the network and run again",
            )
        wait_s = patience.backoff(self._in_a_row)
        if again.wait_s is not None:
            if again.wait_s > patience.max_retry_after_s:
                until = patience.now() + timedelta(seconds=again.wait_s)
                raise RemoteError(
                    f"{self._name}: {again.why} and asks for a pause of {again.wait_s:,.0f} s",
                    hint=f"run again after {until:%Y-%m-%d %H:%M} UTC; logged in, the limit is higher",
                )
            if self._pauses is not None:
                self._pauses.begin(again.wait_s)
            wait_s += again.wait_s  # the jitter on top, so that the workers do not come back together
        self._pause(wait_s)


LONGEST_PAUSE_S = 366 * 86400.0
"""What a Retry-After is cut to: longer means never, and a date so far off cannot be computed with."""


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that Retry-After (a number or a date) asks for, or the Hub's own rate limit; None if neither does."""
    from huggingface_hub.utils import parse_ratelimit_headers

    text = headers.get("Retry-After", "").strip()
    limit = parse_ratelimit_headers(headers)
    if not text and limit is not None and limit.remaining == 0:
        return min(float(limit.reset_in_seconds), LONGEST_PAUSE_S)
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_PAUSE_S)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), LONGEST_PAUSE_S)


class StallMeter:
    """Watches that a body keeps coming at a rate worth waiting for."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since, self._bytes = patience.clock(), 0

    def count(self, n_bytes: int) -> None:
        """Counts arrived bytes.

        Raises:
            AgainError: on average over the window they came too slowly.
        """
        self._bytes += n_bytes
        elapsed = self._patience.clock() - self._since
        if elapsed < self._patience.window_s:
            return
        if self._bytes < self._patience.min_bytes_per_s * elapsed:
            raise AgainError(f"stalled: {self._bytes:,} bytes in {elapsed:,.0f} s", stalled=True)
        self._since, self._bytes = self._patience.clock(), 0
