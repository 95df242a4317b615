"""Ranges of remote files: what is asked of whom, what is handed on, how it ends."""

import itertools
import json
import signal
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import HfApi, constants, errors, get_hf_file_metadata, hf_hub_download
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import CheckpointError, ForensicsError, OutputError, RemoteError, SourceError
from forensics.hub.explain import explain
from forensics.hub.retry import LONGEST_PAUSE_S, AgainError, Attempts, Patience, Pauses, retry_after
from forensics.hub.transfer import RemoteFile, Transport
from tests.hub.conftest import TOKEN
from tests.hub.loopback import Fault, LoopbackHub, Repo

pytestmark = pytest.mark.usefixtures("alarm", "fresh_client")

DATA = b"".join(i.to_bytes(4, "little") for i in range(750_000))  # every aligned word tells where it belongs
FILES = {"model.safetensors": DATA, "config.json": b'{"vocab_size": 7}'}
RANGES = [(a, min(a + 500_000, len(DATA))) for a in range(0, len(DATA), 500_000)]


@pytest.fixture
def hub():
    with LoopbackHub([Repo("org/name", FILES)]) as hub:
        yield hub


@pytest.fixture
def transport(hub, steady):
    with Transport(endpoint=hub.endpoint, token=TOKEN, patience=steady) as transport:
        yield transport


@pytest.fixture
def file(hub, transport):
    file = transport.locate(hub.url("org/name", "model.safetensors"), "model.safetensors")
    hub.requests.clear()
    return file


@pytest.mark.parametrize("name", FILES)
def test_locate(hub, transport, name):
    url = hub.url("org/name", name)
    blob = hub.repos["org/name"].commits[hub.repos["org/name"].main][name]
    found = transport.locate(url, name)
    assert found == RemoteFile(url, name, len(FILES[name]), blob.etag, hub.repos["org/name"].main)
    metadata = get_hf_file_metadata(url, token=False)
    assert (found.size, found.etag, found.commit) == (metadata.size, metadata.etag, metadata.commit_hash)


def test_locate_wants_a_commit(hub, transport):
    with pytest.raises(SourceError, match="names no commit"):
        transport.locate(hub.url("org/name", "config.json", "main"), "config.json")
    assert not hub.requests


def test_a_moved_repository_is_followed_and_the_token_with_it(hub, transport):
    hub.moved["old/name"] = "org/name"
    url = hub.url("org/name", "config.json").replace("org/name", "old/name")
    found = transport.locate(url, "config.json")
    assert transport.read(found, 0, found.size) == FILES["config.json"]
    assert [(r.status, r.authorized) for r in hub.requests] == [(307, True), (200, True), (307, True), (206, True)]


def test_reads_are_exact(hub, transport, file):
    @given(st.tuples(st.integers(0, len(DATA)), st.integers(0, 5000)))
    def check(where):
        start, stop = where[0], min(sum(where), len(DATA))
        hub.requests.clear()
        assert transport.read(file, start, stop) == DATA[start:stop]
        assert [r.range for r in hub.requests] == [f"bytes={start}-{stop - 1}"] * 2 * (start < stop)
        assert hub.bytes_sent(at="cdn") == stop - start

    check()


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (6, 5), (0, len(DATA) + 1)])
def test_a_range_outside_the_file_is_not_asked_for(hub, transport, file, start, stop):
    with pytest.raises(CheckpointError, match=r"model.safetensors: bytes .* the file has 3,000,000"):
        transport.read(file, start, stop)
    assert not hub.requests


def test_pieces_come_in_order_once_and_small(transport, file):
    pieces = []
    transport.fetch(file, 10, len(DATA), lambda at, piece: pieces.append((at, bytes(piece))))
    assert [at for at, _ in pieces] == [10 + n for n in itertools.accumulate([0, *(len(p) for _, p in pieces[:-1])])]
    assert max(len(p) for _, p in pieces) <= 1 << 20
    assert b"".join(p for _, p in pieces) == DATA[10:]


