"""Whatever goes wrong while a model is opened: the right bytes or one clear error, and a cache that holds."""

import dataclasses
import hashlib

import pytest

from forensics.errors import CheckpointError, ForensicsError, RemoteError
from forensics.hub import partial
from forensics.hub.cache import TensorCache
from forensics.hub.client import HubOptions
from forensics.hub.entry import Manifest
from forensics.hub.inventory import fault, list_entries
from forensics.sources import open_checkpoint
from tests.hub.loopback import Fault
from tests.hub.models import E_IN, Listener, layers, matrix, opened, serve, single, stored

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

# Which request goes wrong: of what, by which method, where, and how many of its kind go well before.
PLACES = {
    "listing": (LISTING, "GET", "hub", 0),
    "config": ("config.json", "GET", "hub", 0),
    "tokenizer": ("tokenizer.json", "GET", "hub", 0),
    "weights, asked for": (WEIGHTS, "HEAD", "hub", 0),
    "header, the way there": (WEIGHTS, "GET", "hub", 1),
    "header's length": (WEIGHTS, "GET", "cdn", 0),
    "header": (WEIGHTS, "GET", "cdn", 1),
    "a range": (WEIGHTS, "GET", "cdn", 3),
    "a range, the way there": (WEIGHTS, "GET", "hub", 4),
}

BODIES = {"reset", "drop", "short", "long", "long-lie", "long-chunked", "short-chunked", "chunked", "flip", "gzip",
          "ignore-range", "content-range", "drip"}  # fmt: skip
QUICK = {("reset", 7), ("short", 6), ("flip", 4), ("ignore-range", 0), ("etag", 0), ("loop", 0),
         ("status", 200), ("status", 404), ("status", 503)}  # fmt: skip
STUBBORN = {("reset", 0), ("status", 403), ("status", 404), ("status", 503), ("loop", 0)}


def cases():
    """Every fault at every place, once and, of some, every time; what the default run leaves out is marked."""
    for place, (path, method, at, skip) in PLACES.items():
        for kind in KINDS:
            if kind.kind in BODIES and (method == "HEAD" or "way there" in place):
                continue
            name = f"{place}-{kind.kind}-{kind.value or kind.after}"[:60].replace(" ", "_")
            key = (kind.kind, kind.after)
            slow = [] if key in QUICK or (key == ("hang", 0) and place == "listing") else [pytest.mark.slow]
            yield pytest.param(kind, (path, method, at, skip), 1, id=f"{name}-once", marks=slow)
            if key in STUBBORN:
                slow = [] if key == ("status", 503) else [pytest.mark.slow]
                yield pytest.param(kind, (path, method, at, skip), None, id=f"{name}-always", marks=slow)


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


class AnyChunk(list):
    """Equal to the matrices with one byte flipped, that at ``after`` in some chunk."""

    def __eq__(self, found):
        (right,), (came,) = self, found
        differ = [i for i, (a, b) in enumerate(zip(right, came, strict=True)) if a != b]
        self[0] = came
        return len(differ) <= 1 and all(i % CHUNK == 4 for i in differ)

    __hash__ = None


def struck(kind, place, **changes):
    """A fresh copy, since faults count."""
    path, method, at, skip = place
    return dataclasses.replace(kind, path=path, method=method, at=at, skip=skip, **changes)


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
    assert right == stored(found) and len(found.vocabulary) == 40
    assert_clean(tmp_path, found.notes, repr(found.source))
    return None


@pytest.mark.parametrize(("kind", "place", "times"), [*cases()])
def test_every_fault(model, right, tmp_path, hasty, capfd, kind, place, times):
    with serve(model) as hub:
        hub.faults[:] = [struck(kind, place, times=times)]
        # Of a tensor no digest is published: a byte that was flipped on its way cannot be told.
        is_hidden = kind.kind == "flip" and place[3] == 3
        expected = AnyChunk(right) if is_hidden else right
        error = try_open(hub, tmp_path, hasty, expected)
        assert times is None or hub.faults[0].times == 0, "it never struck"
        if error is not None:
            assert error.exit_code == (4 if isinstance(error, RemoteError) else 3)
            assert isinstance(error, RemoteError) or (kind.kind == "flip" and isinstance(error, CheckpointError))
        for entry in list_entries(TensorCache(tmp_path / "cache")):
            assert entry.state == "partial" or fault(entry) is None
            assert is_hidden is False or entry.sha256 == hashlib.sha256(expected[0]).hexdigest()
        hub.faults.clear()
        assert try_open(hub, tmp_path, hasty, expected) is None, "the cache lies"
        assert not any(r.authorized for r in hub.asked(at="cdn"))
    assert capfd.readouterr().err == ""


