"""One thread within, as many as before after, whatever happens."""

import pytest
import torch

from forensics.updates.threads import one_thread


def test_one_thread_and_back():
    torch.set_num_threads(2)  # the fixture of this folder gives back what was before
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2