def test_many_ranges_at_once(hub, file, steady):
    counted, done, threads, out = [], [], set(), bytearray(len(DATA))

    def write(at, piece):
        threads.add(threading.current_thread().name)
        out[at : at + len(piece)] = piece

    def finish(wanted):
        assert out[slice(*wanted)] == DATA[slice(*wanted)]
        done.append(wanted)

    with Transport(endpoint=hub.endpoint, token=False, max_workers=3, progress=counted.append, patience=steady) as line:
        line.fetch_all(file, RANGES, write, finish)
        assert line.notes == []
    assert (out, sorted(done), sum(counted)) == (DATA, RANGES, len(DATA))
    assert len(threads) <= 3
    assert sorted(r.range for r in hub.asked(at="cdn")) == sorted(f"bytes={a}-{b - 1}" for a, b in RANGES)
    assert (hub.n_requests(), hub.bytes_sent(at="cdn")) == (len(RANGES), len(DATA))


def test_token_and_cookies_stay_with_the_hub(hub, transport):
    hub.cookie = "session=SECRET; Domain=127.0.0.1; Path=/"
    hub.cdn = hub.cdn.replace("localhost", "127.0.0.1")  # one host, two ports: a cookie jar sees no difference
    file = transport.locate(hub.url("org/name", "model.safetensors"), "model.safetensors")
    assert transport.read(file, 0, 4) == DATA[:4]
    assert transport.read(file, 4, 8) == DATA[4:8]
    assert {(r.at, r.authorized) for r in hub.requests} == {("hub", True), ("cdn", False)}
    assert not any(r.cookie for r in hub.asked(at="cdn"))


def test_the_token_does_not_go_to_an_address_that_is_not_the_hubs(hub, transport, file):
    with LoopbackHub([Repo("org/name", FILES)]) as other:
        elsewhere = transport.locate(other.url("org/name", "config.json"), "config.json")
        transport.read(elsewhere, 0, 2)
        back = Fault("redirect", at="hub", times=None, value=file.url)
        other.faults.append(back)
        assert transport.read(RemoteFile(elsewhere.url, *_rest(file)), 0, 4) == DATA[:4]
        assert not any(r.authorized for r in (*other.requests, *hub.requests))


def _rest(file):
    return file.name, file.size, file.etag, file.commit


def test_no_token_is_sent_unless_there_is_one(hub, monkeypatch):
    url = hub.url("org/name", "config.json")
    for token, ambient, sent in [(False, "x", False), (None, "x", True), (None, None, False), ("y", None, True)]:
        monkeypatch.setenv("HF_TOKEN", ambient) if ambient else monkeypatch.delenv("HF_TOKEN", raising=False)
        Transport(endpoint=hub.endpoint, token=token).locate(url, "config.json")
        assert hub.requests[-1].authorized == sent
    with pytest.raises(RemoteError, match="you are not logged in; run `hf auth login`"):
        Transport(endpoint=hub.endpoint, token=True)


def test_a_token_with_a_stray_character_is_not_shown(hub):
    for token in ("hf_SECRET\nx", "hf_SECRÉT"):
        with pytest.raises(RemoteError, match="holds a character that no token has") as caught:
            Transport(endpoint=hub.endpoint, token=token)
        assert "SECR" not in f"{caught.value!r}{caught.value}"


def test_offline_mode_asks_nothing(hub, transport, file, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RemoteError, match=r"offline mode is on.*unset HF_HUB_OFFLINE"):
        transport.read(file, 0, 4)
    with pytest.raises(RemoteError, match="offline mode is on"):
        transport.locate(file.url, file.name)
    assert not hub.requests