MENDED = [Fault("reset", after=0), *(Fault("status", after=code) for code in (429, 500, 503))]


@pytest.mark.parametrize("kind", MENDED, ids=lambda kind: f"{kind.kind}-{kind.after}")
def test_what_one_more_attempt_mends(model, right, tmp_path, hasty, kind):
    """Once at every place, all in one run."""
    places = [p for name, p in PLACES.items() if kind.kind == "status" or ("GET" in p and "way there" not in name)]
    with serve(model) as hub:
        hub.faults[:] = [struck(kind, place) for place in places]
        assert try_open(hub, tmp_path, hasty, right) is None
        assert all(strike.times == 0 for strike in hub.faults)


def test_a_listing_that_drips_is_given_up(model, right, tmp_path, hasty):
    with serve(model) as hub:
        hub.faults.append(Fault("drip", LISTING, after=1, wait_s=0.02, times=None))
        assert "not here after 2 s" in str(try_open(hub, tmp_path, hasty, right))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_damaged_small_file_is_refused(model, right, tmp_path, hasty, name):
    """Its digest is listed: once is mended, twice is an error, and nothing that does not hold is kept."""
    with serve(model) as hub:
        hub.faults.append(Fault("flip", name, after=9, times=None))
        error = try_open(hub, tmp_path, hasty, right)
        assert f"{name}: came twice with other bytes than the Hub lists" in str(error)
        assert not list((tmp_path / "hub").rglob(name))
        hub.faults.clear()
        assert try_open(hub, tmp_path, hasty, right) is None


@pytest.mark.parametrize("place", ["hub", "cache"])
def test_one_byte_flipped_in_a_cache(model, right, tmp_path, hasty, place):
    """Whatever file it is in, the next run sees it, or asks anew, or does not need it."""
    with serve(model) as hub:
        assert try_open(hub, tmp_path, hasty, right) is None
        commit = hub.repos["org/name"].main
        for path in [p for p in (tmp_path / place).rglob("*") if p.is_file() and p.suffix != ".TAG"]:
            raw = path.read_bytes()
            for at in (0, len(raw) // 2, len(raw) - 1):
                path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
                for source in ("org/name", f"org/name@{commit}"):
                    assert stored(opened(hub, tmp_path, source, token=SECRET, patience=hasty)) == right


def test_a_damaged_tensor_is_fetched_anew_and_that_is_said(model, right, tmp_path, hasty):
    with serve(model) as hub:
        opened(hub, tmp_path, patience=hasty)
        (path,) = (tmp_path / "cache").rglob("*.safetensors")
        raw = path.read_bytes()
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        with pytest.raises(CheckpointError, match="the cached tensor is damaged.*run again without --offline"):
            opened(hub, tmp_path, offline=True)
        first, second = Listener(), Listener()
        found = opened(hub, tmp_path, patience=hasty, watch=first)
        assert stored(found) == right
        assert any("was damaged and is fetched anew" in text for text in first.said)
        again = opened(hub, tmp_path, patience=hasty, watch=second)
        assert second.said == [] and again.notes == found.notes == ()  # the same input, the same results
        (entry,) = list_entries(TensorCache(tmp_path / "cache"))
        assert any("was damaged" in note for note in Manifest.read(entry.files.manifest).notes)


def test_the_token_of_a_private_model_goes_to_the_hub_alone(model, right, tmp_path, hasty):
    with serve(model, private=True, readers=frozenset({SECRET})) as hub:
        hub.cookie = "session=1"
        assert try_open(hub, tmp_path, hasty, right) is None
        assert hub.asked(at="cdn") and not any(r.authorized or r.cookie for r in hub.asked(at="cdn"))
        assert all(r.authorized for r in hub.asked(at="hub"))


def test_options_do_not_show_a_token():
    assert SECRET not in repr(HubOptions(token=SECRET))
