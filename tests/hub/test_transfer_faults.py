"""Whatever goes wrong on the wire ends in the right bytes or in one clear error, never in wrong bytes or a hang."""

import dataclasses
import itertools
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import RemoteError
from forensics.hub.answers import MAX_WHOLE_BYTES
from forensics.hub.transfer import Transport
from tests.hub.conftest import TOKEN
from tests.hub.loopback import Fault, LoopbackHub, Repo

pytestmark = pytest.mark.usefixtures("alarm", "fresh_client")

DATA = b"".join(i.to_bytes(4, "little") for i in range(100_000))
RANGES = [(a, min(a + 90_000, len(DATA))) for a in range(8, len(DATA), 90_000)]
N = RANGES[0][1] - RANGES[0][0]


class Sink:
    """Takes pieces and holds each against what belongs there, at once."""

    def __init__(self, data):
        self.data, self.taken, self.done = data, [], []

    def write(self, at, piece):
        assert piece == self.data[at : at + len(piece)], f"wrong bytes at {at}"
        assert len(piece) > 0
        self.taken.append((at, at + len(piece)))

    def whole(self, ranges):
        """Whether every byte of the ranges was taken once and every range was called done."""
        spans = sorted(self.taken)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), "a byte was handed on twice"
        covered = sum(stop - start for start, stop in spans)
        return covered == sum(b - a for a, b in ranges) and sorted(self.done) == sorted(ranges)


def attempt(hub, hasty, faults, *, data=DATA, ranges=RANGES, **options):
    """Fetches under these faults; the error, or None and all bytes were right."""
    sink = Sink(data)
    if not any(fault.kind in SLOW for fault in faults):  # a busy machine shall not look like a silent server
        hasty = dataclasses.replace(hasty, connect_s=5, read_s=10, window_s=10)
    with Transport(endpoint=hub.endpoint, token=TOKEN, patience=hasty, **options) as transport:
        file = transport.locate(hub.url("org/name", "model.safetensors"), "model.safetensors")
        hub.requests.clear()
        hub.faults[:] = faults
        try:
            transport.fetch_all(file, ranges, sink.write, sink.done.append)
        except RemoteError as error:
            assert set(sink.done) < set(ranges)
            said = f"{error} {error!r} {transport!r} {transport.notes}"
            assert error.message.startswith(("model.safetensors: ", "org/name: "))
            assert error.hint
            assert not any(secret in said for secret in (TOKEN, "SECRET", "Signature", "\n"))
            return error
        finally:
            assert not any(r.authorized for r in hub.asked(at="cdn"))
    assert sink.whole(ranges)
    return transport


def date(**ahead):
    return format_datetime(datetime.now(UTC) + timedelta(**ahead), usegmt=True)


SHIFTED = f"bytes {RANGES[0][0] + 1}-{RANGES[0][1]}/{len(DATA)}"

