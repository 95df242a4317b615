"""Where a run is trained, and what its words depend on besides its settings."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from forensics.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA or MPS where there is one.

    Raises:
        ConfigError: it is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda", "mps") if there[kind]), "cpu"))
    kind, colon, index = name.partition(":")
    is_index = not colon or (kind == "cuda" and index.isascii() and index.isdecimal())
    if kind not in there or not is_index:
        raise ConfigError(f"{name!r} is not a device", hint="auto, cpu, cuda, cuda:N or mps")
    if not there[kind] or (kind == "cuda" and int(index or 0) >= torch.cuda.device_count()):
        found = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise ConfigError(f"device {name} is not there", hint=f"this machine has: {found}")
    return torch.device(name)


def prepare(device: torch.device, threads: int) -> None:
    """Makes torch give the same words again: sums are split among threads, so their number is in the words."""
    if threads > 4 * (os.cpu_count() or 1):
        raise ConfigError(f"threads is {threads}; this machine has {os.cpu_count()} processors")
    if threads:
        torch.set_num_threads(threads)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def environment(device: torch.device) -> dict[str, Any]:
    """What the words depend on besides the settings."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "torch": str(torch.__version__),
        "device": device.type,
        "processor": f"{platform.machine()} {kind}",
        "threads": torch.get_num_threads(),
    }


def same_environment(path: Path, was: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuses to go on where the words would not be the same.

    Raises:
        ConfigError: another torch, device or processor.
    """
    for key in ("torch", "device", "processor"):
        if was[key] != now[key]:
            raise ConfigError(
                f"{path.name}: it began with {key} {was[key]}, here it is {now[key]}; the words would differ",
                hint="resume where it began, or begin a new run",
            )
