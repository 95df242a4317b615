"""What is wrong, in one line: answers and exceptions of the Hub's client become a RemoteError.

No text of a server or of an exception is passed on: it may hold a signed address or a token.
"""

from __future__ import annotations

import socket
import ssl
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from forensics.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    Problem = httpx2.Response | BaseException

LOG_IN = "run `hf auth login` or set HF_TOKEN"
CHECK_NETWORK = "check the network"
"""Begins the hint of every error of a line that does not come up or does not hold."""
OTHER_NETWORK = f"{CHECK_NETWORK} and its settings (HF_ENDPOINT, HTTPS_PROXY), then run again"


def explain(
    problem: Problem,
    repo: str,
    revision: str | None = None,
    *,
    file: str | None = None,
    endpoint: str | None = None,
) -> RemoteError:
    """The one clear error for an answer of the Hub or for an exception of huggingface_hub or its HTTP client.

    Args:
        problem: a response with an error status, or the exception that was caught.
        repo: ``org/name``; begins the message.
        revision: what was asked for, where it was named.
        file: the path in the repository that was asked for, where it was one.
        endpoint: the Hub's address; None takes huggingface_hub's.

    Returns:
        An error to be raised ``from None``: its cause may hold a token.
    """
    from huggingface_hub import constants, errors

    endpoint = endpoint or constants.ENDPOINT
    if isinstance(problem, RemoteError):
        return problem
    if not isinstance(problem, BaseException):
        return _explain_answer(problem, repo, revision, file, endpoint)
    # LocalEntryNotFoundError and its like are about the cache; the trouble on the line is what they come from
    causes = list(chain(problem))
    for error in causes:
        if isinstance(error, errors.HfHubHTTPError):
            return _explain_answer(error.response, repo, revision, file, endpoint, error)
    if any(isinstance(e, errors.LocalTokenNotFoundError) for e in causes):
        return RemoteError(f"{repo}: you are not logged in", hint=LOG_IN)
    if constants.HF_HUB_OFFLINE or any(isinstance(e, errors.OfflineModeIsEnabled) for e in causes):
        return offline(repo)
    return out_of_reach(repo, host(endpoint), reason(problem))


def _explain_answer(
    answer: httpx2.Response,
    repo: str,
    revision: str | None,
    file: str | None,
    endpoint: str,
    error: BaseException | None = None,
) -> RemoteError:
    """The error for an answer's status and X-Error-Code, or for the class that the client gave it."""
    status, text = answer.status_code, answer.headers.get("X-Error-Message", "")
    kinds = {answer.headers.get("X-Error-Code", ""), *(kind.__name__ for kind in type(error).__mro__)}
    at = f" at {revision}" if revision else ""
    token, anonymous = _sent_token(answer), "you are not logged in"
    from_hub = any(name in answer.headers for name in _HUB_MARKS)
    proxy = "; a proxy may be in the way" if status in (403, 404) and not from_hub else ""
    rows = [
        (
            kinds & {"GatedRepo", "GatedRepoError"},
            "its licence must be accepted before its files can be read",
            f"accept it on {shown(endpoint)}/{repo.partition(':')[0]}, then {LOG_IN}",
        ),
        (
            status == 401 and text.startswith("Invalid credentials"),
            "the Hub refuses your token",
            f"it may have expired: {LOG_IN}",
        ),
        (
            kinds & {"RevisionNotFound", "RevisionNotFoundError"},
            f"there is no revision {revision or 'of this name'}",
            "name a branch, a tag or a commit",
        ),
        (
            kinds & {"EntryNotFound", "EntryNotFoundError"},
            f"there is no file {file or 'of this name'}{at}",
            "its page lists its files",
        ),
        (
            "DisabledRepoError" in kinds or text == "Access to this resource is disabled.",
            "the Hub has disabled access to it",
            "its page may say why",
        ),
        (
            kinds & {"RepoNotFound", "RepositoryNotFoundError"} or status in (401, 404),
            f"there is no such model, or {'your token may not see it' if token else f'it is private and {anonymous}'}",
            (
                f"check the name; with another token, {LOG_IN}"
                if token
                else f"check the name; for a private model {LOG_IN}"
            )
            + proxy,
        ),
        (
            status == 403,
            "your token may not read it" if token else f"it may not be read, and {anonymous}",
            (f"with another token, {LOG_IN}" if token else LOG_IN) + proxy,
        ),
        (status == 429, "too many requests", f"wait some minutes; for a higher limit {LOG_IN}"),
    ]
    for applies, what, hint in rows:
        if applies:
            return RemoteError(f"{repo}: {what}", hint=hint)
    return RemoteError(f"{repo}: {host(endpoint)} answered with status {status}", hint="run again later")


