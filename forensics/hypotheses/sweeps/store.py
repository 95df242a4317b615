"""Simulations kept on disk as they come: a kill costs those under way, and a second run goes on with the rest."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from forensics.errors import ConfigError, OutputError, RecordingError
from forensics.hypotheses.sweeps.simulation import Simulation
from forensics.recording.lock import FolderLock
from forensics.text import visible

SCHEMA = "forensics.simulations/1"

CODE = "code_sha256"
"""The setting that stands for the simulators' code."""

SETTINGS_FILE = "settings.json"

SYNC_S = 5.0
"""Seconds of simulations that a power cut may cost; a kill costs only those that were not handed over yet."""


class Store:
    """Simulations by hypothesis and number: a folder with settings.json and one JSON-lines file a hypothesis.

    Lines are appended as simulations end, in any order; :meth:`close` sorts them, so that the same simulations are
    the same bytes however they were come by.

    Args:
        folder: made if it is not there; None keeps everything in memory.
        settings: what every simulation depends on: plain JSON values.
        digests: of each hypothesis's source by its name, so that an edited one is not mixed with its old self.

    Raises:
        ConfigError: the folder's simulations are of other settings or of another version of a hypothesis.
        RecordingError: the folder is in use, or damaged.
        OutputError: the file system refused.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any], digests: Mapping[str, str]) -> None:
        self._folder, self._files = folder, dict[str, BinaryIO]()
        self._held: dict[str, dict[int, Simulation]] = {name: {} for name in digests}
        self._in_order, self._synced = dict.fromkeys(digests, True), time.monotonic()
        self._lock: FolderLock | None = None
        if folder is None:
            return
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
            try:
                _agree(folder, settings, digests)
                for name in digests:
                    self._read(folder, name)
            except BaseException:
                self._lock.release()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def missing(self, name: str, n: int) -> list[int]:
        """The numbers below ``n`` that are yet to be simulated."""
        held = self._held[name]
        return [index for index in range(n) if index not in held]

    def simulations(self, name: str, n: int) -> tuple[Simulation, ...]:
        """Those numbered below ``n``, ascending."""
        held = self._held[name]
        return tuple(held[index] for index in sorted(held) if index < n)

    def add(self, simulations: Iterable[Simulation]) -> None:
        """Keeps simulations, on disk before it returns (a power cut aside).

        Raises:
            OutputError: the file system refused; what was kept before stays.
        """
        lines: dict[str, list[bytes]] = {}
        for simulation in simulations:
            held = self._held[simulation.hypothesis]
            self._in_order[simulation.hypothesis] &= not held or simulation.index > next(reversed(held))
            held[simulation.index] = simulation
            lines.setdefault(simulation.hypothesis, []).append(_line(simulation))
        if self._folder is None:
            return
        with _writing(self._folder):
            for name, texts in lines.items():
                _append(self._file(name), b"".join(texts))
            if time.monotonic() - self._synced > SYNC_S:
                self._sync()

    def close(self) -> None:
        """Sorts the files and gives the folder free; once is enough.

        Raises:
            OutputError: the file system refused.
        """
        if self._lock is None or self._folder is None:
            return
        try:
            with _writing(self._folder):
                self._sync()
                for name, in_order in self._in_order.items():
                    if not in_order:
                        held = self._held[name]
                        lines = (_line(held[index]) for index in sorted(held))
                        _replace(self._folder / _file_name(name), b"".join(lines))
        finally:
            for file in self._files.values():
                file.close()
            self._lock.release()
            self._lock = None

    def _file(self, name: str) -> BinaryIO:
        assert self._folder is not None
        if name not in self._files:
            self._files[name] = (self._folder / _file_name(name)).open("ab", buffering=0)
        return self._files[name]

    def _sync(self) -> None:
        for file in self._files.values():
            os.fsync(file.fileno())
        self._synced = time.monotonic()

    def _read(self, folder: Path, name: str) -> None:
        path = folder / _file_name(name)
        if not path.is_file():
            return
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # the line that a kill tore
            os.truncate(path, whole)
        for number, line in enumerate(content[:whole].splitlines(), 1):
            simulation = _parsed(name, line, f"{folder.name}/{path.name}: line {number}")
            if simulation.index in self._held[name]:
                raise _damaged(f"{folder.name}/{path.name}: line {number}", f"simulation {simulation.index} again")
            self._in_order[name] &= not self._held[name] or simulation.index > next(reversed(self._held[name]))
            self._held[name][simulation.index] = simulation


def _append(file: BinaryIO, content: bytes) -> None:
    """Past every buffer of this process: a kill leaves whole lines, or at worst a torn last one."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _file_name(name: str) -> str:
    return f"{name}.jsonl"


