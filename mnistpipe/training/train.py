"""A run, from a recipe to its folder, in one straight flow.

    digits ─ split ─► training rows ─ feed ─► fit ─► best.keras, last.keras
                  └─► validation rows ──┘                    │
    test rows ───────────────────────────────► evaluation ─► metrics.json

The same seed gives the same history, to the last bit on one machine: it
decides the split, the subset, the initial weights, dropout, and through the
stream the order and the augmentation of every batch. A run that was killed
goes on from its last saved state to the very same end: Keras' `fit` has no
first step, so that is a `fit` of the rest of the epoch and one of the others.

Images are uint8 [N, H, W, C], labels int64 [N], targets one-hot float32
[N, classes], pictures (what the network sees) float32 [N, H, W, C] of about
0…1.
"""

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import keras

from mnistpipe import data, pipeline
from mnistpipe.evaluation import scoring
from mnistpipe.networks import models
from mnistpipe.recipes import Recipe, RunOptions, addons, flagfiles
from mnistpipe.runs import (
    backends,
    predictions,
    provenance,
    runfolder,
    summary,
)
from mnistpipe.runs.record import (
    DataIdentity,
    History,
    Provenance,
    RunRecord,
)
from mnistpipe.training import (
    callbacks,
    checkpoint,
    distribution,
    feeding,
    interrupts,
    protocol,
    resume,
    state,
)


def train(
    recipe: Recipe,
    options: RunOptions,
    digits: data.Digits,
) -> RunRecord:
    """Trains, evaluates, writes the run folder.

    Ctrl-C ends the training and leaves a valid folder; its test images are
    then not read, since the run isn't over.

    Args:
      recipe: what to train.
      options: how to run it; `resume` goes on with a run.
      digits: the data; the test images are read once, at the end, or not at
        all (evaluate_test), unless they are the validation images.

    Returns:
      What metrics.json holds.

    Raises:
      runfolder.RunFolderError: the folder is used or cannot be written, or
        the run to go on with is another one.
      data.DataError: the data cannot be split as asked.
      errors.UserError: the network does not suit the data, or an option the
        length of an epoch.
    """
    started = time.perf_counter()
    backends.leave_devices()
    settled = backends.settle(options)
    with contextlib.ExitStack() as stack:
        folder, saved = _open(recipe, options, digits, stack)
        split = protocol.split_rows(options, digits)
        keras.utils.set_random_seed(keras_seed(options.seed))
        state.make_dropout_saveable()
        # Not where a machine with a GPU would put it, but where it was.
        path = saved.facts.input if saved else settled.input
        settled = settled.replace(input=path)
        with distribution.strategy(settled.strategy).scope():
            network = build(recipe, digits)
            feed = feeding.make_feed(
                recipe, settled, network, split, digits.classes
            )
        begun = _provenance(
            recipe, options, digits, split, network, feed, saved
        )
        flagfile = flagfiles.text(recipe, options)
        if options.resume:
            folder.write(runfolder.FLAGS, flagfile)
        else:
            folder.create(flagfile)
            stack.enter_context(folder.locked())
        if options.verbose:  # Keras is about to print figures
            print(summary.opening(begun))
        fitted = fit(
            recipe,
            options,
            digits,
            network,
            feed,
            folder,
            begun,
            saved,
        )
        scores = None
        try:
            if options.evaluate_test and not fitted.interrupted:
                scores = score(recipe, digits.test, network, fitted, folder)
        except KeyboardInterrupt:
            fitted = dataclasses.replace(fitted, interrupted=True)
        before = saved.facts.seconds if saved else 0.0
        record = RunRecord(
            **_outcome(scores, fitted, begun),
            run_dir=str(folder.path),
            duration_seconds=before + time.perf_counter() - started,
        )
        folder.write_json(runfolder.METRICS, record.to_json())
    return record


