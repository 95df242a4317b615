"""One torch thread for small tensors: a worker's words are then the same beside others, and come sooner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Some hundred thousand elements are done before a second thread is awake; afterwards there are as many again."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
