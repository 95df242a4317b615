"""Runs simulations in this process, in processes of this machine, or on a cluster: the same records from all three."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from forensics.errors import SchedulerError
from forensics.hypotheses.context import Context
from forensics.hypotheses.sweeps.reference import Reference
from forensics.hypotheses.sweeps.simulation import Simulation, simulate_one

CHUNK = 25
"""Simulations handed over at once: about 0.1 s of static ones, so that handing over costs a few percent."""


@dataclass(frozen=True, slots=True)
class Task:
    """Simulations of one hypothesis, by their numbers."""

    reference: Reference
    seed: int
    indices: tuple[int, ...]


def make_tasks(missing: Mapping[Reference, Sequence[int]], seed: int) -> list[Task]:
    """Chunks of simulations; the slow ones go first and singly, so that no worker ends long after the others."""
    tasks = []
    for reference in sorted(missing, key=lambda r: not r.hypothesis.slow):
        size = 1 if reference.hypothesis.slow else CHUNK
        indices = missing[reference]
        tasks += [Task(reference, seed, tuple(indices[i : i + size])) for i in range(0, len(indices), size)]
    return tasks


def sweep(
    tasks: Sequence[Task], context: Context, *, workers: int = 1, scheduler: str | None = None
) -> Iterator[list[Simulation]]:
    """Runs the tasks and gives their simulations as they end, in no fixed order.

    A worker computes on one thread, wherever it is: sums do not depend on how many cores there are.

    Args:
        tasks: what to run.
        context: what the simulators are told; sent once to each worker of a cluster, and large arrays of it once to
            this machine's processes, by a memory-mapped file.
        workers: processes of this machine; with 1 this process itself.
        scheduler: address of a Dask scheduler whose workers run instead, such as tcp://host:8786.

    Raises:
        SchedulerError: no scheduler, no fitting workers, or workers that were lost on the way.
    """
    if not tasks:
        return
    if scheduler is None and workers == 1:
        yield from ([simulation] for task in tasks for simulation in _simulations(task, context))
        return
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with ExitStack() as stack:
        if scheduler is None:
            stack.enter_context(parallel_config("loky", n_jobs=workers, inner_max_num_threads=1))
        else:
            from forensics.hypotheses.sweeps.cluster import cluster

            stack.enter_context(cluster(scheduler, context))
        # Batches of one: the chunks are the batches, and a result that waits for others is lost in a kill.
        parallel = Parallel(return_as="generator_unordered", batch_size=1)
        results: Iterable[list[Simulation]] = parallel(delayed(run_task)(task, context) for task in tasks)
        try:
            yield from results
        except TerminatedWorkerError as error:
            raise SchedulerError(
                "a worker process was ended from outside, perhaps for want of memory",
                hint="run it again with fewer --workers: what was simulated is kept",
            ) from error


def run_task(task: Task, context: Context) -> list[Simulation]:
    """What a worker runs."""
    return list(_simulations(task, context))


def _simulations(task: Task, context: Context) -> Iterator[Simulation]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        for index in task.indices:
            yield simulate_one(task.reference.hypothesis, context, task.seed, index)
