"""One trial: the trainer as a process of its own, in the trial's folder.

    trial_07/flags.cfg      the trial's recipe, as the trainer takes it
    trial_07/seed-3/        the run folder of one training
    trial_07/seed-3.log     what that training printed
    trial_07/outcome.json   the figures, or the reason why there are none
    trial_07/trial.json     the point and the status (see records.py)

A process returns its memory when it ends, and a training that crashes does not
end the sweep. The training holds a lock on the trial, together with the process
that started it. If that process is killed, its training continues; whoever
takes over the trial waits for the training and uses its result. An interrupted
training continues from its own state. A training that Hyperband promotes
continues from a copy of the earlier trial's state. No training is repeated.
"""

import contextlib
import dataclasses
import fcntl
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnistpipe.data import DataError
from mnistpipe.recipes import Recipe, RunOptions, flagfiles
from mnistpipe.runs import record, runfolder
from mnistpipe.runs.record import RunRecord
from mnistpipe.sweep import records, space
from mnistpipe.sweep.settings import Settings

FLAGS = "flags.cfg"
TRAINER = (sys.executable, "-m", "mnistpipe.main")
# A training that is asked to end has so long to save its state.
_GRACE_SECONDS = 60
_POLL_SECONDS = 0.1
_THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
)


class TrialFailedError(Exception):
    """A trial has no result; the message says why, in one line."""


class StoppedError(Exception):
    """The trial was asked to stop; it can be continued."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a trial shares with the trials beside it.

    Attributes:
      stop: set when the trial shall stop.
      environment: variables for the trainer.
    """

    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def share_of_cores(count: int) -> dict[str, str]:
    """Returns the variables that give each of `count` trainers its cores."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        cores = len(os.sched_getaffinity(0))
    return dict.fromkeys(_THREADS, str(max(1, cores // count)))


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a trial.

    Attributes:
      folder: the run folder.
      seed: the seed of everything random.
      epochs: number of epochs.
      previous: the run folder of the same training with fewer epochs, if
        there is one.
      limits: when to stop, and the environment.
      lock: the descriptor of the lock on the trial.
    """

    folder: pathlib.Path
    seed: int
    epochs: int
    previous: pathlib.Path | None
    limits: Limits
    lock: int

    @property
    def log(self) -> pathlib.Path:
        """The file of the training's output, beside the run folder."""
        return self.folder.with_name(f"{self.folder.name}.log")


def run_point(
    folder: pathlib.Path,
    trial: str,
    values: Mapping[str, Any],
    settings: Settings,
    limits: Limits,
) -> None:
    """Runs a trial of a sweep; the outcome is in the trial's folder.

    Args:
      folder: the sweep's.
      trial: the trial's number.
      values: the trial's point.
      settings: the sweep's.
      limits: when to stop, and the environment.

    Raises:
      StoppedError: the trial was asked to stop.
    """
    first, previous = settings.run.seed, values.get(records.PREVIOUS)
    with contextlib.suppress(TrialFailedError):  # the outcome has the reason
        run_trial(
            folder / f"trial_{trial}",
            space.recipe_at(
                settings.recipe, values, values.get(records.EPOCHS)
            ),
            settings.run,
            range(first, first + settings.sweep.seeds_per_trial),
            settings.sweep.objective,
            folder / f"trial_{previous}" if previous else None,
            limits,
        )


def run_trial(
    folder: pathlib.Path,
    recipe: Recipe,
    options: RunOptions,
    seeds: Sequence[int],
    objective: str,
    previous: pathlib.Path | None = None,
    limits: Limits | None = None,
) -> dict[str, float]:
    """Trains with each seed; returns the mean of each figure.

    A finished run is not trained again. The outcome is kept in the folder,
    with the reason if the trial fails.

    Args:
      folder: the trial's.
      recipe: the trial's point.
      options: of every run; the seed is replaced.
      seeds: one run each.
      objective: the figure that every run must have.
      previous: the folder of the trial that was promoted to this one.
      limits: when to stop, and the environment.

    Raises:
      TrialFailedError: a training was killed, failed or diverged.
      StoppedError: the trial was asked to stop.
    """
    limits = limits or Limits()
    figures, examples, seconds, failed = [], 0, 0.0, ""
    with _claimed(folder, limits.stop) as lock:
        path = folder / FLAGS
        with runfolder.replacing(path) as beside:
            text = flagfiles.text(recipe, options)
            beside.write_text(text, encoding="utf-8")
        try:
            for seed in seeds:
                name = f"seed-{seed}"
                run = Run(
                    folder / name,
                    seed,
                    recipe.epochs,
                    previous and previous / name,
                    limits,
                    lock,
                )
                finished = _finished(run) or _train(run)
                figures.append(judged(finished, objective))
                examples += finished.validation_examples
                seconds += finished.duration_seconds
        except TrialFailedError as error:
            failed = str(error)
        means = _mean(figures)
        outcome = {
            "reason": failed,
            "figures": means,
            "runs": figures,
            "validation_examples": examples,
            "epochs": recipe.epochs,
            "seconds": seconds,
        }
        records.write(folder / records.OUTCOME, outcome)
    if failed:
        raise TrialFailedError(failed)
    return means


