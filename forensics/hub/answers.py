"""What an answer must be before a byte of it is believed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forensics.errors import RemoteError
from forensics.hub.exchange import REDIRECTS
from forensics.hub.explain import host
from forensics.hub.retry import AgainError, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    import httpx2

TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

EXPIRED = frozenset({401, 403, 410})
"""From a CDN: the signed address no longer holds, and the Hub gives a new one."""

MAX_WHOLE_BYTES = 10 << 20
"""A server that ignores ranges may send a file of this size whole: the Hub takes larger ones as LFS files alone, which
its CDN serves by ranges."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository at a pinned commit.

    Attributes:
        url: its resolve address at the commit: ENDPOINT/org/name/resolve/COMMIT/PATH.
        name: its path in the repository; begins error messages.
        size: in bytes.
        etag: as the resolve address gives it, without quotes and weakness mark; empty where it was not asked for.
        commit: 40 hex digits.
    """

    url: str
    name: str
    size: int
    etag: str
    commit: str


def changed(name: str, what: str) -> RemoteError:
    """The error for a file that is no longer the one that was asked for."""
    return RemoteError(f"{name}: changed while it was read: {what}", hint="run again")


def etag_of(headers: Mapping[str, str]) -> str | None:
    """An answer's ETag: that of the file itself where the answer only leads to it."""
    raw = headers.get("X-Linked-Etag") or headers.get("ETag")
    return raw.removeprefix("W/").strip('"') if raw else None


def described(url: str, name: str, commit: str, answer: httpx2.Response) -> RemoteFile:
    """The file that an answer to a HEAD request of the Hub describes.

    Raises:
        RemoteError: it speaks of another commit, or does not say all.
    """
    found = answer.headers.get("X-Repo-Commit")
    if found is not None and found != commit:
        raise changed(name, f"commit {found[:12]} instead of {commit[:12]}")
    etag = etag_of(answer.headers)
    own = None if answer.status_code in REDIRECTS else answer.headers.get("Content-Length")
    size = answer.headers.get("X-Linked-Size") or own or ""
    if found is None or not etag or not re.fullmatch(r"[0-9]{1,18}", size):
        raise RemoteError(f"{name}: {host(url)} does not say its commit, size and ETag", hint="is HF_ENDPOINT a Hub?")
    return RemoteFile(url, name, int(size), etag, commit)


def check_resolve(file: RemoteFile, answer: httpx2.Response) -> None:
    """An answer of the Hub itself speaks of the same commit and the same file as the first.

    Raises:
        RemoteError: it does not.
    """
    if answer.status_code not in (*REDIRECTS, 200, 206):
        return
    commit = answer.headers.get("X-Repo-Commit", file.commit)
    if commit != file.commit:
        raise changed(file.name, f"commit {commit[:12]} instead of {file.commit[:12]}")
    # A redirect's plain ETag would be that of its text.
    etag = answer.headers.get("X-Linked-Etag") if answer.status_code in REDIRECTS else etag_of(answer.headers)
    if file.etag and etag is not None and etag_of({"ETag": etag}) != file.etag:
        raise changed(file.name, "it has another ETag")


def check_status(
    name: str, size: int | None, url: str, answer: httpx2.Response, *, is_hub: bool, now: datetime
) -> None:
    """A final answer's status is 200 or 206; for the Hub's own refusals see ``explain``.

    Raises:
        AgainError: it is one that the next attempt may mend.
        RemoteError: it is one that no attempt mends.
    """
    status = answer.status_code
    if status in TRY_AGAIN:
        raise AgainError(f"{host(url)} answered with status {status}", retry_after(answer.headers, now))
    if not is_hub and status in EXPIRED:
        raise AgainError(f"{host(url)} refused the address that the Hub gave (status {status})")
    if status == 416:
        raise changed(name, f"it is shorter than {size or 0:,} bytes")
    if status not in (200, 206):
        raise RemoteError(f"{name}: {host(url)} answered with status {status}", hint="run again later")
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RemoteError(f"{name}: {host(url)} sent it compressed, unasked", hint="a proxy may be in the way")


def check_range(file: RemoteFile, url: str, answer: httpx2.Response, start: int, stop: int) -> None:
    """A 206 holds exactly the bytes asked for, of a file of the right size.

    Raises:
        RemoteError: it says otherwise.
    """
    wanted, got = f"bytes {start}-{stop - 1}/{file.size}", answer.headers.get("Content-Range", "none")
    if got != wanted:
        shown = got if re.fullmatch(r"[\w */-]{1,80}", got) else "another"
        raise RemoteError(
            f"{file.name}: {host(url)} sent another range: expected {wanted}, found {shown}", hint="run again later"
        )
    _check_length(file, url, answer, stop - start)


def check_whole(file: RemoteFile, url: str, answer: httpx2.Response) -> None:
    """A 200 is taken only from a file so small that it does not matter.

    Raises:
        RemoteError: it is larger, or of another length.
    """
    if file.size > MAX_WHOLE_BYTES:
        raise RemoteError(
            f"{file.name}: {host(url)} ignores ranges and would send the whole file ({file.size:,} bytes)",
            hint="a proxy may be in the way; else download the file and scan it from disk",
        )
    _check_length(file, url, answer, file.size)


def _check_length(file: RemoteFile, url: str, answer: httpx2.Response, n_bytes: int) -> None:
    length = answer.headers.get("Content-Length")
    if length is not None and length != str(n_bytes):
        shown = length if re.fullmatch(r"\d{1,20}", length) else "something else"
        raise RemoteError(
            f"{file.name}: {host(url)} sent a body of another length: expected {n_bytes}, found {shown}",
            hint="run again later",
        )


def measured(file: RemoteFile, url: str, body: Iterable[memoryview], start: int, stop: int) -> Iterator[memoryview]:
    """The body's pieces, as long as they are within the range.

    Raises:
        AgainError: the body ends early.
        RemoteError: it goes on beyond the range.
    """
    at = start
    for piece in body:
        at += len(piece)
        if at > stop:
            raise RemoteError(
                f"{file.name}: {host(url)} sent more than the {stop - start:,} bytes asked for", hint="run again later"
            )
        yield piece
    if at < stop:
        raise AgainError(f"{host(url)} ended the body {stop - at:,} bytes early")
