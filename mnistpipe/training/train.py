"""A run, from a recipe to its finished folder.

    digits ─ split ─► training rows ─ feed ─► fit ─► best.keras, last.keras
                  └─► validation rows ──┘                    │
    test rows ───────────────────────────────► evaluation ─► metrics.json

On one machine, the same seed gives the same history to the last bit. The seed
decides the split, the subset, the initial weights, dropout and, through the
stream, the order and the augmentation of every batch. A run that was killed
continues from its last saved state and ends with the same bits.

Images are uint8 [N, H, W, C], labels int64 [N], targets one-hot float32
[N, classes], pictures (the network's input) float32 [N, H, W, C] of about 0…1.
"""

import contextlib
import dataclasses
import math
import time
from typing import Any

import keras

from mnistpipe import data
from mnistpipe.evaluation import scoring
from mnistpipe.networks import models
from mnistpipe.processes import group
from mnistpipe.recipes import Recipe, RunOptions, flagfiles
from mnistpipe.runs import (
    backends,
    predictions,
    provenance,
    runfolder,
    summary,
)
from mnistpipe.runs.record import DataIdentity, Machine, Provenance, RunRecord
from mnistpipe.runs.runfolder import RunFolder
from mnistpipe.training import (
    checkpoint,
    distribution,
    feeding,
    fitting,
    protocol,
    resume,
    state,
)


def train(
    recipe: Recipe,
    options: RunOptions,
    digits: data.Digits,
    folder: RunFolder | None = None,
) -> RunRecord:
    """Trains, evaluates and writes the run folder.

    Ctrl-C ends the training and leaves a valid folder. The test images are
    then not read, because the run is not over.

    In a group of several processes, all call this function with the same
    arguments but for the folder: process 0 has the run folder, the others
    have temporary ones. Only process 0 scores the test images.

    Args:
      recipe: what to train.
      options: how to train; `resume` continues a run.
      digits: the data. The test images are read once, at the end, or not at
        all (evaluate_test), unless they are the validation images.
      folder: the folder that the caller has claimed, or reopened for
        `resume`. By default this function claims or reopens it.

    Returns:
      What metrics.json holds.

    Raises:
      runfolder.RunFolderError: the folder is used or cannot be written, or
        holds a run that differs from the one to resume.
      data.DataError: the data cannot be split as the options ask.
      errors.UserError: the network does not suit the data, or an option does
        not suit the length of an epoch.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(_own_folder(recipe, options))
        started = time.perf_counter()
        run, feed, saved = _prepare(recipe, options, digits, folder)
        folder.write(runfolder.FLAGS, flagfiles.text(recipe, options))
        if options.verbose:  # Keras is about to print figures.
            print(summary.opening(run))
        fitted = fitting.fit(run, feed, digits.test, folder, saved)
        scores = None
        try:
            scored = options.evaluate_test and group.place() == 0
            if scored and not fitted.interrupted:
                scores = _score(run, digits.test, fitted, folder)
        except KeyboardInterrupt:
            fitted = dataclasses.replace(fitted, interrupted=True)
        before = saved.facts.seconds if saved else 0.0
        record = RunRecord(
            **_outcome(run, fitted, scores),
            run_dir=str(folder.path),
            duration_seconds=before + time.perf_counter() - started,
        )
        folder.write_json(runfolder.METRICS, record.to_json())
    return record


def _own_folder(
    recipe: Recipe, options: RunOptions
) -> contextlib.AbstractContextManager[RunFolder]:
    if options.resume:
        return RunFolder.reopen(options.resume)
    return RunFolder.claim(options.run_dir or runfolder.default(recipe.arch))


def _prepare(
    recipe: Recipe, options: RunOptions, digits: data.Digits, folder: RunFolder
) -> tuple[Provenance, feeding.Feed, checkpoint.State | None]:
    """Builds what `fit` needs, and writes nothing into the folder."""
    backends.leave_devices()
    settled = backends.settle(options)
    devices = max(distribution.number(settled.strategy), group.devices())
    machine = provenance.machine(recipe, devices)
    _check_group(recipe, options, digits, machine)
    saved = None
    if options.resume:
        saved = resume.load(folder, recipe, options, digits, machine)
    if saved:
        # A resumed run keeps its input path, even if this machine has a GPU.
        settled = settled.replace(input=saved.facts.input)
    split = protocol.split_rows(options, digits)
    keras.utils.set_random_seed(keras_seed(options.seed))
    state.make_dropout_saveable()
    with distribution.strategy(settled.strategy).scope():
        network = build(recipe, digits)
        feed = feeding.make_feed(
            recipe, settled, network, split, digits.classes
        )
    run = Provenance(
        recipe=recipe,
        options=options,
        parameters=network.count_params(),
        train_examples=len(split.train),
        validation_examples=len(split.validation or ()),
        data=DataIdentity(
            digits.name,
            digits.fingerprint,
            digits.test_fingerprint,
            digits.class_names,
            digits.preparation,
        ),
        commits=provenance.commits(saved.facts.commits if saved else ()),
        input=feed.path,
        **machine._asdict(),
    )
    return run, feed, saved


def _check_group(
    recipe: Recipe, options: RunOptions, digits: data.Digits, machine: Machine
) -> None:
    """Refuses a group whose processes would train different things."""
    group.check_same("flags", resume.deciding(recipe, options))
    group.check_same("data", digits.fingerprint)
    group.check_same("versions", repr(sorted(machine.versions.items())))


def keras_seed(seed: int) -> int:
    """Folds a 64-bit seed into the 32 bits that Keras and NumPy take.

    The split and the pipeline use all 64 bits. The initial weights and dropout
    use the exclusive or of both halves, which for seeds below 2**32 is the
    seed itself.
    """
    return (seed ^ (seed >> 32)) & 0xFFFFFFFF


def build(recipe: Recipe, digits: data.Digits) -> keras.Model:
    """Builds the recipe's network for the data's images and classes."""
    shape = digits.train.images.shape[1:]
    return models.build(recipe, shape, digits.classes)


def _score(
    run: Provenance,
    test: data.Examples,
    fitted: fitting.Fitted,
    folder: RunFolder,
) -> scoring.Scores:
    """Scores the network that counts on the test images."""
    # The saved file is scored, because the file is what the run keeps.
    kept = runfolder.BEST if fitted.best_counts else runfolder.LAST
    pictures = feeding.deterministic(run.recipe, test.images)
    with group.apart():
        network = models.load(folder.path / kept)
        probabilities = scoring.predict(network, pictures)
    with folder.errors():
        predictions.write(folder.path, probabilities)
    return scoring.score(probabilities, test.labels)


def _outcome(
    run: Provenance, fitted: fitting.Fitted, scores: scoring.Scores | None
) -> dict[str, Any]:
    """Returns the fields of a RunRecord but for its folder and duration."""
    tested = {}
    if scores:
        tested = {
            "test_accuracy": scores.accuracy,
            "test_loss": scores.loss if math.isfinite(scores.loss) else None,
            "test_examples": scores.examples,
            "test_correct": scores.correct,
            "per_class": scores.per_class,
        }
    return {
        **vars(run),
        **tested,
        "weights": runfolder.BEST if fitted.best_counts else runfolder.LAST,
        "best_epoch": fitted.best_epoch,
        "epochs_run": len(fitted.history.get("loss", ())),
        "steps": fitted.steps,
        "interrupted": fitted.interrupted,
        "resumed_at_steps": tuple(fitted.resumed),
        "fit_seconds": fitted.seconds,
        "images_per_second": fitted.images / fitted.seconds,
        "history": fitted.history,
    }