def _line(simulation: Simulation) -> bytes:
    return json.dumps(simulation.to_dict(), allow_nan=False).encode() + b"\n"


def _parsed(name: str, line: bytes, where: str) -> Simulation:
    try:
        found = json.loads(line, parse_constant=_no_number)
        index, parameters, observables, error = (found[key] for key in ("index", "parameters", "observables", "error"))
        sound = type(index) is int and index >= 0 and (error is None or isinstance(error, str))
        sound = sound and all(isinstance(value, str | float) for value in parameters.values())
        sound = sound and all(value is None or isinstance(value, int | float) for value in observables.values())
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error_found:
        raise _damaged(where, type(error_found).__name__) from error_found
    if not sound:
        raise _damaged(where, "not a simulation")
    return Simulation(name, index, dict(parameters), dict(observables), error)


def _no_number(text: str) -> float:
    raise ValueError(text)


def _damaged(where: str, what: str) -> RecordingError:
    return RecordingError(f"{where} is damaged ({what})", hint="remove that file: its simulations are drawn again")


def _agree(folder: Path, settings: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """Holds the folder's settings against these, and adds the hypotheses that are new to it."""
    path = folder / SETTINGS_FILE
    kept = _read_settings(path, folder) if path.is_file() else None
    if kept is None:
        if any(folder.glob("*.jsonl")):
            raise RecordingError(f"{folder.name}: simulations without {SETTINGS_FILE}", hint="choose another folder")
        kept = {"schema": SCHEMA, "settings": dict(settings), "hypotheses": {}}
    before = kept["settings"]
    for key in sorted(settings.keys() | before.keys()):
        if settings.get(key) != before.get(key) and key == CODE:
            _refuse(folder, "the simulators changed since")
        if settings.get(key) != before.get(key):
            _refuse(folder, _changed(key, before.get(key), settings.get(key)))
    for name, digest in digests.items():
        if kept["hypotheses"].get(name, digest) != digest:
            _refuse(folder, f"hypothesis {name} has been edited since")
    merged = {**kept, "hypotheses": {**kept["hypotheses"], **digests}}
    if merged != kept or not path.is_file():
        _replace(path, (json.dumps(merged, indent=1, sort_keys=True) + "\n").encode())


def _read_settings(path: Path, folder: Path) -> dict[str, Any]:
    where = f"{folder.name}/{SETTINGS_FILE}"
    try:
        found = json.loads(path.read_bytes())
        schema = found["schema"]
        sound = isinstance(found["settings"], dict) and isinstance(found["hypotheses"], dict)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise RecordingError(f"{where} is damaged ({type(error).__name__})", hint="choose another folder") from error
    if schema != SCHEMA or not sound:
        found_schema = visible(str(schema)[:60])
        raise RecordingError(f"{where}: expected {SCHEMA}, found {found_schema}", hint="choose another folder")
    return dict(found)


def _refuse(folder: Path, what: str) -> None:
    raise ConfigError(
        f"{folder}: these simulations are not of what is asked for: {what}",
        hint="choose another folder (--store), or remove this one to draw them anew",
    )


def _changed(key: str, before: Any, now: Any) -> str:
    """What differs, down to the innermost key."""
    if isinstance(before, dict) and isinstance(now, dict):
        inner = min(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
        return _changed(f"{key}.{inner}", before.get(inner), now.get(inner))
    return f"{key} was {_shown(before)}, now it is {_shown(now)}"


def _shown(value: Any) -> str:
    return visible(json.dumps(value)[:40])


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _locked(folder: Path) -> FolderLock:
    try:
        return FolderLock(folder)
    except RecordingError:
        raise RecordingError(
            f"{folder.name}: another process runs simulations into this folder",
            hint="wait for it, or choose another folder",
        ) from None


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{folder}: simulations cannot be kept here ({error.strerror or error})",
            hint="free some space: what was kept before stays"
            if error.errno == errno.ENOSPC
            else "choose another folder with --out or --store",
        ) from error
