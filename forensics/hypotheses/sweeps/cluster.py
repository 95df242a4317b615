"""A Dask cluster by its scheduler's address, as joblib's backend: found fit before, watched while it works."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from forensics.errors import SchedulerError
from forensics.hypotheses.context import Context
from forensics.text import visible

if TYPE_CHECKING:
    from concurrent.futures import Future

    from distributed import Client

CONNECT_S = 5.0
"""Seconds to wait for a scheduler: it answers in milliseconds if it is there."""

PACKAGES = ("forensics", "numpy")
"""What a worker must have in this process's version: numpy's generators may change between two of its versions."""


def check_scheduler(address: str) -> None:
    """Asks whether a cluster can run simulations, before time is spent on anything else.

    Raises:
        SchedulerError: no scheduler answers there, or its workers are none or not fit.
    """
    with _connected(address):
        pass


@contextmanager
def cluster(address: str, context: Context) -> Iterator[None]:
    """Lets joblib run on the cluster, each of whose workers is sent the context once.

    Raises:
        SchedulerError: no scheduler answers there, its workers are none or not fit, or all are lost.
    """
    from joblib import parallel_config

    with _connected(address) as client, parallel_config(_backend(client, context), n_jobs=-1):
        yield


def versions() -> dict[str, str]:
    """This process's versions of what must agree."""
    import importlib

    return {name: str(importlib.import_module(name).__version__) for name in PACKAGES}


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        hint = "pip install 'embedding-forensics[cluster]'"
        raise SchedulerError(f"a cluster needs {error.name}, which is not installed", hint=hint) from None
    with _quiet():
        try:
            # A client that fails to connect stays half made and complains as it ends: knock first, on a thread of its
            # own, since a notebook's already runs a loop.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, _knock(address)).result()
            client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:  # out of reach, or no address at all
            raise SchedulerError(
                f"no scheduler answers at {visible(address)!r} ({' '.join(str(error).split())[:120]})",
                hint="start one with `dask scheduler`, or leave --scheduler away: --workers runs here",
            ) from None
        try:
            _check_workers(client, address)
            yield client
        finally:
            client.close()


async def _knock(address: str) -> None:
    from distributed import connect

    comm = await connect(address, timeout=CONNECT_S)
    await comm.close()


def _check_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError:
        hint = f"start some with `dask worker {address}`"
        raise SchedulerError(f"the scheduler at {address} has no workers", hint=hint) from None
    ours = versions()
    answers: Mapping[str, Any] = client.run(versions, on_error="return")
    for worker, answer in sorted(answers.items()):
        if answer != ours:
            raise SchedulerError(
                f"worker {worker} cannot run this: expected {_listed(ours)}, found {_listed(answer)}",
                hint="install the same version of embedding-forensics for the workers",
            )


def _listed(found: Any) -> str:
    if isinstance(found, dict):
        return ", ".join(f"{name} {version}" for name, version in found.items())
    return f"{type(found).__name__}: {found}"[:160]


def _backend(client: Client, context: Context) -> Any:
    """The Dask backend of joblib backend, which by itself waits for ever for a task that was given up."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc]
        """Hands over what ended a task from outside, as joblib hands over what the task raised."""

        def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Any:
            future = super().submit(func, callback)

            def given_up(ended: Future[Any]) -> None:
                error = ended.exception()
                if error is not None and callback is not None:
                    callback(_lost(f"a simulation ended its workers ({error})"))

            future.add_done_callback(given_up)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, CancelledError):
                # The context lies on the workers: with the last of them, or the scheduler, all that needs it ends.
                raise _lost("the cluster has lost its scheduler, or all of its workers")
            return super().retrieve_result_callback(out)

    return Backend(client=client, scatter=[context])


def _lost(what: str) -> SchedulerError:
    return SchedulerError(" ".join(what.split())[:200], hint="run it again: what was simulated before is kept")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps distributed from logging tracebacks of what is said here in one line."""
    names = ["distributed", *(name for name in logging.root.manager.loggerDict if name.startswith("distributed."))]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