def test_the_endpoint_is_huggingface_hubs_unless_told(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    transport = Transport(token=TOKEN)
    transport.locate(hub.url("org/name", "config.json"), "config.json")
    assert hub.requests[0].authorized
    assert TOKEN not in repr(transport)


@pytest.mark.parametrize("endpoint", ["ftp://hub", "hub.example", "http://hub:port", "http://[", "http://"])
def test_an_endpoint_that_is_none(endpoint):
    with pytest.raises(RemoteError, match=r"not a web address; set HF_ENDPOINT"):
        Transport(endpoint=endpoint, token=False)


# --- how it ends


def drip_all(hub, **options):
    hub.faults.append(Fault("drip", at="cdn", times=None, after=2000, wait_s=0.01, **options))


def test_an_error_in_one_range_ends_all(hub, transport, file):
    drip_all(hub)
    calls = []

    def write(at, piece):
        calls.append(at)
        if len(calls) == 20:
            raise OutputError("disk full")

    begun = time.monotonic()
    with pytest.raises(OutputError, match="disk full"):
        transport.fetch_all(file, RANGES, write, lambda _: pytest.fail("no range can be done"))
    assert time.monotonic() - begun < 2
    n_calls = len(calls)
    time.sleep(0.1)
    assert len(calls) == n_calls


def test_an_error_ends_ranges_that_wait_for_an_answer(hub, transport, file):
    hub.faults += [Fault("hang", at="hub", times=2), Fault("content-range", at="cdn", value="bytes 0-1/2")]
    patient = Transport(endpoint=hub.endpoint, token=False, patience=Patience(), max_workers=3)
    begun = time.monotonic()
    with pytest.raises(RemoteError, match="sent another range"):
        patient.fetch_all(file, RANGES, lambda *_: None, lambda _: None)
    assert time.monotonic() - begun < 2


def test_an_error_ends_the_wait_before_a_retry(hub, file):
    hub.faults.append(Fault("status", at="hub", after=503, headers={"Retry-After": "200"}))
    hub.faults.append(Fault("etag", at="hub", skip=1, value='"other"'))
    patient = Transport(endpoint=hub.endpoint, token=False, patience=Patience(), max_workers=2)
    begun = time.monotonic()
    with pytest.raises(RemoteError, match="changed while it was read"):
        patient.fetch_all(file, RANGES[:3], lambda *_: None, lambda _: None)
    assert time.monotonic() - begun < 2


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, also where the tests run in the background of a shell that ignores it for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_all(hub, transport, file, interruptible):
    drip_all(hub)
    writes = []
    timer = threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        transport.fetch_all(file, RANGES, lambda at, _: writes.append(at), lambda _: None)
    timer.join()
    n_writes = len(writes)
    assert time.monotonic() - begun < 2
    time.sleep(0.1)
    assert len(writes) == n_writes > 0


def test_closing_ends_what_another_thread_reads(hub, transport, file):
    hub.faults.append(Fault("hang", at="cdn", times=None))
    patient = Transport(endpoint=hub.endpoint, token=False, patience=Patience())
    timer = threading.Timer(0.2, patient.close)
    timer.start()
    with pytest.raises(RemoteError, match="was closed while it ran"):
        patient.read(file, 0, 4)
    timer.join()


# --- a client factory of the user's, here one that answers without a network


@pytest.fixture
def answer_with():
    def install(handler):
        huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(handler)))

    yield install
    huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)


def answered(status, body=b"", **headers):
    """An answer whose body is still to be read."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=named, stream=httpx2.ByteStream(body))


COMMIT = "0123456789abcdef0123456789abcdef01234567"
URL = f"https://hub.example/org/name/resolve/{COMMIT}/model.safetensors"
REMOTE = RemoteFile(URL, "model.safetensors", 100, "etag", COMMIT)
SECURE = {"endpoint": "https://hub.example", "token": TOKEN}


@pytest.mark.parametrize(
    "where", ["http://cdn.example/x", "http://hub.example/x", "ftp://x/y", "https://[bad", "//:x/", ""]
)
def test_redirects_that_are_refused(answer_with, steady, where):
    asked = []
    answer_with(
        lambda r: asked.append(str(r.url)) or httpx2.Response(302, headers={"Location": where} if where else {})
    )
    with pytest.raises(RemoteError, match=r"redirects to (nowhere|an unencrypted address)"):
        Transport(**SECURE, patience=steady).read(REMOTE, 0, 4)
    assert asked == [URL]


def test_the_token_is_dropped_where_the_host_or_the_scheme_changes(answer_with, steady):
    """Also on the way back, also a factory's own headers."""
    hops = [URL, "https://hub.example:444/a", URL + "?b", "https://cdn.example/c?Signature=SECRET"]
    seen = []

    def handler(request):
        seen.append((str(request.url), "authorization" in request.headers, "cookie" in request.headers))
        if len(seen) < len(hops):
            return httpx2.Response(302, headers={"Location": hops[len(seen)], "X-Repo-Commit": COMMIT})
        return httpx2.Response(
            206, headers={"Content-Range": "bytes 0-3/100", "ETag": '"c"'}, stream=httpx2.ByteStream(b"abcd")
        )

    def factory():
        own = {"Authorization": "Basic corporate", "Cookie": "corporate=1"}
        return httpx2.Client(transport=httpx2.MockTransport(handler), headers=own)

    answer_with(handler)
    huggingface_hub.set_client_factory(factory)
    assert Transport(**SECURE, patience=steady).read(REMOTE, 0, 4) == b"abcd"
    assert seen == [(hops[0], True, True), *((hop, False, False) for hop in hops[1:])]