_HUB_MARKS = ("X-Error-Code", "X-Request-Id")
"""Headers of which the Hub's own refusals have at least one."""


def _sent_token(answer: httpx2.Response) -> bool:
    try:
        return "authorization" in answer.request.headers
    except RuntimeError:  # an answer to no request
        return False


def http_errors() -> tuple[type[Exception], ...]:
    """What the HTTP client that huggingface_hub uses may raise; OSError for what it lets through."""
    base = import_module("huggingface_hub.errors").HTTPError
    package = import_module(base.__module__.partition(".")[0])
    return (base, package.InvalidURL, package.StreamError, OSError)


def offline(name: str) -> RemoteError:
    """The error for anything that needs the Hub while offline mode is on."""
    return RemoteError(
        f"{name}: offline mode is on and this is not in the cache",
        hint="unset HF_HUB_OFFLINE, or run once without --offline",
    )


def out_of_reach(name: str, place: str, why: str) -> RemoteError:
    """The error for a line that does not come up or does not hold."""
    return RemoteError(f"{name}: {place} is out of reach: {why}", hint=OTHER_NETWORK)


def host(address: str) -> str:
    """The host and port of an address, which is all of it that a message may show."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "the address") + (f":{parts.port}" if parts.port else "")
    except ValueError:  # a port that is no number
        return "the address"


def shown(endpoint: str) -> str:
    """The Hub's address without a name and password."""
    parts = urlsplit(endpoint)
    return parts._replace(netloc=host(endpoint), query="", fragment="").geturl()


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it was raised from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def is_certificate(error: BaseException) -> bool:
    """Whether a certificate was refused: no attempt mends that."""
    return any(isinstance(e, ssl.SSLCertVerificationError) for e in chain(error))


def reason(error: BaseException) -> str:
    """Why a line failed, in words of our own."""
    causes = list(chain(error))
    names = {kind.__name__ for e in causes for kind in type(e).__mro__}
    for words, kinds in _REASONS:
        if names & kinds:
            return words
    return "the connection failed"


_REASONS: list[tuple[str, set[str]]] = [
    ("the proxy refuses", {"ProxyError"}),
    ("its certificate is not trusted", {ssl.SSLCertVerificationError.__name__}),
    ("no encrypted connection", {ssl.SSLError.__name__}),
    ("its name is not known (DNS)", {socket.gaierror.__name__}),
    ("the connection was refused", {"ConnectionRefusedError"}),
    ("no connection in time", {"ConnectTimeout", "PoolTimeout"}),
    ("no answer in time", {"ReadTimeout", "WriteTimeout", "TimeoutError"}),
    ("the connection dropped", {"ReadError", "WriteError", "RemoteProtocolError", "ConnectionResetError"}),
    ("the address is not one", {"InvalidURL", "UnsupportedProtocol"}),
    ("the request cannot be sent (does the token hold a stray character?)", {"LocalProtocolError"}),
    ("the addresses lead in a circle", {"TooManyRedirects"}),
]
"""In words, and the classes (of any exception in the chain) that mean it; the first match counts."""