ONCE_MENDED = [
    Fault("reset", after=5000),
    Fault("reset", after=0),
    Fault("drop", after=5000),
    Fault("drop", after=0),
    Fault("short-chunked", after=5000),
    Fault("chunked"),
    Fault("drip", after=100, wait_s=0.05),
    Fault("drip-headers", wait_s=0.05),
    Fault("hang"),
    Fault("status", after=429, headers={"Retry-After": "0"}),
    Fault("status", after=429, headers={"Retry-After": date(seconds=-5)}),
    Fault("status", after=503, headers={"Retry-After": "nonsense"}),
    *(Fault("status", after=code) for code in (408, 500, 502, 503, 504)),
]
ALWAYS = [
    (Fault("reset", after=0), "given up after .* attempts, the last: .*the connection dropped"),
    (Fault("drop", after=0), "given up after .* attempts, the last: .*the connection dropped"),
    (Fault("short-chunked", after=0), "ended the body 90,000 bytes early"),
    (Fault("drip", after=20), "the last: stalled: [0-9]+ bytes in 0 s"),
    (Fault("drip-headers"), "no answer in time"),
    (Fault("hang"), "no answer in time"),
    (Fault("status", after=429), "the last: .* answered with status 429"),
    (Fault("status", after=500), "the last: .* answered with status 500"),
    (
        Fault("status", after=503, headers={"Retry-After": "9000"}),
        "asks for a pause of 9,000 s; run again after 20.* UTC",
    ),
    (Fault("status", after=503, headers={"Retry-After": date(days=900)}), "asks for a pause of 31,622,400 s"),
]
AT_ONCE = [
    (Fault("content-range", value=SHIFTED), "sent another range: expected bytes 8-90007/400000, found bytes 9-"),
    (Fault("content-range", value=f"bytes 8-90007/{len(DATA) + 1}"), "found bytes 8-90007/400001"),
    (Fault("content-range", value="bytes 8-90007/*"), r"found bytes 8-90007/\*"),
    (Fault("content-range", value="bytes=8-90007/Signature=SECRET"), "found another"),
    (Fault("no-header", value="Content-Range"), "found none"),
    (Fault("short", after=N - 1), f"body of another length: expected {N}, found {N - 1}"),
    (Fault("long", after=1), f"body of another length: expected {N}, found {N + 1}"),
    (Fault("long-chunked", after=1), "sent more than the 90,000 bytes asked for"),
    (Fault("gzip"), "sent it compressed, unasked"),
    (Fault("loop"), "more than 5 redirects"),
    (Fault("status", after=404), "status 404|no such model"),
    (Fault("status", after=416), "changed while it was read: it is shorter than"),
    (Fault("status", after=418), "answered with status 418"),
    (Fault("status", after=302), "redirects to nowhere"),
]
SLOW = {"drip", "drip-headers", "hang"}
BODIES = {"reset", "drop", "chunked", "short-chunked", "long-chunked", "drip", "short", "long", "gzip", "content-range"}


def label(case):
    fault = case[0] if isinstance(case, tuple) else case
    return f"{fault.kind}-{fault.value or fault.after}".replace(" ", "_")[:40]


def struck(fault, **changes):
    """A fresh copy, since faults count."""
    return dataclasses.replace(fault, **changes)


def served(direct, data=DATA):
    return LoopbackHub([Repo("org/name", {"model.safetensors": data}, direct=direct)])


def places(fault):
    """Where the fault can strike: a body goes wrong where it is sent; headers also on the way there."""
    return [(True, "hub"), (False, "cdn"), *([(False, "hub")] if fault.kind not in BODIES else [])]


def cases(faults):
    for case in faults:
        fault = case[0] if isinstance(case, tuple) else case
        for direct, at in places(fault):
            if fault.kind == "no-header" and (direct, at) == (False, "hub"):
                continue  # the redirect has none
            yield pytest.param(case, direct, at, id=f"{label(case)}-{'direct' if direct else at}")


@pytest.mark.parametrize(("fault", "direct", "at"), list(cases(ONCE_MENDED)))
def test_what_happens_twice_is_mended(fault, direct, at, hasty):
    with served(direct) as hub:
        result = attempt(hub, hasty, [struck(fault, at=at, times=2)])
        assert not isinstance(result, RemoteError), result
        # what had arrived is not asked for again
        sent = sum(r.sent for r in hub.asked(at=at) if r.status == 206)
        if fault.kind in ("drop", "short-chunked"):
            assert sent == pytest.approx(sum(b - a for a, b in RANGES), abs=200)  # the framing of chunks


@pytest.mark.parametrize(("case", "direct", "at"), list(cases(ALWAYS)))
def test_what_never_ends_is_given_up(case, direct, at, hasty):
    fault, words = case
    with served(direct) as hub:
        begun = time.monotonic()
        twice = dataclasses.replace(hasty, attempts=2)
        result = attempt(hub, twice, [struck(fault, at=at, times=None)], ranges=RANGES[:1])
        assert time.monotonic() - begun < 8
        assert isinstance(result, RemoteError)
        assert re.search(words, str(result))