def _open(
    recipe: Recipe,
    options: RunOptions,
    digits: data.Digits,
    stack: contextlib.ExitStack,
) -> tuple[runfolder.RunFolder, checkpoint.State | None]:
    """A folder that may be used, locked if it is there; what to go on from."""
    folder = runfolder.of(options.run_dir or options.resume, recipe.arch)
    if not options.resume:
        folder.check()
        return folder, None
    stack.enter_context(folder.locked())
    folder.check_folders()
    saved, notes = resume.load(folder, recipe, options, digits)
    if saved:
        resume.check_devices(
            folder, saved, distribution.number(options.strategy)
        )
        notes += resume.check_machine(
            folder, saved, provenance.versions(), provenance.hardware()
        )
    if state.forgets(recipe.optimizer):
        notes.append(
            f"{folder.path}: the same bits are not promised with Keras 2's "
            f"{recipe.optimizer}, which counts steps where nothing can see it"
        )
    if backends.name() == "torch":
        notes.append(
            f"{folder.path}: the same bits are not promised with PyTorch, whose"
            " dropout draws from a generator that no state holds"
        )
    for line in notes:
        print(line, file=sys.stderr)
    return folder, saved


def keras_seed(seed: int) -> int:
    """Folds a 64-bit seed into the 32 bits that Keras and NumPy take.

    The split and the pipeline use all 64; the initial weights and dropout see
    the exclusive or of the halves, so seeds below 2**32 stay what they are.
    """
    return (seed ^ (seed >> 32)) & 0xFFFFFFFF


def build(recipe: Recipe, digits: data.Digits) -> keras.Model:
    """The recipe's network for images and classes such as the data's."""
    shape = digits.train.images.shape[1:]
    return models.build(recipe, shape, digits.classes)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """How the training went.

    Attributes:
      history: figures by name, one per finished epoch.
      steps: batches trained on.
      images: pictures trained on.
      seconds: time in `fit`, validation and checkpoints included, without
        what a kill made void.
      best_epoch: of best.keras, from 0; None if there is none.
      best_counts: whether best.keras is the network that counts.
      interrupted: whether Ctrl-C ended it.
      resumed: the steps at which it was entered again.
    """

    history: History
    steps: int
    images: int
    seconds: float
    best_epoch: int | None
    best_counts: bool
    interrupted: bool
    resumed: list[int]


def fit(
    recipe: Recipe,
    options: RunOptions,
    digits: data.Digits,
    network: keras.Model,
    feed: feeding.Feed,
    folder: runfolder.RunFolder,
    begun: Provenance,
    saved: checkpoint.State | None,
) -> Fitted:
    """Trains, and saves network and state on the way and at the end."""
    keeper = _watch(recipe, options, digits, network, feed, folder, begun)
    if saved:
        keeper.restore(saved)
    with folder.errors():
        checkpoint.discard_after(folder.path, saved)
    if not saved:
        keeper.save(0)
        folder.write(runfolder.HISTORY, "")  # which is appended to
    interrupted = False
    try:
        # Not all that writes there says which folder it was.
        with folder.errors(), interrupts.between_batches() as first:
            for spell in _spells(feed.stream, recipe.epochs, keeper):
                watchers = [*first, *keeper.watchers.values(), keeper]
                _fit_spell(feed, spell, watchers, options)
    except KeyboardInterrupt:
        interrupted = True
    seconds = keeper.seconds
    folder.save_network(network, runfolder.LAST)
    steps = int(feed.model.optimizer.iterations.numpy())
    best_epoch = keeper.best.best_epoch
    return Fitted(
        history=_figures(keeper.history),
        steps=steps,
        images=_images(feed.stream, steps),
        seconds=seconds,
        best_epoch=best_epoch,
        best_counts=recipe.checkpoint == "best" and best_epoch is not None,
        interrupted=interrupted,
        resumed=keeper.resumed,
    )


def _watch(
    recipe: Recipe,
    options: RunOptions,
    digits: data.Digits,
    network: keras.Model,
    feed: feeding.Feed,
    folder: runfolder.RunFolder,
    begun: Provenance,
) -> state.Keeper:
    """All callbacks, in the keeper that comes after them."""
    validated = feed.validation is not None
    history = keras.callbacks.History()
    averages = callbacks.Averages(feed.model) if recipe.ema_momentum else None
    best = callbacks.SaveBest(
        network, folder, recipe.checkpoint_monitor, averages
    )
    watched: list[keras.callbacks.Callback] = []
    if options.verbose:
        watched.append(
            callbacks.TimeLeft(recipe.epochs, feed.stream.steps_per_epoch)
        )
    if options.watch_test:
        watched.append(
            callbacks.TestScores(
                network,
                feeding.deterministic(recipe, digits.test.images),
                digits.test.labels,
                averages,
            )
        )
    return state.Keeper(
        network,
        feed.model,
        [
            # First, since it puts the learning rate among the figures.
            *callbacks.schedule(recipe, validated, feed.stream.steps_per_epoch),
            *watched,
            keras.callbacks.CSVLogger(
                str(folder.path / runfolder.HISTORY), append=True
            ),
            callbacks.EpochScalars(folder),
            history,
            *([averages] if averages else []),
            *([best] if validated else []),
        ],
        history,
        best,
        folder,
        begun,
        options.save_every,
        feed.stream.steps_per_epoch,
    )


