"""What tests of the transport share; nothing here acts on a test that does not ask for it."""

import dataclasses
import signal

import huggingface_hub
import pytest

from forensics.hub.transfer import Patience

TOKEN = "hf_SECRETtoken"


@pytest.fixture
def alarm():
    """No test of the transport may hang: after 20 seconds it fails."""

    def ring(*_):
        pytest.fail("hung")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 20, 5)  # again and again: a test may catch the first
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def fresh_client(monkeypatch):
    """The client without the machine's login; its connections closed in the end."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield
    huggingface_hub.close_session()


@pytest.fixture
def hasty():
    """Waits that a test can afford."""
    return Patience(
        connect_s=0.3,
        read_s=0.3,
        attempts=3,
        backoff_s=0.001,
        max_backoff_s=0.002,
        window_s=0.2,
        min_bytes_per_s=10_000,
    )


@pytest.fixture
def steady(hasty):
    """Quick retries, and time-outs that a busy machine does not reach."""
    return dataclasses.replace(hasty, connect_s=5, read_s=10, window_s=10)