@pytest.mark.parametrize(("case", "direct", "at"), list(cases(AT_ONCE)))
def test_what_lies_is_refused_at_once(case, direct, at, hasty):
    fault, words = case
    with served(direct) as hub:
        times = None if fault.kind == "loop" else 1
        result = attempt(hub, hasty, [struck(fault, at=at, times=times)], ranges=RANGES[:1])
        assert isinstance(result, RemoteError)
        assert re.search(words, str(result))
        assert fault.kind == "loop" or len({r.range for r in hub.requests}) == len(hub.asked(at=at)) == 1


@pytest.mark.parametrize("status", [401, 403, 410])
def test_an_expired_address_is_asked_for_anew(status, hasty):
    with served(direct=False) as hub:
        attempt(hub, hasty, [Fault("status", at="cdn", after=status, times=2)], ranges=RANGES[:1])
        assert [(r.at, r.status) for r in hub.requests] == [("hub", 302), ("cdn", status)] * 2 + [
            ("hub", 302),
            ("cdn", 206),
        ]
        error = attempt(hub, hasty, [Fault("status", at="cdn", after=status, times=None)], ranges=RANGES[:1])
        place = hub.cdn.removeprefix("http://")
        assert f"{place} refused the address that the Hub gave (status {status})" in str(error)


@pytest.mark.parametrize("direct", [True, False])
def test_a_small_file_may_come_whole(direct, hasty):
    with served(direct) as hub:
        at = "hub" if direct else "cdn"
        result = attempt(hub, hasty, [Fault("ignore-range", at=at, times=None)], max_workers=2)
        where = (hub.endpoint if direct else hub.cdn).removeprefix("http://")
        assert result.notes == [f"model.safetensors: {where} ignores ranges and sent the whole file"]
        # also where it breaks off first
        attempt(hub, hasty, [Fault("ignore-range", at=at, skip=2), Fault("drop", at=at, after=500)])


@pytest.mark.parametrize("direct", [True, False])
def test_a_large_file_may_not(direct, hasty):
    """It is refused by its headers: only what the sockets' buffers hold has left the server."""
    data = bytes(MAX_WHOLE_BYTES + 1)
    with served(direct, data) as hub:
        begun = time.monotonic()
        error = attempt(hub, hasty, [Fault("ignore-range", times=None)], data=data, ranges=[(0, 8)])
        assert "ignores ranges and would send the whole file (10,485,761 bytes)" in str(error)
        assert time.monotonic() - begun < 1
        assert len([r for r in hub.requests if r.status == 200]) == 1


def test_a_whole_file_of_another_length_is_refused(hasty):
    """As a proxy's log-in page would be."""
    with served(direct=True) as hub, served(direct=True, data=DATA + b"x") as other:
        portal = Fault("redirect", at="hub", value=other.url("org/name", "model.safetensors"))
        other.faults.append(Fault("ignore-range", times=None))
        error = attempt(hub, hasty, [portal], ranges=RANGES[:1])
        assert "body of another length: expected 400000, found 400001" in str(error)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("etag", at="hub", value='"other"'), "it has another ETag"),
        (Fault("etag", at="cdn", value='"other"'), "localhost:[0-9]+ gives it another ETag"),
        (Fault("no-header", at="cdn", value="ETag"), "localhost:[0-9]+ gives it another ETag"),
        (Fault("commit", at="hub", value="f" * 40), "commit ffffffffffff instead of [0-9a-f]{12}"),
    ],
    ids=["hub", "cdn", "cdn-none", "commit"],
)
@pytest.mark.parametrize("direct", [True, False])
def test_a_file_that_changes_midway_is_refused(fault, words, direct, hasty):
    if direct and fault.at == "cdn":
        fault = struck(fault, at="hub")
        words = ".*another ETag"
        if fault.kind == "no-header":
            words = "127.0.0.1:[0-9]+ gives it another ETag"
    with served(direct) as hub:
        error = attempt(hub, hasty, [struck(fault, skip=2)], max_workers=1)
        assert re.search(f"model.safetensors: changed while it was read: {words}.*; run again", str(error))


