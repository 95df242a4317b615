"""A local file that stands for a remote one, and what fetches ranges of it; run as a script, a process to be killed."""

import hashlib
import itertools
import json
import os
import queue
import resource
import sys
import threading
import time
from pathlib import Path

import numpy as np

from forensics.checkpoint.stored import StoredTensor
from forensics.embedding import row_bytes
from forensics.formats import FLOAT16
from forensics.hub import entry, partial
from forensics.hub.cache import TensorCache
from forensics.hub.wanted import Wanted

COMMIT = "0123456789abcdef" * 2 + "01234567"
OFFSET = 1_003  # odd: nothing may rely on a remote file's alignment
TAIL = 57
TENSOR = "model.embed_tokens.weight"


def plant(path, *, rows=40, dim=32, fmt=FLOAT16, dtype=None, name=TENSOR, etag="etag-1", seed=0, **key):
    """Writes a file that holds a tensor somewhere inside; what to ask for, and the tensor's bytes."""
    n_bytes = rows * row_bytes(fmt, dim)
    content = np.random.default_rng(seed).bytes(OFFSET + n_bytes + TAIL)
    path.write_bytes(content)
    tensor = StoredTensor(name, (rows, dim), dtype or fmt.stored_as, fmt, path, OFFSET, n_bytes)
    where = {"repo": "org/model", "commit": COMMIT, "file": "model-00001-of-00002.safetensors"} | key
    return Wanted.of(tensor, **where, etag=etag, file_size=len(content)), content[OFFSET : OFFSET + n_bytes]


def fetcher(path, *, workers=1, piece_bytes=1 << 20, before_piece=None, asked=None):
    """Fetches ranges as the transport does: several at a time, each in pieces, in order."""

    def fetch(ranges, write, done):
        todo, failures = queue.SimpleQueue(), []
        for span in ranges:
            todo.put(span)

        def work():
            try:
                with path.open("rb") as file:
                    while not failures:
                        one(file, *todo.get_nowait())
            except queue.Empty:
                pass
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again below, in the caller's thread
                failures.append(error)

        def one(file, start, stop):
            if asked is not None:
                asked((start, stop))
            file.seek(start)
            for position in range(start, stop, piece_bytes):
                if before_piece:
                    before_piece()
                write(position, memoryview(file.read(min(piece_bytes, stop - position))))
            done((start, stop))

        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    return fetch


def digest(content):
    return hashlib.sha256(content).hexdigest()


def die(*_):
    os.kill(os.getpid(), 9)


def die_in_the_middle_of_a_line(handle, piece, offset=None):
    """A torn journal line: half of it is written as the process ends."""
    if offset is None:
        os.write(handle, piece[: len(piece) // 2])
        die()
    os.pwrite(handle, piece, offset)


def main(path, cache, workers, chunk_bytes, piece_bytes, delay_s, hold_after, die_at, max_file_bytes):
    """Fetches the planted tensor; a dot to stdout for every piece that was written, its digest at the end."""
    partial.CHUNK_BYTES = chunk_bytes
    if max_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    if die_at == "the journal's line":
        partial._write_all = die_in_the_middle_of_a_line
    if die_at == "the resumption":
        partial.write_whole = die
    if die_at == "the renaming":
        rename = Path.replace
        Path.replace = lambda self, target: die() if self.suffix == ".partial" else rename(self, target)
    if die_at == "the manifest":
        entry.write_whole = die
    if die_at == "half a manifest":
        write = Path.write_bytes
        Path.write_bytes = lambda self, raw: (
            (write(self, raw[:99]), die()) if ".json" in self.name else write(self, raw)
        )
    if die_at == "the journal's end":
        unlink = Path.unlink
        Path.unlink = lambda self, **kwargs: die() if self.suffix == ".journal" else unlink(self, **kwargs)
    wanted, _ = plant_again(Path(path))
    log = os.open(f"{cache}.asked", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    count = itertools.count(1)

    def before_piece():
        held = next(count) > hold_after
        os.write(1, b"" if held else b".")
        time.sleep(3_600 if held else delay_s)

    fetch = fetcher(
        Path(path),
        workers=workers,
        piece_bytes=piece_bytes,
        before_piece=before_piece,
        asked=lambda span: os.write(log, b"%d\n" % span[0]),
    )
    found = TensorCache(Path(cache)).fetch(wanted, fetch, waiting=lambda text: os.write(1, f"({text})".encode()))
    os.write(1, f" {found.sha256}\n".encode())


def plant_again(path):
    """What :func:`plant` gave for a file of this size, the file left alone."""
    content = path.read_bytes()
    n_bytes = len(content) - OFFSET - TAIL
    tensor = StoredTensor(TENSOR, (n_bytes // 64, 32), "F16", FLOAT16, path, OFFSET, n_bytes)
    where = {"repo": "org/model", "commit": COMMIT, "file": "model-00001-of-00002.safetensors"}
    return Wanted.of(tensor, **where, etag="etag-1", file_size=len(content)), content[OFFSET : OFFSET + n_bytes]


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
