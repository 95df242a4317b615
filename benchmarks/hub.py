"""``python -m benchmarks hub``: one embedding of a sharded model, over a loopback Hub, against the usual ways."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.hub_child import SHARD, TENSOR
from benchmarks.measure import Result, run_function
from forensics.checkpoint.safetensors_file import OutgoingTensor, write_safetensors
from tests.hub.loopback import LoopbackHub, Repo

CONTENDERS = {
    "forensics": "forensics (fetched, hashed, mapped)",
    "plain_stream": "plain ranged stream into memory (the limit here)",
    "download_shard": "hf_hub_download of the shard",
    "file_system": "HfFileSystem, default read-ahead",
    "file_system_exact": 'HfFileSystem, cache_type="none"',
}


def run(rows: int, dim: int, repeats: int) -> None:
    """Prints the table for an embedding of that size in a model of five times its bytes."""
    with tempfile.TemporaryDirectory(prefix="forensics-benchmark-") as temporary:
        place = Path(temporary)
        total = _write_model(place / "model", rows, dim)
        n_bytes = rows * dim * 2
        print(
            f"A bfloat16 embedding of {rows:,} x {dim:,} ({n_bytes / 1e6:,.1f} MB) in a model of {total / 1e6:,.0f} MB,"
        )
        print(f"three shards, Hub and CDN on the loopback interface. Medians of {repeats}, in turn.\n")
        with LoopbackHub([Repo.from_folder("org/name", place / "model")]) as hub:
            _table(hub, place, n_bytes, repeats)


def _table(hub: LoopbackHub, place: Path, n_bytes: int, repeats: int) -> None:
    runs: dict[str, list[tuple[Result, int, int]]] = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name in CONTENDERS:
            shutil.rmtree(place / "caches", ignore_errors=True)
            sent, asked = hub.bytes_sent(SHARD), len(hub.requests)
            environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(place / "caches" / "hf"),
                           "FORENSICS_CACHE": str(place / "caches" / "forensics")}  # fmt: skip
            result = run_function(name, [], 1, module="benchmarks.hub_child", environment=environment)
            requests = sum(r.path == SHARD and r.status != 302 for r in hub.requests[asked:])
            runs[name].append((result, hub.bytes_sent(SHARD) - sent, requests))
    if len({result.answer.partition("/")[0] for of_one in runs.values() for result, *_ in of_one}) > 1:
        raise SystemExit(f"the contenders read different bytes: {runs}")
    print("| one tensor of one shard | seconds | times ours | MB on the wire | times the tensor | requests | MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    seconds = {name: float(np.median([result.seconds for result, *_ in of_one])) for name, of_one in runs.items()}
    for name, of_one in runs.items():
        wire, requests = max(sent for _, sent, _ in of_one), max(requests for *_, requests in of_one)
        memory = max(result.megabytes for result, *_ in of_one)
        times = f"{seconds[name]:.2f} | {seconds[name] / seconds['forensics']:.2f}"
        print(
            f"| {CONTENDERS[name]} | {times} | {wire / 1e6:,.1f} | {wire / n_bytes:.3f} | {requests} | {memory:,.0f} |"
        )
    waits = [float(result.answer.partition("/")[2]) for result, *_ in runs["forensics"]]
    print(f"\nFrom the last byte to a matrix that can be scanned: {np.median(waits):.2f} s.")


def _write_model(folder: Path, rows: int, dim: int) -> int:
    """Three shards: the embedding with half as much again beside it, and two of others."""
    folder.mkdir()
    weight_map: dict[str, str] = {}
    total = 0
    for number in (1, 2, 3):
        shard = f"model-{number:05}-of-00003.safetensors"
        tensors = [_zeros(f"model.layers.{number}.mlp.weight", int(rows * 1.4), dim)]
        if shard == SHARD:
            tensors.append(OutgoingTensor(TENSOR, "BF16", (rows, dim), _random(rows, dim)))
        write_safetensors(folder / shard, tensors)
        weight_map |= {tensor.name: shard for tensor in tensors}
        total += (folder / shard).stat().st_size
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text(
        json.dumps({"vocab_size": rows, "hidden_size": dim, "tie_word_embeddings": True})
    )
    return total


def _random(rows: int, dim: int):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    for start in range(0, rows, 4_096):
        yield rng.integers(0, 1 << 15, (min(4_096, rows - start), dim), np.uint16)


def _zeros(name: str, rows: int, dim: int) -> OutgoingTensor:
    pieces = (np.zeros((min(4_096, rows - start), dim), np.uint16) for start in range(0, rows, 4_096))
    return OutgoingTensor(name, "BF16", (rows, dim), pieces)
