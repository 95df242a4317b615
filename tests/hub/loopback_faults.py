"""What can go wrong on the wire, and how the loopback Hub sends a body that has gone wrong."""

from __future__ import annotations

import gzip
import socket
import struct
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from threading import Event

KINDS = frozenset({
    "reset",          # RST after `after` bytes of the body
    "drop",           # the connection ends after `after` bytes of the body; its length was announced in full
    "short",          # `after` bytes of the body, and a Content-Length that says so
    "long",           # `after` bytes too many, and a Content-Length that says so
    "long-lie",       # `after` bytes too many behind an announced length that is right
    "long-chunked",   # `after` bytes too many, and no Content-Length
    "short-chunked",  # only `after` bytes, properly ended, and no Content-Length
    "chunked",        # the right body without a Content-Length
    "flip",           # the byte at `after` of the body flipped
    "gzip",           # the body compressed
    "ignore-range",   # status 200 and the whole file
    "content-range",  # `value` as the Content-Range
    "etag",           # `value` as the ETag (and the X-Linked-Etag)
    "commit",         # `value` as the X-Repo-Commit
    "no-header",      # without the header `value`
    "status",         # the status code `after`, with `headers`
    "redirect",       # 302 to `value`
    "loop",           # 302 to itself
    "drip",           # `after` bytes of the body every `wait_s`
    "drip-headers",   # one byte of the headers every `wait_s`
    "hang",           # accepted, never answered
    "move",           # main points to the commit `value` before this answer
})  # fmt: skip


@dataclass
class Fault:
    """One thing that goes wrong, for the requests that it matches.

    Attributes:
        kind: what goes wrong, of ``KINDS``.
        path: pattern of the file's path in the repository, or of the address's path where it is no file.
        at: ``hub``, ``cdn`` or ``any``.
        method: the HTTP method, or ``any``.
        skip: matching requests that still go well, first.
        times: matching requests that go wrong, then; None: all.
        after: a number of bytes, or the status code.
        value: a header's value or an address.
        headers: more headers of a ``status`` answer.
        wait_s: seconds between two drips.
    """

    kind: str
    path: str = "*"
    at: str = "any"
    method: str = "GET"
    skip: int = 0
    times: int | None = 1
    after: int = 0
    value: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.05

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}")

    def strikes(self, method: str, path: str, at: str) -> bool:
        """Whether this request goes wrong; counts it. Called under the server's lock."""
        if self.method not in (method, "any") or self.at not in (at, "any") or not fnmatchcase(path, self.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            if not self.times:
                return False
            self.times -= 1
        return True


def reset(connection: socket.socket) -> None:
    """Ends a connection with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(connection: socket.socket, data: bytes, step: int, wait_s: float, stopping: Event) -> Iterator[int]:
    """Sends `step` bytes at a time until all is sent or the server stops; yields where each step begins."""
    for start in range(0, len(data), step):
        if stopping.wait(wait_s):
            return
        yield start
        connection.sendall(data[start : start + step])


def break_body(fault: Fault, body: bytes, headers: dict[str, str]) -> bytes:
    """The body as the fault leaves it, with the Content-Length that goes with it."""
    n, extra = fault.after, b"x" * fault.after
    match fault.kind:
        case "reset" | "drop":
            return body[:n]
        case "short":
            headers["Content-Length"] = str(n)
            return body[:n]
        case "long":
            headers["Content-Length"] = str(len(body) + n)
            return body + extra
        case "long-lie":
            return body + extra
        case "chunked" | "long-chunked" | "short-chunked":
            del headers["Content-Length"]
            headers["Transfer-Encoding"] = "chunked"
            sent = {"chunked": body, "long-chunked": body + extra, "short-chunked": body[:n]}[fault.kind]
            return (b"%x\r\n%s\r\n" % (len(sent), sent) if sent else b"") + b"0\r\n\r\n"
        case "flip":
            return body[:n] + bytes([body[n] ^ 1]) + body[n + 1 :]
        case "gzip":
            body = gzip.compress(body)
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
    return body


def break_headers(fault: Fault, headers: dict[str, str]) -> None:
    """Changes the headers that the fault is about."""
    changes = {"content-range": ["Content-Range"], "etag": ["ETag", "X-Linked-Etag"], "commit": ["X-Repo-Commit"]}
    for name in changes.get(fault.kind, []):
        if name in headers:
            headers[name] = fault.value
    if fault.kind == "no-header":
        headers.pop(fault.value, None)
