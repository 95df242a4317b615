"""A Hub on the loopback interface: the real protocol, a CDN on another host name, a record of every request.

    with LoopbackHub([Repo("org/name", {"config.json": b"{}"})]) as hub:
        HfApi(endpoint=hub.endpoint).model_info("org/name")

or, for other processes: ``python -m tests.hub.loopback FOLDER [PORT]`` serves ``FOLDER/org/name/...``, prints its
address and lives until its standard input ends. It sends no xet headers, so that the client takes plain HTTP.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterable
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.hub.loopback_faults import Fault
from tests.hub.loopback_handler import Handler, Request
from tests.hub.loopback_repo import Blob, Repo

__all__ = ["Fault", "LoopbackHub", "Repo", "Request"]


class LoopbackHub:
    """The Hub and its CDN, served from two ports by threads.

    Attributes:
        endpoint: the Hub's address (127.0.0.1).
        cdn: the CDN's address (localhost: another host name).
        requests: every request so far.
        faults: what is to go wrong; the first that matches strikes.
        tokens: the valid tokens; None takes any.
        strict: a signed address holds for the exact range that minted it.
        moved: old names of repositories, which answer with a relative redirect.
        cookie: what the Hub sets with every file, or None.
    """

    def __init__(self, repos: Iterable[Repo], faults: Iterable[Fault] = (), *, port: int = 0) -> None:
        self.repos = {repo.name: repo for repo in repos}
        self.faults = list(faults)
        self.requests: list[Request] = []
        self.tokens: set[str] | None = None
        self.strict = True
        self.moved: dict[str, str] = {}
        self.cookie: str | None = None
        self.blobs: dict[str, Blob] = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self._servers = [Server(("127.0.0.1", port), self, "hub"), Server(("127.0.0.1", 0), self, "cdn")]
        self.endpoint = f"http://127.0.0.1:{self._servers[0].server_port}"
        self.cdn = f"http://localhost:{self._servers[1].server_port}"
        self._threads = [threading.Thread(target=s.serve_forever, args=(0.01,)) for s in self._servers]

    def __enter__(self) -> LoopbackHub:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.hang_up()
            server.server_close()

    def url(self, repo: str, path: str, revision: str | None = None) -> str:
        """The resolve address of a file, at main's commit unless told."""
        return f"{self.endpoint}/{repo}/resolve/{revision or self.repos[repo].main}/{quote(path)}"

    def asked(self, path: str = "", at: str = "") -> list[Request]:
        """The requests for one file, or at one host."""
        with self.lock:
            return [r for r in self.requests if path in ("", r.path) and at in ("", r.at)]

    def bytes_sent(self, path: str = "", at: str = "") -> int:
        """Bytes of bodies sent, the text of redirects and errors included."""
        return sum(r.sent for r in self.asked(path, at))

    def n_requests(self, *, redirects: bool = False) -> int:
        return sum(redirects or not 300 <= r.status < 400 for r in self.asked())

    def fault(self, method: str, path: str, at: str) -> Fault | None:
        with self.lock:
            return next((f for f in self.faults if f.strikes(method, path, at)), None)


class Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them, so that no socket outlives the hub
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], hub: LoopbackHub, at: str) -> None:
        self.hub, self.at = hub, at
        self.open: set[socket.socket] = set()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.hub.lock:
            self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.hub.lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        with self.hub.lock:
            for connection in self.open:
                with contextlib.suppress(OSError):  # the client was first
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def main(folder: str, port: str = "0") -> None:
    """Serves every FOLDER/org/name until the standard input ends."""
    repos = [Repo.from_folder(f"{p.parent.name}/{p.name}", p) for p in sorted(Path(folder).glob("*/*")) if p.is_dir()]
    with LoopbackHub(repos, port=int(port)) as hub:
        print(hub.endpoint, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
