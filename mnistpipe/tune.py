"""Searches near a documented recipe, and says what it found.

python -m mnistpipe.tune --arch=pool2m --max_trials=20

The documented point is the first trial, so that the sweep can say by how much
it is beaten. Trials are judged on the validation images; the test images are
left alone. The folder, sweeps/<arch>-<time> unless told otherwise, holds
sweep.csv, sweep.png and best.cfg, which the trainer takes as its flagfile. The
same command with the same --run_dir goes on with a sweep that was interrupted.
"""

import datetime
import os
import pathlib
import signal
import sys
from typing import NoReturn

from absl import flags as absl_flags

from mnistpipe import data
from mnistpipe.cli import app, flags
from mnistpipe.errors import INTERRUPTED, UsageError
from mnistpipe.recipes import Recipe, RecipeError, RunOptions
from mnistpipe.sweep import roles, space
from mnistpipe.sweep.options import SweepOptions
from mnistpipe.sweep.settings import (
    RUN_OPTIONS,
    SETTINGS,
    Settings,
    trial_options,
)

# A worker takes everything else from the sweep's folder.
_OF_A_WORKER = {"role", "run_dir", "chief_address", "worker_id"}


def define_flags() -> None:
    """Defines the flags of a sweep and those of a run that a sweep has too."""
    flags.define(SweepOptions)
    flags.define(Recipe, ("arch", "epochs"))
    flags.define(RunOptions, ("run_dir", *RUN_OPTIONS))
    absl_flags.FLAGS["run_dir"].help = (
        "The folder of the sweep; an interrupted sweep continues in its folder."
        " Empty is sweeps/<arch>-<time>."
    )


def main(argv: list[str]) -> int:
    """Sweeps as the flags say; returns the exit status."""
    del argv  # nothing but flags, which the parser has made sure of
    options = flags.read(SweepOptions)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGTERM, _interrupt)
    if options.role == "worker":
        return _work(options)
    settings = _settings(options)
    folder = _folder(settings)
    try:
        status = roles.run(folder, settings, options)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted; the same command goes on, --run_dir={folder}.",
            file=sys.stderr,
        )
        status = INTERRUPTED
    if (folder / SETTINGS).exists():
        from mnistpipe.reports import sweep_report

        sweep_report.write(folder)
    return status


def _work(options: SweepOptions) -> int:
    folder = _folder_of_a_worker()
    try:
        return roles.work(folder, options)
    except KeyboardInterrupt:
        print(
            "\nInterrupted; the same command finishes its trial.",
            file=sys.stderr,
        )
        return INTERRUPTED


def _settings(options: SweepOptions) -> Settings:
    recipe = flags.read(Recipe)
    if not recipe.epochs:
        raise RecipeError("epochs: expected at least 1 in a sweep, got 0")
    run = trial_options(flags.read(RunOptions))
    ranges = space.read(options.space) if options.space else None
    digits = data.load(run.data or None)
    budget = space.Budget(
        options.max_parameters, digits.train.images.shape[1:], digits.classes
    )
    axes = space.select(recipe, options.search, ranges, budget)
    _check_split(run, digits)
    return Settings(recipe, run, options, axes, digits.fingerprint)


def _check_split(run: RunOptions, digits: data.Digits) -> None:
    """Refuses at once what else every trial would refuse."""
    train = digits.train
    rest, _ = data.stratified_split(
        train.labels, run.validation_size, run.seed, name="validation_size"
    )
    if run.train_examples:
        examples = data.Examples(train.images[rest], train.labels[rest])
        data.stratified_subset(
            examples, run.train_examples, run.seed, name="train_examples"
        )


def _folder(settings: Settings) -> pathlib.Path:
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    default = f"sweeps/{settings.recipe.arch}-{now}"
    run_dir = flags.read(RunOptions).run_dir
    return pathlib.Path(run_dir or default).absolute()


def _folder_of_a_worker() -> pathlib.Path:
    for name in flags.given():
        if name not in _OF_A_WORKER:
            raise UsageError(
                f"{name}: expected only {', '.join(sorted(_OF_A_WORKER))} of a"
                " worker, which takes everything else from the sweep's folder"
            )
    run_dir = flags.read(RunOptions).run_dir
    if not run_dir:
        raise UsageError("run_dir: expected the sweep's folder, got nothing")
    return pathlib.Path(run_dir).absolute()


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    define_flags()
    app.run(main, extra="sweep")
