"""Whatever goes wrong on the wire while a model is opened: the right bytes or one clear error, and a cache that holds."""

import copy
import logging

import pytest

from forensics.errors import CheckpointError, ForensicsError, RemoteError
from forensics.hub import partial
from forensics.hub.cache import TensorCache
from forensics.hub.inventory import fault, list_entries
from forensics.sources import open_checkpoint
from tests.hub.loopback import Fault
from tests.hub.models import E_IN, layers, matrix, opened, serve, single, stored

pytestmark = pytest.mark.usefixtures("alarm", "fresh_client")

SECRET = "hf_secretOfThisTest"
CHUNK = 1 << 14

LISTING = "/api/models/org/name"
WEIGHTS = "model.safetensors"

KINDS = [
    Fault("reset", after=0),
    Fault("reset", after=7),
    Fault("drop", after=5),
    Fault("short", after=6),
    Fault("long", after=3),
    Fault("long-lie", after=3),
    Fault("long-chunked", after=3),
    Fault("short-chunked", after=3),
    Fault("chunked"),
    Fault("flip", after=4),
    Fault("gzip"),
    Fault("ignore-range"),
    Fault("content-range", value="bytes 1-2/3"),
    Fault("etag", value='"another"'),
    Fault("commit", value="1" * 40),
    Fault("no-header", value="X-Repo-Commit"),
    Fault("no-header", value="ETag"),
    Fault("no-header", value="Content-Length"),
    Fault("no-header", value="X-Linked-Size"),
    Fault("status", after=429, headers={"Retry-After": "0"}),
    Fault("status", after=200),
    *(Fault("status", after=code) for code in (204, 400, 401, 403, 404, 410, 416, 418, 500, 503)),
    Fault("redirect", value="http://localhost:9/nothing-here"),
    Fault("loop"),
    Fault("drip", after=1, wait_s=0.01),
    Fault("drip-headers", wait_s=0.05),
    Fault("hang"),
]

HARMLESS = {"chunked"}

# Which request goes wrong: of what, by which method, where, and how many of its kind go well before.
PLACES = {
    "listing": (LISTING, "GET", "hub", 0),
    "config, asked for": ("config.json", "HEAD", "hub", 0),
    "config": ("config.json", "GET", "hub", 0),
    "tokenizer": ("tokenizer.json", "GET", "hub", 0),
    "weights, asked for": (WEIGHTS, "HEAD", "hub", 0),
    "header, the way there": (WEIGHTS, "GET", "hub", 1),
    "header's length": (WEIGHTS, "GET", "cdn", 0),
    "header": (WEIGHTS, "GET", "cdn", 1),
    "a range": (WEIGHTS, "GET", "cdn", 3),
    "a range, the way there": (WEIGHTS, "GET", "hub", 4),
}

OF_BODIES = {"reset", "drop", "short", "long", "long-lie", "long-chunked", "short-chunked", "chunked", "flip", "gzip",
             "ignore-range", "content-range", "drip"}  # fmt: skip


def cases():
    for place, (path, method, at, skip) in PLACES.items():
        for kind in KINDS:
            has_body = method == "GET" and "way there" not in place
            if kind.kind in OF_BODIES and not has_body:
                continue
            if kind.kind in ("hang", "drop", "drip", "drip-headers") and path in ("config.json",) and method == "GET":
                continue  # as of the tokenizer; each waits for a second in the client
            yield pytest.param(
                kind, (path, method, at, skip), id=f"{place}-{kind.kind}-{kind.value or kind.after}"[:60].replace(" ", "_")
            )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    single(folder, {E_IN: matrix(), **layers(1)}, tokens=40)
    return folder


@pytest.fixture(scope="module")
def right(model):
    return stored(open_checkpoint(model))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(partial, "CHUNK_BYTES", CHUNK)


def struck(kind, place, **changes):
    """A fresh copy, since faults count."""
    path, method, at, skip = place
    strike = copy.replace(kind) if hasattr(copy, "replace") else copy.copy(kind)
    strike.path, strike.method, strike.at, strike.skip = path, method, at, skip
    for name, value in changes.items():
        setattr(strike, name, value)
    return strike


def assert_clean(tmp_path, *said):
    """The token is in nothing that was said or written."""
    texts = [str(text) for text in said]
    texts += [p.read_bytes().decode("latin1") for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(SECRET in text or "SECRETKEY" in text or "?Signature" in text for text in texts)


def try_open(hub, tmp_path, hasty, right):
    """The error, or None and the bytes were right."""
    try:
        found = opened(hub, tmp_path, token=SECRET, patience=hasty)
    except ForensicsError as error:
        assert "\n" not in str(error)
        assert_clean(tmp_path, error, repr(error), error.hint, repr(error.__cause__))
        return error
    assert stored(found) == right and len(found.vocabulary) == 40
    assert_clean(tmp_path, found.notes, repr(found.source))
    return None


@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize(("kind", "place"), [*cases()])
def test_every_fault(model, right, tmp_path, hasty, capfd, kind, place, times):
    if times is None and kind.kind in ("hang", "drip", "drip-headers", "drop"):
        pytest.skip("waits for the same time-outs again; test_a_server_that_only_drips has it")
    with serve(model) as hub:
        hub.faults[:] = [struck(kind, place, times=times)]
        error = try_open(hub, tmp_path, hasty, right)
        if error is not None:
            told = isinstance(error, RemoteError) or kind.kind == "flip"
            assert told and error.exit_code == (4 if isinstance(error, RemoteError) else 3)
        elif times is None:
            assert kind.kind in HARMLESS, "it cannot have gone well"
        for entry in list_entries(TensorCache(tmp_path / "cache")):
            assert entry.state == "partial" or fault(entry) is None
        hub.faults.clear()
        assert try_open(hub, tmp_path, hasty, right) is None, "the cache lies"
        assert not any(r.authorized for r in hub.asked(at="cdn"))
    assert capfd.readouterr().err == ""