def test_five_redirects_and_no_more(answer_with, steady):
    for n, ends in [(5, True), (6, False)]:
        left = itertools.count(n, -1)

        def handler(request, left=left):
            if next(left):
                return httpx2.Response(302, headers={"Location": "/again"})
            return httpx2.Response(
                206, headers={"Content-Range": "bytes 0-3/100", "ETag": "etag"}, stream=httpx2.ByteStream(b"abcd")
            )

        answer_with(handler)
        if ends:
            assert Transport(**SECURE, patience=steady).read(REMOTE, 0, 4) == b"abcd"
        else:
            with pytest.raises(RemoteError, match="more than 5 redirects, the last to hub.example"):
                Transport(**SECURE, patience=steady).read(REMOTE, 0, 4)


def raising(error, cause=None):
    def handler(request):
        raise error from cause

    return handler


@pytest.mark.parametrize(
    ("error", "cause", "words", "attempts"),
    [
        (httpx2.ConnectError("x"), socket.gaierror(-2, "Name or service not known"), r"name is not known \(DNS\)", 3),
        (httpx2.ConnectError("x"), ConnectionRefusedError(), "the connection was refused", 3),
        (httpx2.ConnectTimeout("x"), None, "no connection in time", 3),
        (httpx2.ProxyError("x"), None, "the proxy refuses", 3),
        (httpx2.ReadError("x"), None, "the connection dropped", 3),
        (httpx2.ConnectError("x"), ssl.SSLCertVerificationError("x"), "certificate is not trusted", 1),
        (httpx2.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN}'"), None, "cannot be sent", 1),
        (httpx2.UnsupportedProtocol("x"), None, "the address is not one", 1),
    ],
)
def test_out_of_reach(answer_with, steady, error, cause, words, attempts):
    asked = []
    answer_with(lambda request: asked.append(1) or raising(error, cause)(request))
    with pytest.raises(RemoteError, match=words) as caught:
        Transport(**SECURE, patience=steady).read(REMOTE, 0, 4)
    assert len(asked) == attempts
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert "SECRET" not in repr(caught.value)
    assert isinstance(caught.value, ConnectionError)


def test_what_is_pinned_must_be_said(answer_with, steady):
    full = {"X_Repo_Commit": COMMIT, "ETag": 'W/"e"', "Content_Length": "7"}
    answer_with(lambda _: answered(200, **full))
    assert Transport(**SECURE, patience=steady).locate(URL, "m") == RemoteFile(URL, "m", 7, "e", COMMIT)
    for lost in full:
        answer_with(lambda _, lost=lost: answered(200, **{k: v for k, v in full.items() if k != lost}))
        with pytest.raises(RemoteError, match="does not say its commit, size and ETag"):
            Transport(**SECURE, patience=steady).locate(URL, "m")
    answer_with(lambda _: answered(200, **full | {"X_Repo_Commit": "f" * 40}))
    with pytest.raises(RemoteError, match="changed while it was read: commit ffffffffffff instead of 0123"):
        Transport(**SECURE, patience=steady).locate(URL, "m")


