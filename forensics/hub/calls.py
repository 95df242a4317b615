"""Calls of huggingface_hub, made again after trouble on the line; what remains becomes one clear error.

Its own calls fail on the first dropped connection or 503, and wait for as long as a server drips.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from forensics.errors import ForensicsError, RemoteError
from forensics.hub.explain import chain, explain, is_certificate, reason
from forensics.hub.retry import AgainError, Attempts, Patience, Pauses, retry_after

T = TypeVar("T")

LONGEST = 3
"""Waits for an answer's headers that the whole answer may take: a listing has some 300 bytes a file."""


def again(
    call: Callable[[], T],
    name: str,
    revision: str | None,
    *,
    patience: Patience,
    endpoint: str,
    say: Callable[[str], object] | None = None,
) -> T:
    """What a call gives, in the end.

    Args:
        call: calls huggingface_hub.
        name: what for; begins error messages.
        revision: what was asked for, where it was named.
        patience: time-outs and retries.
        endpoint: the Hub's address.
        say: is told of long pauses.

    Raises:
        RemoteError: it gives nothing, or not in time.
    """
    attempts = Attempts(name, patience, time.sleep, Pauses(patience, say))
    while True:
        try:
            return _within(LONGEST * patience.answer_s, call, name)
        except ForensicsError:
            raise
        except _trouble() as error:
            wait = _worth_another(error, patience)
            if wait is None:
                raise explain(error, name, revision, endpoint=endpoint) from None
            attempts.failed(wait, progress=False)


def _within(seconds: float, call: Callable[[], T], name: str) -> T:
    """What a call gives, if it gives it in time: the client's own time-outs are for single reads.

    Raises:
        RemoteError: it does not. The thread that makes it is left behind, and ends with the process.
    """
    box: Future[T] = Future()

    def run() -> None:
        try:
            box.set_result(call())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            box.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return box.result(seconds)
    except TimeoutError:
        if box.done():
            raise  # the call's own
        what = f"{name}: not here after {seconds:,.0f} s"
        raise RemoteError(what, hint="check the network and run again") from None


def _trouble() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises for trouble on the line or with the answer."""
    from huggingface_hub import errors

    return errors.HTTPError, errors.OfflineModeIsEnabled, ConnectionError, TimeoutError


def _worth_another(error: BaseException, patience: Patience) -> AgainError | None:
    """Why and how long to wait before another attempt; None where none will mend it."""
    from huggingface_hub import errors

    for cause in chain(error):
        if isinstance(cause, errors.OfflineModeIsEnabled) or is_certificate(cause):
            return None
        response = getattr(cause, "response", None)
        if response is not None:
            status = response.status_code
            if status not in (408, 429) and status < 500:
                return None
            return AgainError(f"status {status}", retry_after(response.headers, patience.now()))
    return AgainError(reason(error))
