"""The process in which one contender reads the embedding: imports first, then waits for the word, then reads.

Each prints the digest of the tensor's bytes, taken after the clock has stopped but for ours, which takes it as it
fetches; and for ours the seconds from the last byte to a matrix.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

REPO, SHARD, TENSOR = "org/name", "model-00002-of-00003.safetensors", "model.embed_tokens.weight"


def _place(read: Any) -> tuple[int, int]:
    """First byte and number of bytes of the tensor, from the header, as everybody would parse it."""
    length = int.from_bytes(read(0, 8), "little")
    start, stop = json.loads(read(8, length))[TENSOR]["data_offsets"]
    return 8 + length + start, stop - start


def plain_stream() -> Any:
    """Ranged requests by huggingface_hub's session, streamed into one buffer."""
    from huggingface_hub import constants, get_session, hf_hub_url

    url, session = hf_hub_url(REPO, SHARD, endpoint=constants.ENDPOINT), get_session()

    def read(start: int, n_bytes: int) -> bytearray:
        buffer, at = bytearray(n_bytes), 0
        headers = {"Range": f"bytes={start}-{start + n_bytes - 1}"}
        with session.stream("GET", url, headers=headers, follow_redirects=True) as response:
            for piece in response.iter_raw():
                buffer[at : at + len(piece)] = piece
                at += len(piece)
        return buffer

    return read(*_place(read))


def download_shard() -> Any:
    """The whole shard into the Hub's cache, then the tensor's bytes of it."""
    from huggingface_hub import hf_hub_download

    with Path(hf_hub_download(REPO, SHARD)).open("rb") as file:

        def read(start: int, n_bytes: int) -> bytes:
            file.seek(start)
            return file.read(n_bytes)

        return read(*_place(read))


def file_system(**options: Any) -> Any:
    """The tensor's bytes through fsspec."""
    from huggingface_hub import HfFileSystem

    with HfFileSystem().open(f"{REPO}/{SHARD}", "rb", **options) as file:

        def read(start: int, n_bytes: int) -> bytes:
            file.seek(start)
            return bytes(file.read(n_bytes))

        return read(*_place(read))


def file_system_exact() -> Any:
    """The same without read-ahead."""
    return file_system(cache_type="none")


def main() -> None:
    """``python -m benchmarks.hub_child CONTENDER``, with HF_ENDPOINT, HF_HOME and FORENSICS_CACHE set."""
    import huggingface_hub  # noqa: F401 - not part of anybody's time
    import numpy  # noqa: F401

    from forensics.hub.client import HubOptions, Watch
    from forensics.sources import open_checkpoint

    class Clock(Watch):
        last = 0.0

        def advance(self, n_bytes: int) -> None:
            self.last = time.perf_counter()

    clock = Clock()
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    if sys.argv[1] == "forensics":
        digest = open_checkpoint(REPO, hub=HubOptions(watch=clock)).matrix().sha256
        stop = time.perf_counter()
        digest = f"{digest}/{stop - clock.last:.3f}"
    else:
        raw = globals()[sys.argv[1]]()
        stop = time.perf_counter()
        digest = hashlib.sha256(raw).hexdigest()
    print(digest, stop - start)


if __name__ == "__main__":
    main()