@dataclasses.dataclass(frozen=True)
class Spell:
    """Epochs, counted from 0, that one `fit` can do: all of one length."""

    first: int
    stop: int
    first_step: int  # within these epochs
    steps: int


def _spells(
    stream: pipeline.Stream, epochs: int, keeper: state.Keeper
) -> Iterator[Spell]:
    """What is left of the epoch that was begun, then the other epochs."""
    steps = stream.steps_per_epoch
    if keeper.first and not keeper.stopped:
        first = keeper.first
        yield Spell(keeper.epoch, keeper.epoch + 1, first, steps - first)
    if keeper.epoch < epochs and not keeper.stopped:
        yield Spell(keeper.epoch, epochs, 0, steps)


def _fit_spell(
    feed: feeding.Feed,
    spell: Spell,
    watchers: list[keras.callbacks.Callback],
    options: RunOptions,
) -> None:
    first = spell.first * feed.stream.steps_per_epoch + spell.first_step
    stop = spell.stop * feed.stream.steps_per_epoch
    batches = feed.batches(first, stop)
    if spell.first_step:
        # Keras makes its metrics at the first batch, and these have to be
        # there before. An evaluation changes nothing else.
        some = batches.take(options.steps_per_execution)
        feed.model.evaluate(some, verbose=0)
    feed.model.fit(
        batches,
        initial_epoch=spell.first,
        epochs=spell.stop,
        steps_per_epoch=spell.steps,
        shuffle=False,  # the stream already is, and fit would warn
        validation_data=feed.validation,
        validation_batch_size=scoring.BATCH_SIZE,
        callbacks=watchers,
        verbose=options.keras_verbose(),
    )


def score(
    recipe: Recipe,
    test: data.Examples,
    network: keras.Model,
    fitted: Fitted,
    folder: runfolder.RunFolder,
) -> scoring.Scores:
    """Scores the network that counts on the test images."""
    if fitted.best_counts:
        # The file, not the memory: what is scored is what is kept.
        network = models.load(folder.path / runfolder.BEST)
    pictures = feeding.deterministic(recipe, test.images)
    probabilities = scoring.predict(network, pictures)
    with folder.errors():
        predictions.write(folder.path, probabilities)
    return scoring.score(probabilities, test.labels)


def _figures(history: keras.callbacks.History) -> History:
    """Returns the history with the names and types of Keras 3.

    An interrupt can come while Keras appends an epoch's figures, so the
    figures of an epoch that lacks some are left out.
    """
    epochs = min(map(len, history.history.values()), default=0)
    return {
        {"lr": "learning_rate"}.get(name, name): tuple(
            float(v) if math.isfinite(v) else None for v in values[:epochs]
        )
        for name, values in history.history.items()
    }


def _images(stream: pipeline.Stream, steps: int) -> int:
    """Pictures in the first `steps` batches; an epoch's last may be short."""
    epochs, rest = divmod(steps, stream.steps_per_epoch)
    return epochs * stream.examples + rest * stream.batch_size


def _outcome(
    scores: scoring.Scores | None, fitted: Fitted, run: Provenance
) -> dict[str, Any]:
    """Returns the fields of a RunRecord that the training and its end give."""
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
        **{f.name: getattr(run, f.name) for f in dataclasses.fields(run)},
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


def _provenance(
    recipe: Recipe,
    options: RunOptions,
    digits: data.Digits,
    split: protocol.Split,
    network: keras.Model,
    feed: feeding.Feed,
    saved: checkpoint.State | None,
) -> Provenance:
    """Returns what the run is begun with."""
    before = saved.facts.commits if saved else ()
    return Provenance(
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
        versions={**provenance.versions(), **addons.versions(recipe)},
        hardware=provenance.hardware(),
        commits=provenance.commits(before),
        input=feed.path,
        devices=distribution.number(options.strategy),
    )