def test_pieces_are_cut_to_a_mebibyte(answer_with, steady):
    big, sizes = b"x" * (5 << 19), []
    answer_with(lambda _: answered(206, big, Content_Range=f"bytes 0-{len(big) - 1}/{len(big)}", ETag="etag"))
    file = RemoteFile(URL, "m", len(big), "etag", COMMIT)
    Transport(**SECURE, patience=steady).fetch(file, 0, len(big), lambda _, piece: sizes.append(len(piece)))
    assert sizes == [1 << 20, 1 << 20, 1 << 19]


# --- waits


NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("120", 120), (" 7 ", 7), ("9" * 40, LONGEST_PAUSE_S),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=2), usegmt=True), 0),
        ("Mon, 04 May 2026 03:02:31 -0000", 30), ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_PAUSE_S),
        ("", None), ("soon", None), ("-5", None), ("١٢", None), ("Mon, 99 May 2026 99:99:99 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(text, seconds):
    assert retry_after({"Retry-After": text}, NOW) == seconds
    assert retry_after({}, NOW) is None


def test_the_hubs_own_rate_limit_is_heeded():
    spent = {"RateLimit": '"resolvers";r=0;t=55'}
    assert retry_after(spent, NOW) == 55
    assert retry_after({"RateLimit": '"resolvers";r=9;t=55'}, NOW) is None
    assert retry_after(spent | {"Retry-After": "3"}, NOW) == 3


@given(st.integers(1, 200), st.floats(0, 1))
def test_backoff_is_jittered_in_full_and_bounded(failures, draw):
    patience = Patience(draw=lambda low, high: low + draw * (high - low))
    bound = min(20.0, 0.5 * 2 ** (failures - 1))
    assert patience.backoff(failures) == pytest.approx(draw * bound)


# --- what is said


GATED = (
    "org/name: its licence must be accepted before its files can be read; accept it on {page}, then run `hf auth login`"
)
MISSING = "org/name: there is no such model, or {why}; check the name"


def closed(**flags):
    return Repo("org/name", FILES, readers=frozenset({"reader"}), **flags)


@pytest.mark.parametrize("token", [False, "stranger"])
@pytest.mark.parametrize(
    ("repo", "message"),
    [
        (closed(gated=True), GATED),
        (closed(private=True), MISSING),
        (closed(disabled=True), "org/name: the Hub has disabled access to it"),
        (Repo("org/another", FILES), MISSING),
    ],
    ids=["gated", "private", "disabled", "missing"],
)
def test_every_door_says_the_same(repo, message, token, steady, tmp_path):
    """Our own requests and the exceptions of huggingface_hub, anonymous and logged in."""
    with LoopbackHub([repo]) as hub:
        url = f"{hub.endpoint}/org/name/resolve/{repo.main}/config.json"
        why = "your token may not see it" if token else "it is private and you are not logged in"
        message = message.format(page=f"{hub.endpoint}/org/name", why=why)
        with pytest.raises(RemoteError) as caught:
            Transport(endpoint=hub.endpoint, token=token, patience=steady).locate(url, "config.json")
        assert str(caught.value).startswith(message)
        doors = [
            lambda: get_hf_file_metadata(url, token=token, endpoint=hub.endpoint),
            lambda: hf_hub_download("org/name", "config.json", cache_dir=tmp_path, token=token, endpoint=hub.endpoint),
            lambda: HfApi(endpoint=hub.endpoint, token=token).model_info("org/name"),
        ]
        for door in doors[: 2 if repo.gated else 3]:  # the listing of a gated repository is open
            with pytest.raises((errors.HfHubHTTPError, OSError)) as raised:
                door()
            assert str(explain(raised.value, "org/name", endpoint=hub.endpoint)).startswith(message)


def test_what_is_not_there(hub, steady, tmp_path):
    api = HfApi(endpoint=hub.endpoint, token=False)
    with pytest.raises(errors.RevisionNotFoundError) as raised:
        api.model_info("org/name", revision="v9")
    assert explain(raised.value, "org/name", "v9").message == "org/name: there is no revision v9"
    with pytest.raises(errors.EntryNotFoundError) as raised:
        hf_hub_download("org/name", "no.json", cache_dir=tmp_path, endpoint=hub.endpoint, token=False)
    said = explain(raised.value, "org/name", "main", file="no.json").message
    assert said == "org/name: there is no file no.json at main"
    with pytest.raises(RemoteError, match="org/name: there is no file no.json at [0-9a-f]{12};"):
        Transport(endpoint=hub.endpoint, patience=steady).locate(hub.url("org/name", "no.json"), "no.json")


def test_a_token_that_is_refused(hub, transport):
    hub.tokens = {"valid"}
    with pytest.raises(RemoteError, match="org/name: the Hub refuses your token; it may have expired") as caught:
        transport.locate(hub.url("org/name", "config.json"), "config.json")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "it may not be read, and you are not logged in"),
        (429, "too many requests"),
        (500, "answered with status 500"),
    ],
)
def test_statuses_without_a_code(hub, status, words):
    hub.faults.append(Fault("status", method="any", times=None, after=status))
    with pytest.raises(errors.HfHubHTTPError) as raised:
        HfApi(endpoint=hub.endpoint, token=False).model_info("org/name")
    assert words in explain(raised.value, "org/name").message
    assert words in explain(raised.value.response, "org/name").message
    assert ("a proxy may be in the way" in explain(raised.value, "org/name").hint) == (status == 403)


