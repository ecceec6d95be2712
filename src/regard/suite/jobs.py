"""Candidates trained side by side: in processes of this machine, or as jobs of a cluster.

A job is the training of one candidate in its own folder, as it would be alone. So what was stopped or killed goes on
from its last checkpoint, and the suite that waits for the jobs finds finished runs and evaluates them as ever.

Learners are compared after equal training time, and seconds are equal only where nobody else takes part of them: each
process has cores of its own (pinned on Linux) and as many threads, and more processes than cores are refused. What they
still share is memory bandwidth and caches; give steps (`train.steps`, `train.max_minutes=null`) where that matters.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch

from regard.domains.data import LabelledData
from regard.errors import ConfigError, DivergenceError, did_you_mean
from regard.extras import import_extra
from regard.files import make_folder, write_whole
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.dry_run import forget_peak, peak_bytes
from regard.recipes.run import train_recipe
from regard.recipes.trained import TrainedLearner
from regard.training.checkpoint import load_checkpoint
from regard.training.file_format import LAST
from regard.training.progress import Progress, Silent

COST = "cost.json"
STARTS = 3
"""How often a job is started whose process was killed."""
_POLL_SECONDS = 0.5

On = Literal["local", "slurm", "rehearsal"]


@dataclass(frozen=True)
class Workers:
    """Where candidates are trained.

    Args:
        jobs: how many at a time; 1 trains in this process.
        on: "local", processes of this machine; "slurm", jobs of a cluster by submitit, all of them submitted at once;
            "rehearsal", those same jobs started on this machine, to try them out.
        options: of the cluster's jobs, by submitit's names, such as `slurm_partition` and `timeout_min`.
    """

    jobs: int = 1
    on: On = "local"
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def read(cls, jobs: int, on: str, options: Sequence[str]) -> Workers:
        """From the words of a command line, options as `key=value`.

        Raises:
            ConfigError: an unknown place, options without a cluster, or an option that is not `key=value`.
        """
        if on not in get_args(On):
            raise ConfigError(f"--on {on}: {did_you_mean(on, get_args(On))}")
        if options and on == "local":
            raise ConfigError(
                "--cluster is of the jobs of a cluster: add --on slurm, or --on rehearsal to try them here."
            )
        for option in options:
            if "=" not in option:
                raise ConfigError(f"--cluster {option}: expected key=value, such as slurm_partition=gpu.")
        pairs = [option.split("=", 1) for option in options]
        return cls(jobs, cast(On, on), tuple((key, int(value) if value.isdecimal() else value) for key, value in pairs))

    @property
    def here(self) -> bool:
        """Whether this process trains."""
        return self.jobs == 1 and self.on == "local"


@dataclass(frozen=True)
class Cost:
    """What a learner takes.

    Args:
        training_seconds: of the whole training; 0 without.
        steps: of it.
        parameters: numbers that it has learned.
        file_bytes: of its checkpoint.
        peak_bytes: the most memory that the process held in training, libraries and data included; None where the
            system cannot tell, or there was no training.
    """

    training_seconds: float
    steps: int
    parameters: int
    file_bytes: int
    peak_bytes: int | None


def cost_of(trained: TrainedLearner, path: Path, seconds: float, steps: int, peak: int | None) -> Cost:
    """The cost of a learner whose checkpoint is `path`."""
    parameters = sum(p.numel() for p in trained.learner.parameters())
    return Cost(round(seconds, 3), steps, parameters, path.stat().st_size, peak)


def train_candidate(recipe: Recipe, folder: Path, data: LabelledData, progress: Progress | None) -> tuple[Path, Cost]:
    """Train, or go on; the best checkpoint and what it took, which is kept beside it.

    Raises:
        DivergenceError: the loss is not finite any more.
        KeyboardInterrupt: stopped by Ctrl-C; the same call goes on.
    """
    reset = forget_peak()
    best = train_recipe(recipe, folder, data=data, progress=progress)
    state = (load_checkpoint(folder / LAST).training or {})["state"]
    file = folder / COST
    before = Cost(**json.loads(file.read_text())) if file.exists() else None
    # Of a run that had finished before, nothing was measured now.
    done_before = before is not None and before.steps == state["step"]
    peak = before.peak_bytes if before is not None and done_before else peak_bytes() if reset else None
    cost = cost_of(TrainedLearner.load(best), best, state["seconds"], state["step"], peak)
    write_whole(file, json.dumps(asdict(cost)).encode())
    return best, cost


@dataclass(frozen=True)
class Job:
    """The training of one candidate, to be sent to another process.

    Args:
        name: for messages.
        recipe: with all that data and folder need.
        folder: of the run, which all processes see.
        n_threads: of PyTorch; None as the process has them.
        slots: a folder of locks, one per process of this machine, that share out the cores; None leaves all cores.
    """

    name: str
    recipe: Recipe
    folder: Path
    n_threads: int | None = None
    slots: Path | None = None

    def __call__(self) -> str | None:
        """Train, or go on; why it diverged, or None."""
        if self.n_threads is not None:
            torch.set_num_threads(self.n_threads)
        with _own_cores(self.slots, self.n_threads or 1):
            data = load_data(self.recipe.data)
            assert isinstance(data, LabelledData)
            try:
                train_candidate(self.recipe, self.folder, data, Silent())
            except DivergenceError as error:
                return str(error)
        return None

    def checkpoint(self) -> Any:
        """What a cluster starts again where the job's time is up: the same job, which goes on from its checkpoint."""
        return import_extra("submitit", "cluster").helpers.DelayedSubmission(self)