def judged(run: RunRecord, objective: str) -> dict[str, float]:
    """Returns the figures of the epoch whose network counts.

    Raises:
      TrialFailedError: the training diverged, or trained no epoch.
    """
    for epoch, loss in enumerate(run.history.get("loss", ()), 1):
        if loss is None:  # metrics.json has null for what is not finite
            raise TrialFailedError(
                f"diverged: the loss was not finite in epoch {epoch}"
            )
    judged_epoch = run.judged_epoch
    if judged_epoch is None:
        raise TrialFailedError("the training ended before its first epoch")
    figures = {name: all_[judged_epoch] for name, all_ in run.history.items()}
    if figures.get(objective) is None:
        raise TrialFailedError(
            f"diverged: {objective} was not finite in epoch {judged_epoch + 1}"
        )
    return {name: v for name, v in figures.items() if v is not None}


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    if not figures:
        return {}
    names = set.intersection(*map(set, figures))
    return {
        name: math.fsum(one[name] for one in figures) / len(figures)
        for name in sorted(names)
    }


@contextlib.contextmanager
def _claimed(folder: pathlib.Path, stop: threading.Event) -> Iterator[int]:
    """Waits until nobody else works on the trial; yields the lock.

    Each training inherits the descriptor. The system releases the lock when
    the last process that has the descriptor ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _try_lock(lock):
            if stop.wait(_POLL_SECONDS):
                raise StoppedError
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _finished(run: Run) -> RunRecord | None:
    """Returns the record of a run that has nothing left to train, or None."""
    try:
        found = record.read(run.folder / runfolder.METRICS)
    except DataError:  # there is no record, or the record is damaged
        return None
    return found if found.finished(run.epochs) else None


def _train(run: Run) -> RunRecord:
    """Trains from the saved state if there is one, else from the beginning."""
    if not run.folder.exists() and run.previous and run.previous.exists():
        _copy(run.previous, run.folder)
    if (run.folder / runfolder.FLAGS).exists():
        status = _wait(
            [f"--resume={run.folder}", f"--epochs={run.epochs}"], run
        )
        # The trainer refuses the state of another TensorFlow, for example.
        # Then the training starts from the beginning.
        if _finished(run) or status < 0:
            return _result(run, status)
    _set_aside(run.folder)
    status = _wait(
        [
            f"--flagfile={run.folder.parent / FLAGS}",
            f"--run_dir={run.folder}",
            f"--seed={run.seed}",
        ],
        run,
    )
    return _result(run, status)


def _result(run: Run, status: int) -> RunRecord:
    finished = _finished(run)
    if finished is None:
        raise TrialFailedError(_why(status, run.log))
    return finished


def _wait(arguments: Sequence[str], run: Run) -> int:
    """Runs the trainer; returns its exit status."""
    with open(run.log, "ab") as log:
        process = subprocess.Popen(
            [*TRAINER, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **run.limits.environment},
            pass_fds=[run.lock],
            # Ctrl-C must reach the trainer once, so only through this process.
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if run.limits.stop.wait(_POLL_SECONDS):
                    raise StoppedError
        except BaseException:
            _end(process)
            raise
        return process.returncode


def _copy(previous: pathlib.Path, folder: pathlib.Path) -> None:
    """Copies a run folder, whole or not at all."""
    beside = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(previous, beside)
    beside.rename(folder)


def _set_aside(folder: pathlib.Path) -> None:
    """Keeps a run that cannot be continued under another name."""
    if not folder.exists():
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.cut-{number}")).exists():
        number += 1
    folder.rename(aside)


def _end(process: subprocess.Popen) -> None:
    """Asks a training to end, and waits until it has."""
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _why(status: int, log: pathlib.Path) -> str:
    """Says in one line why a training left no result."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "no output")
    return records.printable(f"ended with status {status}: {last.strip()}")
