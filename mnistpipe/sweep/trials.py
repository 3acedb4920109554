"""One trial: the trainer as a process of its own, in the trial's folder.

    trial_07/flags.cfg      the trial's recipe, as the trainer takes it
    trial_07/seed-3/        the run folder of one training
    trial_07/seed-3.log     what that training printed
    trial_07/outcome.json   what came out, or why nothing did
    trial_07/trial.json     keras-tuner's

A process of its own gives its memory back, and what ends it ends nothing else.
It holds a lock on the trial, together with the worker that started it: where a
worker is killed, its training goes on, and the worker that takes its place
waits for it and takes what it leaves. A training that did not end goes on from
its own state, one that Hyperband promotes from a copy of the earlier one's.
Nothing is trained twice to the end.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnistpipe.recipes import Recipe, RunOptions, flagfiles
from mnistpipe.runs import runfolder

FLAGS = "flags.cfg"
OUTCOME = "outcome.json"
TRAINER = (sys.executable, "-m", "mnistpipe.main")
# Time to save its state, for a training that is asked to end.
_GRACE_SECONDS = 60


class TrialFailedError(Exception):
    """A trial without a result; the message is the reason, in one line."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a trial.

    Attributes:
      folder: its run folder.
      seed: its seed.
      epochs: how many epochs it has.
      previous: the run folder of the same training with fewer epochs, if
        there is one to go on from.
    """

    folder: pathlib.Path
    seed: int
    epochs: int
    previous: pathlib.Path | None = None

    @property
    def log(self) -> pathlib.Path:
        """Where the training's output goes, beside its folder."""
        return self.folder.with_name(f"{self.folder.name}.log")


def run_trial(
    folder: pathlib.Path,
    recipe: Recipe,
    options: RunOptions,
    seeds: Sequence[int],
    objective: str,
    previous: pathlib.Path | None = None,
) -> dict[str, float]:
    """Trains with each seed; returns the mean of each figure.

    A run that is finished already is not trained again. The outcome is kept
    in the folder, with the reason where the trial fails.

    Args:
      folder: the trial's.
      recipe: the trial's point.
      options: of every run; the seed is replaced.
      seeds: one run each.
      objective: the figure that must have come out.
      previous: the folder of the trial that this one goes on from.

    Raises:
      TrialFailedError: a training was killed, failed or diverged.
    """
    figures, examples, seconds, failed = [], 0, 0.0, ""
    with _claimed(folder) as lock:
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
                )
                metrics = _finished(run) or _train(run, lock)
                figures.append(judged(metrics, objective))
                examples += metrics["validation_examples"]
                seconds += metrics["duration_seconds"]
        except TrialFailedError as error:
            failed = str(error)
        outcome = {
            "reason": failed,
            "figures": _mean(figures),
            "runs": figures,
            "validation_examples": examples,
            "epochs": recipe.epochs,
            "seconds": seconds,
        }
        with runfolder.replacing(folder / OUTCOME) as beside:
            beside.write_text(json.dumps(outcome, indent=2) + "\n")
    if failed:
        raise TrialFailedError(failed)
    return outcome["figures"]


def judged(metrics: Mapping[str, Any], objective: str) -> dict[str, float]:
    """The figures of the epoch whose network counts.

    Raises:
      TrialFailedError: the training diverged.
    """
    history = metrics["history"]
    for epoch, loss in enumerate(history["loss"], 1):
        if loss is None:  # what is not finite is null in metrics.json
            raise TrialFailedError(
                f"diverged: the loss was not finite in epoch {epoch}"
            )
    best = metrics["weights"] == runfolder.BEST
    epoch = metrics["best_epoch"] if best else len(history["loss"]) - 1
    figures = {name: values[epoch] for name, values in history.items()}
    if figures.get(objective) is None:
        raise TrialFailedError(
            f"diverged: {objective} was not finite in epoch {epoch + 1}"
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
def _claimed(folder: pathlib.Path) -> Iterator[int]:
    """Waits until nobody else works on the trial; yields the lock.

    The lock is let go when the last process that holds the descriptor ends,
    and each training inherits it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _finished(run: Run) -> dict[str, Any] | None:
    """The metrics of a run that went to its end."""
    path = run.folder / runfolder.METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    shorter = metrics["recipe"]["epochs"] < run.epochs
    return None if metrics["interrupted"] or shorter else metrics


def _train(run: Run, lock: int) -> dict[str, Any]:
    """Trains, from the state that there is, else from the beginning."""
    if not run.folder.exists() and run.previous and run.previous.exists():
        _copy(run.previous, run.folder)
    if (run.folder / runfolder.FLAGS).exists():
        status = _wait(
            [f"--resume={run.folder}", f"--epochs={run.epochs}"], run, lock
        )
        # Refused, by another version of TensorFlow perhaps: from the beginning.
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
        lock,
    )
    return _result(run, status)


def _result(run: Run, status: int) -> dict[str, Any]:
    metrics = _finished(run)
    if metrics is None:
        raise TrialFailedError(_why(status, run.log))
    return metrics


def _wait(arguments: Sequence[str], run: Run, lock: int) -> int:
    """Runs the trainer; returns its exit status."""
    with open(run.log, "ab") as log:
        process = subprocess.Popen(
            [*TRAINER, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            # Ctrl-C reaches it through us alone, so that it comes once.
            start_new_session=True,
        )
        try:
            return process.wait()
        except BaseException:
            _end(process)
            raise


def _copy(previous: pathlib.Path, folder: pathlib.Path) -> None:
    """Copies a run folder, whole or not at all."""
    beside = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(previous, beside)
    beside.rename(folder)


def _set_aside(folder: pathlib.Path) -> None:
    """Keeps what cannot be gone on from, under another name."""
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
    """The reason of a training that left no result, in one line."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "no output")
    return f"ended with status {status}: {last.strip()}"
