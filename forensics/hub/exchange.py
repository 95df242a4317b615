"""One request and its redirects, each with a deadline; what is in flight can be broken off from another thread.

Requests go through huggingface_hub's session, so that a user's proxies, certificates and client factory hold here, too.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from forensics.errors import RemoteError
from forensics.hub.explain import host, http_errors, is_certificate, offline, out_of_reach, reason
from forensics.hub.retry import AgainError, Patience, StallMeter

if TYPE_CHECKING:
    import httpx2

REDIRECTS = frozenset({301, 302, 303, 307, 308})

MAX_REDIRECTS = 5
"""The Hub needs two at most: a renamed repository, then its CDN."""

MAX_DRAIN_BYTES = 64 << 10
"""The text of a redirect or an error is read up to here, so that its connection can serve again."""

PIECE_BYTES = 1 << 20
"""The most that is handed on at once."""


class HaltedError(Exception):
    """The fetch was broken off by another thread; never leaves the transport."""


class Flight:
    """What several threads have in flight, so that it can be broken off at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._halted = threading.Event()
        self._breakers: dict[object, Callable[[], object]] = {}

    def halt(self) -> None:
        """Ends every wait and every open answer; what follows raises HaltedError."""
        with self._lock:
            self._halted.set()
            breakers = list(self._breakers.values())
        for breaker in breakers:
            breaker()

    def pause(self, seconds: float) -> None:
        """Waits, unless halted."""
        if self._halted.wait(seconds):
            raise HaltedError

    @contextlib.contextmanager
    def breakable(self, breaker: Callable[[], object]) -> Iterator[None]:
        """Within it, ``halt`` calls ``breaker``."""
        key = object()
        with self._lock:
            if self._halted.is_set():
                raise HaltedError
            self._breakers[key] = breaker
        try:
            yield
        finally:
            with self._lock:
                del self._breakers[key]


class Line:
    """Sends requests to the Hub and along its redirects.

    Attributes:
        endpoint: the Hub's address; the token goes there and nowhere else.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str], patience: Patience) -> None:
        self.endpoint = endpoint
        self._headers = {name.lower(): value for name, value in headers.items()} | {"accept-encoding": "identity"}
        self._patience = patience

    def is_hub(self, url: str) -> bool:
        """Whether an address is the Hub's own, and not a CDN's."""
        return origin(url) == origin(self.endpoint)

    def hops(
        self, method: str, url: str, more: Mapping[str, str], flight: Flight, name: str
    ) -> Generator[tuple[str, httpx2.Response]]:
        """Every answer along the redirects with the address that gave it, the last one's body unread.

        Raises:
            AgainError: no answer this time.
            RemoteError: no answer ever.
        """
        trusted = self.is_hub(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(method, url, {**self._headers, **more}, flight, name, trusted=trusted)
            try:
                yield url, answer
            finally:
                answer.close()
            if answer.status_code not in REDIRECTS:
                return
            target = self._target(url, answer, name)
            trusted = trusted and origin(target) == origin(url)
            url = target
        raise RemoteError(
            f"{name}: more than {MAX_REDIRECTS} redirects, the last to {host(url)}", hint="run again later"
        )

    def _target(self, url: str, answer: httpx2.Response, name: str) -> str:
        """Where a redirect leads."""
        try:
            target = urljoin(url, answer.headers.get("Location", ""))
            scheme, place, _ = origin(target)
        except ValueError:  # a port that is no number, a bracket left open
            scheme = place = ""
        if scheme not in ("http", "https") or not place or "Location" not in answer.headers:
            raise RemoteError(f"{name}: {host(url)} redirects to nowhere", hint="run again later")
        if scheme == "http" and not self.endpoint.startswith("http:"):
            raise RemoteError(
                f"{name}: {host(url)} redirects to an unencrypted address", hint="tell the Hub's maintainers"
            )
        return target

    def _ask(
        self, method: str, url: str, headers: dict[str, str], flight: Flight, name: str, *, trusted: bool
    ) -> httpx2.Response:
        """One answer, its headers there within the deadline."""
        from huggingface_hub import constants, get_session

        if constants.HF_HUB_OFFLINE:
            raise offline(name)
        failures = http_errors()
        try:
            session = get_session()
            waits = (self._patience.connect_s, self._patience.read_s, self._patience.read_s, self._patience.answer_s)
            request = session.build_request(method, url, headers=headers, timeout=waits)
        except failures as error:
            raise out_of_reach(name, host(url), reason(error)) from None
        if not trusted:
            for secret in ("authorization", "cookie"):  # the session's own defaults and its jar, too
                request.headers.pop(secret, None)
        auth = {} if trusted else {"auth": None}
        box: Future[httpx2.Response] = Future()
        sending = (lambda: session.send(request, stream=True, follow_redirects=False, **auth), box)
        threading.Thread(target=_send, args=sending, daemon=True).start()
        try:
            with flight.breakable(box.cancel):
                return self._wait(box)
        except failures as error:
            if is_certificate(error) or type(error).__name__ in HOPELESS:
                raise out_of_reach(name, host(url), reason(error)) from None
            raise AgainError(f"{host(url)}: {reason(error)}") from None
        finally:
            box.cancel()  # an answer that comes later is closed by the thread that gets it

    def _wait(self, box: Future[httpx2.Response]) -> httpx2.Response:
        # The client's own time-outs are for single reads and leave out the lookup of a name: headers
        # that drip, or a resolver that hangs, would hold it for ever.
        try:
            return box.result(self._patience.answer_s)
        except CancelledError:
            raise HaltedError from None
        except TimeoutError:
            if box.cancel():
                raise
            return box.result()

    def pieces(self, url: str, answer: httpx2.Response, flight: Flight) -> Iterator[memoryview]:
        """The body as it comes, at most 1 MiB at once.

        Raises:
            AgainError: it broke off, fell silent or stalled.
        """
        meter = StallMeter(self._patience)
        with flight.breakable(lambda: _hang_up(answer)):
            try:
                for raw in answer.iter_raw():
                    meter.count(len(raw))
                    for start in range(0, len(raw), PIECE_BYTES):
                        yield memoryview(raw)[start : start + PIECE_BYTES]
            except http_errors() as error:
                raise AgainError(f"{host(url)}: {reason(error)}") from None


HOPELESS = frozenset({"InvalidURL", "UnsupportedProtocol", "LocalProtocolError"})
"""Errors of the HTTP client that lie in the request itself."""


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address.

    Raises:
        ValueError: it has none.
    """
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _send(send: Callable[[], httpx2.Response], box: Future[httpx2.Response]) -> None:
    try:
        answer = send()
        length = answer.headers.get("Content-Length", "")
        small = length.isascii() and length.isdigit() and len(length) < 9 and int(length) <= MAX_DRAIN_BYTES
        if answer.request.method == "HEAD" or (answer.status_code not in (200, 206) and small):
            for _ in answer.iter_raw():
                pass
    except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
        with contextlib.suppress(InvalidStateError):
            box.set_exception(error)
        return
    try:
        box.set_result(answer)
    except InvalidStateError:
        answer.close()


def _hang_up(answer: httpx2.Response) -> None:
    """Ends a body that another thread is reading: that thread sees the connection end."""
    stream = answer.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            # the plain socket's method: that of an encrypted one would pull its state from under the reader
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
