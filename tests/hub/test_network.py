"""The real Hub: ``pytest -m network`` for whoever has a network. One small public model, some 60 MB are fetched."""

import pytest

import forensics
from forensics.hub.client import HubOptions, Watch

MODEL = "HuggingFaceTB/SmolLM2-135M"


class Counter(Watch):
    n_bytes = 0

    def advance(self, n_bytes):
        self.n_bytes += n_bytes


@pytest.mark.network
def test_a_small_public_model(tmp_path):
    options = HubOptions(cache=tmp_path / "cache", hub_cache=tmp_path / "hub", watch=Counter())
    checkpoint = forensics.open_checkpoint(MODEL, hub=options)
    assert checkpoint.source.location == MODEL and len(checkpoint.source.revision) == 40
    assert checkpoint.matrix().rows_bytes.shape == (49_152, 576 * 2)
    result = forensics.scan(checkpoint)
    small = sum(p.stat().st_size for p in (tmp_path / "hub").rglob("*") if p.is_file())
    n_bytes = checkpoint.matrix().rows_bytes.nbytes
    assert n_bytes <= options.watch.n_bytes - small < 1.01 * n_bytes
    pinned = forensics.open_checkpoint(
        checkpoint.source.argument, hub=HubOptions(offline=True, cache=options.cache, hub_cache=options.hub_cache)
    )
    assert forensics.scan(pinned).to_dict() == result.to_dict()
