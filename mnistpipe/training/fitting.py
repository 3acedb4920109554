"""Calls Keras' `fit` for a whole training, or for the rest of one.

Keras' `fit` cannot start within an epoch. A training that continues within an
epoch is therefore two segments: a `fit` of the rest of the epoch, and a `fit`
of the other epochs. All segments share their callbacks, of which the last,
`state.StateCallback`, saves the state and restores it.
"""

import dataclasses
import math
from collections.abc import Iterator

import keras

from mnistpipe import data, pipeline
from mnistpipe.evaluation import scoring
from mnistpipe.processes import group
from mnistpipe.runs import runfolder
from mnistpipe.runs.record import History, Provenance
from mnistpipe.training import callbacks, checkpoint, feeding, interrupts
from mnistpipe.training.state import Callbacks, StateCallback


@dataclasses.dataclass(frozen=True)
class Fitted:
    """How the training went.

    Attributes:
      history: figures by name, one per finished epoch.
      steps: number of batches trained on.
      images: number of pictures trained on.
      seconds: time in `fit`, with validation and checkpoints, without the
        time that a kill made void.
      best_epoch: the epoch of best.keras, from 0; None if there is none.
      best_counts: whether best.keras is the network that counts.
      interrupted: whether Ctrl-C ended the training.
      resumed: the steps at which the training was resumed.
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
    run: Provenance,
    feed: feeding.Feed,
    test: data.Examples,
    folder: runfolder.RunFolder,
    saved: checkpoint.State | None,
) -> Fitted:
    """Trains, and saves networks and states on the way and at the end.

    Args:
      run: what the run is begun with.
      feed: the model, its batches and its validation rows.
      test: the test images, which are read only if the options ask for their
        scores after each epoch.
      folder: the run folder.
      saved: the state to continue from, if there is one.

    Raises:
      RunFolderError: the folder cannot be written, or the state is forged.
      RecipeError: the training does not fit into memory.
    """
    others = _callbacks(run, feed, test, folder)
    state = StateCallback(run, feed, others, folder)
    if saved:
        state.restore(saved)
    with folder.errors():
        checkpoint.discard_after(folder.path, saved)
    if not saved:
        state.save(0)
        folder.write(runfolder.HISTORY, "")  # CSVLogger appends to the file.
    interrupted = False
    try:
        # The errors of some writers do not name the folder.
        with folder.errors(), interrupts.between_batches() as first:
            in_order = [*first, *others.in_order, state]
            for segment in _segments(feed.stream, run.recipe.epochs, state):
                _fit_segment(run, feed, segment, in_order)
    except KeyboardInterrupt:
        interrupted = True
    seconds = state.seconds
    folder.save_network(feed.network, runfolder.LAST)
    steps = int(feed.model.optimizer.iterations.numpy())
    best_epoch = others.best.best_epoch
    return Fitted(
        history=_figures(others.history),
        steps=steps,
        images=_images(feed.stream, steps),
        seconds=seconds,
        best_epoch=best_epoch,
        best_counts=run.recipe.checkpoint == "best" and best_epoch is not None,
        interrupted=interrupted,
        resumed=state.resumed,
    )


def _callbacks(
    run: Provenance,
    feed: feeding.Feed,
    test: data.Examples,
    folder: runfolder.RunFolder,
) -> Callbacks:
    """Returns all callbacks before the StateCallback, in Keras' order."""
    recipe, validated = run.recipe, feed.validation is not None
    history = keras.callbacks.History()
    averages = callbacks.Averages(feed.model) if recipe.ema_momentum else None
    best = callbacks.SaveBest(
        feed.network, folder, recipe.checkpoint_monitor, averages
    )
    steps_per_epoch = feed.stream.steps_per_epoch
    optional: list[keras.callbacks.Callback] = []
    if run.options.verbose:
        optional.append(callbacks.TimeLeft(recipe.epochs, steps_per_epoch))
    if run.options.watch_test:
        pictures = feeding.deterministic(recipe, test.images)
        optional.append(
            callbacks.TestScores(feed.network, pictures, test.labels, averages)
        )
    in_order = [
        # The schedule is first, because it logs the learning rate.
        *callbacks.schedule(recipe, validated, steps_per_epoch),
        *optional,
        keras.callbacks.CSVLogger(
            str(folder.path / runfolder.HISTORY), append=True
        ),
        callbacks.EpochScalars(folder),
        history,
        *([averages] if averages else []),
        *([best] if validated else []),
    ]
    return Callbacks(in_order, history, best)


@dataclasses.dataclass(frozen=True)
class FitSegment:
    """Consecutive epochs of equal length, which one `fit` can train.

    Attributes:
      first: the first epoch, counted from 0.
      stop: the epoch after the last one.
      first_step: the step at which each of these epochs begins.
      steps: number of steps of each epoch.
    """

    first: int
    stop: int
    first_step: int
    steps: int


def _segments(
    stream: pipeline.Stream, epochs: int, state: StateCallback
) -> Iterator[FitSegment]:
    """Yields the rest of an epoch that was begun, then the other epochs.

    The second segment depends on the state after the first.
    """
    steps = stream.steps_per_epoch
    if state.first and not state.stopped:
        first = state.first
        yield FitSegment(state.epoch, state.epoch + 1, first, steps - first)
    if state.epoch < epochs and not state.stopped:
        yield FitSegment(state.epoch, epochs, 0, steps)


def _fit_segment(
    run: Provenance,
    feed: feeding.Feed,
    segment: FitSegment,
    in_order: list[keras.callbacks.Callback],
) -> None:
    first = segment.first * feed.stream.steps_per_epoch + segment.first_step
    stop = segment.stop * feed.stream.steps_per_epoch
    batches = feed.batches(first, stop)
    own = group.own_devices()
    with feeding.memory_errors(feed.path):
        if segment.first_step:
            # Keras makes its metrics at the first batch, but the StateCallback
            # restores them before. An evaluation changes nothing else.
            some = batches.take(run.options.steps_per_execution)
            feed.model.evaluate(some, verbose=0)
        feed.model.fit(
            batches,
            initial_epoch=segment.first,
            epochs=segment.stop,
            steps_per_epoch=segment.steps,
            shuffle=False,  # The stream is shuffled; True would warn.
            validation_data=feed.validation,
            # This process' devices get equal shares.
            validation_batch_size=scoring.BATCH_SIZE // own * own,
            callbacks=in_order,
            verbose=run.options.keras_verbose(),
        )


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
    """Returns the pictures in `steps` batches; an epoch's last may be short."""
    epochs, rest = divmod(steps, stream.steps_per_epoch)
    return epochs * stream.examples + rest * stream.batch_size
