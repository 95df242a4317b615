"""The real Hub: ``pytest -m network`` for whoever has a network. One small public model, some 60 MB are fetched."""

import pytest

import forensics
from forensics.hub.client import HubOptions

MODEL = "HuggingFaceTB/SmolLM2-135M"


@pytest.mark.network
def test_a_small_public_model(tmp_path):
    options = HubOptions(cache=tmp_path / "cache", hub_cache=tmp_path / "hub")
    checkpoint = forensics.open_checkpoint(MODEL, hub=options)
    assert checkpoint.source.location == MODEL and len(checkpoint.source.revision) == 40
    assert checkpoint.matrix().rows_bytes.shape == (49_152, 576 * 2)
    result = forensics.scan(checkpoint)
    fetched = sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*.safetensors"))
    assert fetched < 1.01 * checkpoint.matrix().rows_bytes.nbytes
    pinned = forensics.open_checkpoint(
        checkpoint.source.argument, hub=HubOptions(offline=True, cache=options.cache, hub_cache=options.hub_cache)
    )
    assert forensics.scan(pinned).to_dict() == result.to_dict()