def test_a_refusal_of_the_token_that_was_sent(hub, transport):
    hub.faults.append(Fault("status", method="any", times=None, after=403, headers=(("X-Request-Id", "1"),)))
    with pytest.raises(RemoteError, match="org/name: your token may not read it; with another token") as caught:
        transport.locate(hub.url("org/name", "config.json"), "config.json")
    assert "proxy" not in caught.value.hint


def test_an_endpoint_s_password_is_not_shown():
    answer = httpx2.Response(401, headers={"X-Error-Code": "GatedRepo"})
    said = str(explain(answer, "org/name", endpoint="http://user:pw@host:80/hub"))
    assert "accept it on http://host:80/hub/org/name," in said and "pw" not in said


def test_a_hub_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.utils._http, "time", SimpleNamespace(sleep=lambda _: None))  # 23 s of them
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for door in (
        lambda: HfApi(endpoint=endpoint, token=False).model_info("org/name"),
        lambda: hf_hub_download("org/name", "config.json", cache_dir=tmp_path, endpoint=endpoint, token=False),
    ):
        with pytest.raises((httpx2.HTTPError, OSError)) as raised:
            door()
        said = str(explain(raised.value, "org/name", endpoint=endpoint))
        assert said.startswith(
            f"org/name: {endpoint[7:]} is out of reach: the connection was refused; check the network"
        )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for door in (
        lambda: HfApi(endpoint=endpoint, token=False).model_info("org/name"),
        lambda: hf_hub_download("org/name", "config.json", cache_dir=tmp_path, endpoint=endpoint, token=False),
    ):
        with pytest.raises((httpx2.HTTPError, OSError)) as raised:
            door()
        assert explain(raised.value, "org/name").message.startswith("org/name: offline mode is on")


def test_an_explained_error_stays_as_it_is():
    error = RemoteError("said before", hint="do")
    assert explain(error, "org/name") is error
    assert json.dumps(str(error)) == '"said before; do"'
    assert issubclass(RemoteError, ForensicsError)


def test_a_long_pause_is_said_once_for_all_workers():
    now, said = [0.0], []
    patience = Patience(clock=lambda: now[0])
    pauses = Pauses(patience, said.append)
    for wait_s in (1.5, 30, 30, None):
        Attempts("m", patience, lambda _: None, pauses).failed(AgainError("status 429", wait_s), progress=False)
    assert said == ["the Hub asks for a pause of 30 s"]
    now[0] = 31.0
    Attempts("m", patience, lambda _: None, pauses).failed(AgainError("status 429", 12), progress=False)
    assert said[1:] == ["the Hub asks for a pause of 12 s"]
