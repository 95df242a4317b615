"""How the loopback Hub answers: the Hub's addresses, its redirects to the CDN, its refusals, and its faults."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.loopback_faults import break_body, break_headers, drip, reset
from tests.hub.loopback_repo import Blob, Repo

if TYPE_CHECKING:
    from tests.hub.loopback import Server

FILE = re.compile(r"/(?P<repo>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
API = re.compile(r"/api/models/(?P<repo>[^/]+(?:/[^/]+)?)(?:/(?P<verb>revision|tree|paths-info|refs)(?P<rest>/.*)?)?")

MIB = 1 << 20


@dataclass
class Request:
    """One request as the server saw it; ``path`` is the file's path where it asks for a file."""

    method: str
    path: str
    at: str
    range: str | None
    authorized: bool
    cookie: bool
    status: int = 0
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 << 10  # headers and a small body leave in one packet
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.serve()

    do_HEAD = do_POST = do_GET  # noqa: N815 - the names that http.server looks for

    def serve(self) -> None:
        hub, split = self.server.hub, urlsplit(self.path)
        self.query = parse_qs(split.query)
        posted = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.address, self.posted = split.path, parse_qs(posted)
        file = FILE.fullmatch(split.path)
        path = unquote(file["path"]) if file else split.path
        if self.server.at == "cdn" and (blob := hub.blobs.get(split.path)):
            path = blob.name
        authorization = self.headers.get("Authorization")
        self.record = Request(
            self.command, path, self.server.at, self.headers.get("Range"), bool(authorization), "Cookie" in self.headers
        )
        with hub.lock:
            hub.requests.append(self.record)
        self.token = (authorization or "").removeprefix("Bearer ")
        self.fault = hub.fault(self.command, path, self.server.at)
        kind = self.fault.kind if self.fault else ""
        if self.fault and kind == "move" and file:
            hub.repos[unquote(file["repo"])].refs["main"] = self.fault.value
        moved = next((old for old in hub.moved if f"/{old}/" in f"{split.path}/"), None)
        if self.fault and kind == "hang":
            hub.stopping.wait()
            self.close_connection = True
        elif self.fault and kind == "status":
            self.answer(self.fault.after, b"something went wrong", dict(self.fault.headers))
        elif self.fault and kind in ("redirect", "loop"):
            self.answer(302, b"Found", {"Location": self.fault.value if kind == "redirect" else self.path})
        elif moved:
            self.answer(307, b"Temporary Redirect", {"Location": self.path.replace(moved, hub.moved[moved], 1)})
        elif self.server.at == "cdn":
            self.serve_cdn()
        elif file:
            self.serve_file(file)
        else:
            self.serve_api()

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, "Content-Type": "application/json"}
        self.answer(status, json.dumps({"error": message}).encode(), headers | ({"X-Error-Code": code} if code else {}))

    def find(self, name: str, revision: str, *, files: bool) -> tuple[Repo, str] | None:
        """The repository and the commit, or None once it has been refused."""
        hub = self.server.hub
        repo = hub.repos.get(name)
        if self.token and hub.tokens is not None and self.token not in hub.tokens:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        if repo is None or (repo.private and self.token not in repo.readers):
            if self.token:
                return self.refuse(404, "RepoNotFound", "Repository not found")
            return self.refuse(401, "", "Invalid username or password.")
        if repo.disabled:
            return self.refuse(403, "", "Access to this resource is disabled.")
        if files and repo.gated and self.token not in repo.readers:
            return self.refuse(403 if self.token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        commit = repo.resolve(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, commit

    def serve_file(self, match: re.Match[str]) -> None:
        found = self.find(unquote(match["repo"]), unquote(match["revision"]), files=True)
        if found is None:
            return
        repo, commit = found
        blob = repo.commits[commit].get(unquote(match["path"]))
        if blob is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if self.server.hub.cookie:
            headers["Set-Cookie"] = self.server.hub.cookie
        if not blob.is_lfs or repo.direct:
            self.send_blob(blob, headers | {"ETag": f'"{blob.etag}"'})
            return
        headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(blob.size)}
        self.answer(302, b"Found. Redirecting", headers | {"Location": self.signed(blob)})

    def signed(self, blob: Blob) -> str:
        path = f"/repos/{blob.sha256}"
        self.server.hub.blobs[path] = blob
        return f"{self.server.hub.cdn}{path}?Signature={self.signature(path)}&Key-Pair-Id=SECRETKEY"

    def signature(self, path: str) -> str:
        bound = self.headers.get("Range") if self.server.hub.strict else None
        return hashlib.sha256(f"secret {path} {bound}".encode()).hexdigest()

    def serve_cdn(self) -> None:
        blob = self.server.hub.blobs.get(self.address)
        if blob is None or self.query.get("Signature") != [self.signature(self.address)]:
            self.answer(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
        else:
            self.send_blob(blob, {"ETag": f'"cdn-{blob.sha256[:32]}"', "Accept-Ranges": "bytes"})

    def serve_api(self) -> None:
        match = API.fullmatch(self.address)
        if match is None:
            self.refuse(404, "", "no such page")
            return
        rest = (match["rest"] or "").lstrip("/")
        revision, _, folder = rest.partition("/")
        found = self.find(unquote(match["repo"]), unquote(revision) or "main", files=False)
        if found is None:
            return
        repo, commit = found
        answer: object
        match match["verb"]:
            case "tree":
                recursive = self.query.get("recursive", ["false"])[0].lower() == "true"
                answer = repo.tree(commit, unquote(folder), recursive=recursive)
                if folder and not answer:
                    self.refuse(404, "EntryNotFound", "Entry not found")
                    return
            case "paths-info":
                answer = repo.paths(commit, self.posted.get("paths", []))
            case "refs":
                branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in repo.refs.items()]
                answer = {"branches": branches, "tags": [], "converts": []}
            case _:
                answer = repo.info(commit, self.query)
        self.answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def send_blob(self, blob: Blob, headers: dict[str, str]) -> None:
        """The bytes asked for, or the fault's version of them."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.record.range or "")
        ranged = asked is not None and not (self.fault and self.fault.kind == "ignore-range")
        start, stop = 0, blob.size
        if asked and ranged:
            start, stop = int(asked[1]), min(blob.size, int(asked[2] or blob.size) + 1)
            if start >= blob.size:
                self.answer(416, b"", {"Content-Range": f"bytes */{blob.size}"})
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size}"
        status = 206 if ranged else 200
        if self.fault is None or self.fault.kind == "ignore-range" or self.command == "HEAD":
            self.answer(status, (blob, start, stop), headers)
        else:
            self.answer(status, blob.bytes(start, stop), headers)

    def answer(self, status: int, body: bytes | tuple[Blob, int, int], headers: dict[str, str]) -> None:
        """Sends an answer whole, or broken in the way the fault says."""
        fault = self.fault
        length = len(body) if isinstance(body, bytes) else body[2] - body[1]
        headers = {"Content-Length": str(length)} | headers
        if fault is not None and isinstance(body, bytes):
            body = break_body(fault, body, headers)
        if fault is not None:
            break_headers(fault, headers)
        if fault is not None and fault.kind == "drip-headers":
            endless = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9999
            for _ in drip(self.connection, endless, 1, fault.wait_s, self.server.hub.stopping):
                pass
            self.close_connection = True
            return
        self.record.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(body)

    def send_body(self, body: bytes | tuple[Blob, int, int]) -> None:
        """Sends the body; what the record says is what has been handed to the socket, within a mebibyte."""
        self.wfile.flush()
        if not isinstance(body, bytes):
            blob, start, stop = body
            if isinstance(blob.data, Path):
                self.send_file(blob.data, start, stop)
                return
            body = blob.bytes(start, stop)
        kind = self.fault.kind if self.fault else ""
        if self.fault and kind == "drip":
            for _ in drip(self.connection, body, self.fault.after or 1, self.fault.wait_s, self.server.hub.stopping):
                self.record.sent += self.fault.after or 1
        for start in range(0, len(body) * (kind != "drip"), MIB):
            piece = memoryview(body)[start : start + MIB]
            self.record.sent += len(piece)
            self.connection.sendall(piece)
        self.close_connection |= kind in ("drop", "drip", "reset")
        if kind == "reset":
            self.rfile.close()
            reset(self.connection)

    def send_file(self, path: Path, start: int, stop: int) -> None:
        with path.open("rb") as file:
            for at in range(start, stop, MIB):
                self.record.sent += min(MIB, stop - at)
                self.connection.sendfile(file, at, min(MIB, stop - at))