def run_jobs(
    jobs: Sequence[Job], workers: Workers, folder: Path, say: Callable[[str], None]
) -> dict[tuple[str, Path], str]:
    """Run all jobs; why jobs diverged, by name and folder.

    A job whose process was killed starts again from its last checkpoint; the others are not disturbed.

    Args:
        jobs: in any order; those with most to do first end soonest.
        workers: where.
        folder: of locks, and of the cluster's logs.
        say: told of each job that ends.

    Raises:
        ConfigError: more processes than cores, or a job whose process was killed `STARTS` times.
        MissingExtraError: a cluster without submitit.
    """
    make_folder(folder, "the folder of jobs,")
    start = _starter_here(workers.jobs, folder) if workers.on == "local" else _starter_of_cluster(jobs, workers, folder)
    limit = len(jobs) if workers.on == "slurm" else workers.jobs
    diverged: dict[tuple[str, Path], str] = {}
    waiting, running, starts = list(jobs), dict[Path, tuple[Job, _Running]](), Counter[Path]()
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                job = waiting.pop(0)
                starts[job.folder] += 1
                running[job.folder] = job, start(job)
            time.sleep(_POLL_SECONDS)
            for key, (job, process) in list(running.items()):
                if not process.done():
                    continue
                del running[key]
                try:
                    why = process.result()
                except process.killed as error:
                    if starts[key] >= STARTS:
                        raise ConfigError(
                            f"the process that trains {job.name} was killed {STARTS} times, perhaps for its memory: "
                            "run the same command with fewer --jobs; what is finished is kept."
                        ) from error
                    say(f"{job.name} was killed, and starts again from its last checkpoint ({starts[key]}).")
                    waiting.append(job)
                    continue
                if why is None:
                    say(f"{job.name} is trained.")
                else:
                    diverged[job.name, job.folder] = why
    finally:
        for _, process in running.values():
            process.cancel()
    return diverged


@dataclass(frozen=True)
class _Running:
    """A job in its process: whether it ended, how, the errors that say that it was killed, and how to end it."""

    done: Callable[[], bool]
    result: Callable[[], str | None]
    killed: type[Exception]
    cancel: Callable[[], object]


def _starter_here(n_jobs: int, folder: Path) -> Callable[[Job], _Running]:
    # joblib's, which comes with scikit-learn: unlike the standard library's it does not run the user's script again.
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    n_cores = len(available_cores())
    if not 1 <= n_jobs <= n_cores:
        raise ConfigError(
            f"--jobs {n_jobs}: expected 1 to {n_cores}, the cores that this process may use; processes that share "
            "cores would not have equal training time."
        )

    def start(job: Job) -> _Running:
        # A process for each job: a killed one breaks its executor, and with it whatever else that has to do.
        executor = ProcessPoolExecutor(max_workers=1)
        future = executor.submit(replace(job, n_threads=n_cores // n_jobs, slots=folder))
        future.add_done_callback(lambda _: executor.shutdown(wait=False))
        return _Running(
            future.done, future.result, TerminatedWorkerError, lambda: executor.shutdown(wait=False, kill_workers=True)
        )

    return start


def _starter_of_cluster(jobs: Sequence[Job], workers: Workers, folder: Path) -> Callable[[Job], _Running]:
    submitit = import_extra("submitit", "cluster")
    executor = submitit.AutoExecutor(folder=folder / "%j", cluster="slurm" if workers.on == "slurm" else "local")
    minutes = max((job.recipe.train.max_minutes or 0.0) for job in jobs)
    options = {"name": "regard", "timeout_min": int(2 * minutes + 30), "cpus_per_task": 1, **dict(workers.options)}
    try:
        executor.update_parameters(**options)
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"--cluster {' '.join(f'{k}={v}' for k, v in workers.options)}: {error}") from error

    def start(job: Job) -> _Running:
        threads = int(options["cpus_per_task"])
        submitted = executor.submit(replace(job, folder=job.folder.resolve(), n_threads=threads))
        return _Running(submitted.done, submitted.result, submitit.core.utils.UncompletedJobError, submitted.cancel)

    return start


def available_cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))


@contextmanager
def _own_cores(slots: Path | None, n_cores: int) -> Iterator[None]:
    """The first `n_cores` cores that no other process of the jobs holds; on Linux only."""
    if slots is None or sys.platform != "linux":
        yield
        return
    import fcntl

    cores = available_cores()
    for first in range(0, len(cores) - n_cores + 1, n_cores):
        with (slots / f"cores-{first}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _pin(cores[first : first + n_cores])
            try:
                yield
            finally:
                _pin(cores)
            return
    yield  # more processes than slots cannot be; but a lock left by a stranger must not stop the work


def _pin(cores: Sequence[int]) -> None:
    # Of every thread: those of OpenMP were started before, and inherit nothing later.
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