def test_a_branch_that_moves_does_not_matter(hasty):
    with served(direct=False) as hub:
        repo = hub.repos["org/name"]
        moved = repo.commit({"model.safetensors": DATA[::-1]})
        hub.faults.append(Fault("move", method="HEAD", value=moved))
        attempt(hub, hasty, [Fault("move", at="hub", skip=1, value=moved)])
        assert repo.main == moved


def test_bytes_behind_the_end_are_not_taken_for_the_next_answer(hasty):
    with served(direct=False) as hub:
        attempt(hub, hasty, [Fault("long-lie", at="cdn", times=None, after=900)], max_workers=1)
    with served(direct=True) as hub:
        attempt(hub, hasty, [Fault("long-lie", at="hub", times=2, after=900)], max_workers=1)


def test_a_flipped_byte_is_for_a_digest_to_find(hasty):
    """No header tells of it: what this module promises ends here, and the cache's sha256 begins."""
    with served(direct=False) as hub, Transport(endpoint=hub.endpoint, token=False, patience=hasty) as transport:
        file = transport.locate(hub.url("org/name", "model.safetensors"), "model.safetensors")
        hub.faults.append(Fault("flip", at="cdn", after=3))
        assert transport.read(file, 0, 8) == DATA[:3] + bytes([DATA[3] ^ 1]) + DATA[4:8]


@pytest.mark.parametrize("direct", [True, False])
def test_another_storage_host_may_serve_it(direct, hasty):
    """The redirect is followed, the token is not; an anonymous Hub over there that has the file gives it."""
    with served(direct) as hub, served(direct=True) as other:
        where = other.url("org/name", "model.safetensors")
        attempt(hub, hasty, [Fault("redirect", at="hub" if direct else "cdn", times=3, value=where)])
        assert len(other.requests) == 3
        assert not any(r.authorized or r.cookie for r in other.requests)


def test_a_line_that_brings_something_each_time_is_kept(hasty):
    with served(direct=False) as hub:
        attempt(hub, hasty, [Fault("drop", at="cdn", times=8, after=10_000)], ranges=RANGES[:1])
        starts = [int(r.range[6:].partition("-")[0]) for r in hub.asked(at="cdn")]
        assert starts == [8 + 10_000 * i for i in range(9)]  # never a byte twice


def test_but_not_for_ever(hasty):
    with served(direct=False) as hub:
        bounded = dataclasses.replace(hasty, total_attempts=7)
        error = attempt(hub, bounded, [Fault("drop", at="cdn", times=None, after=1)], ranges=RANGES[:1])
        assert "given up after 7 attempts" in str(error)
        assert len(hub.asked(at="cdn")) == 7


@pytest.mark.parametrize("value", [lambda: "1", lambda: date(seconds=2)], ids=["seconds", "date"])
def test_a_pause_that_is_asked_for_is_made(value, hasty):
    with served(direct=False) as hub:
        pause = Fault("status", at="hub", after=429, headers={"Retry-After": value()})
        begun = time.monotonic()
        attempt(hub, hasty, [pause], ranges=RANGES[:1])
        assert 0.9 <= time.monotonic() - begun < 4


def test_a_slow_line_is_not_a_stall(hasty):
    with served(direct=False) as hub:
        slow = dataclasses.replace(hasty, min_bytes_per_s=1000, attempts=1)
        attempt(hub, slow, [Fault("drip", at="cdn", after=100, wait_s=0.01)], ranges=[(0, 5000)])


SOME = st.sampled_from([*ONCE_MENDED[:6], *ONCE_MENDED[9:], *(fault for fault, _ in AT_ONCE), Fault("ignore-range")])


@pytest.mark.parametrize("direct", [True, False])
def test_any_mixture_ends_in_the_right_bytes_or_in_an_error(direct, hasty):
    swift = dataclasses.replace(hasty, backoff_s=0, attempts=4)
    with served(direct) as hub:

        @given(st.lists(st.tuples(SOME, st.integers(0, 6), st.sampled_from(["hub", "cdn"])), max_size=5))
        def check(mixture):
            attempt(hub, swift, [struck(fault, skip=skip, at=at) for fault, skip, at in mixture])

        check()
