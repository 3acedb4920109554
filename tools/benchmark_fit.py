"""Training and evaluation beside what the network alone costs.

The learning rate is 0: all of the work, but no feed may change the network,
or it learns a constant batch by heart.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import benchmark_timing as timing
import keras
import numpy as np
import tensorflow as tf

from mnistpipe import data, recipes
from mnistpipe.evaluation import scoring
from mnistpipe.runs import runfolder
from mnistpipe.training import callbacks, feeding, protocol, state, train

AIM = 0.97  # of the speed on a constant batch
_SKIPPED = 10  # batches while the iterator starts and fills its buffer


class _Clock(keras.callbacks.Callback):
    """When the batches after the first few began, and when all were done."""

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        """Of the first that counts."""
        if batch == _SKIPPED:
            self.begun = _now()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """For which Keras has waited for the device."""
        self.ended = _now()


def _now() -> np.ndarray:
    """The wall's clock and that of all cores' work for this process."""
    return np.array([time.perf_counter(), time.process_time()])


def step_seconds(model: keras.Model, batches: Any, steps: int) -> np.ndarray:
    """Seconds, and processor seconds, a step in the middle of a `fit`."""
    clock = _Clock()
    model.fit(
        batches,
        steps_per_epoch=steps + _SKIPPED,
        callbacks=[clock],
        shuffle=False,
        verbose=0,
    )
    return (clock.ended - clock.begun) / steps


def enough_steps(model: keras.Model, batches: Any, seconds: float) -> int:
    """How many steps take so long: a multiple of 10."""
    once = min(step_seconds(model, batches, 10)[0] for _ in range(2))
    return max(10, 10 * round(seconds / once / 10))


def constant_batches(
    recipe: recipes.Recipe, digits: data.Digits
) -> tuple[np.ndarray, np.ndarray, tf.data.Dataset]:
    """One batch of pictures, its labels, and both without end."""
    examples = digits.train
    labels = examples.labels[: recipe.batch_size]
    pictures = feeding.deterministic(
        recipe, examples.images[: recipe.batch_size]
    )
    targets = feeding.one_hot(labels, digits.classes)
    batches = tf.data.Dataset.from_tensors((pictures, targets)).repeat()
    return pictures, labels, batches


def still_feed(
    recipe: recipes.Recipe, digits: data.Digits, path: str
) -> feeding.Feed:
    """A feed as training makes it, whose model does not learn."""
    options = recipes.RunOptions(input=path, validation="none")
    split = protocol.split_rows(options, digits)
    network = train.build(recipe, digits)
    recipe = recipe.replace(schedule="constant")  # one that can be set
    feed = feeding.make_feed(recipe, options, network, split, digits.classes)
    feed.model.optimizer.learning_rate = 0.0
    return feed


def fit(archs: list[str], rounds: int, seconds: float) -> list[timing.Table]:
    """`fit` on both paths beside the same network on one constant batch."""
    digits = data.load()
    table = timing.Table(
        "fit: ms a step on one constant batch and on each path; beside the "
        "constant batch, speed and (CPU) what the processor's time alone says"
    )
    for arch in archs:
        recipe = recipes.recipe_for(arch)
        feeds = {p: still_feed(recipe, digits, p) for p in ("host", "device")}
        _, _, constant = constant_batches(recipe, digits)
        host = feeds["host"].model
        steps = enough_steps(host, constant, seconds)

        def on(model: keras.Model, batches: Any, n: int = steps) -> Callable:
            return lambda: step_seconds(model, batches, n) * 1e3

        measures = {"constant": on(host, constant)}
        for path, feed in feeds.items():
            measures[path] = on(feed.model, feed.batches(0, 10**9))
        both = timing.interleaved(measures, rounds)
        figures, work = (
            {name: [t[clock] for t in times] for name, times in both.items()}
            for clock in (0, 1)
        )
        row = {"": arch, "batch": recipe.batch_size, **timing.medians(figures)}
        for path in feeds:
            reached = timing.ratio(figures, "constant", path)
            row[f"{path}, speed"] = reached
            row[f"{path}, CPU"] = timing.ratio(work, "constant", path)
            if reached < AIM:
                table.notes.append(
                    f"{arch} on the {path} path: {reached:.3f}, aim {AIM}"
                )
        table.rows.append(row)
    return [table]


def evaluate(
    archs: list[str], rounds: int, seconds: float
) -> list[timing.Table]:
    """Scores of 10,000 images beside `predict` on an array."""
    del seconds
    digits = data.load()
    images, labels = digits.test.images, digits.test.labels
    table = timing.Table(
        "Evaluation of the 10,000 test images, s: uint8 to scores, beside "
        "predict on float32 in batches of as many"
    )
    for arch in archs:
        recipe = recipes.recipe_for(arch)
        network = train.build(recipe, digits)
        array = feeding.deterministic(recipe, images)

        def ours(network: keras.Model = network, recipe: Any = recipe) -> None:
            pictures = feeding.deterministic(recipe, images)
            scoring.evaluate(network, pictures, labels)

        def theirs(network: keras.Model = network, array: Any = array) -> None:
            network.predict(array, batch_size=scoring.BATCH_SIZE, verbose=0)

        figures = timing.interleaved(
            {
                "mnistpipe": lambda f=ours: timing.seconds(f),
                "predict": lambda f=theirs: timing.seconds(f),
            },
            rounds,
        )
        longer = timing.ratio(figures, "mnistpipe", "predict")
        row = {"": arch, **timing.medians(figures), "takes": longer}
        table.rows.append(row)
        if longer > 1.1:
            table.notes.append(f"{arch}: {longer:.2f} of predict, aim 1.1")
    return [table]


@contextlib.contextmanager
def _timed(owner: type, name: str) -> Iterator[list[float]]:
    """Within it, how long each call of a method takes."""
    method, taken = getattr(owner, name), []

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            taken.append(time.perf_counter() - start)

    with mock.patch.object(owner, name, timed):
        yield taken


class _Epochs(keras.callbacks.Callback):
    """When each epoch began, and when its steps were done."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[float] = []
        self.stepped: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Where `fit` begins an epoch."""
        self.begun.append(time.perf_counter())

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Where `fit` begins to validate."""
        self.stepped.append(time.perf_counter())


def epoch(archs: list[str], rounds: int, seconds: float) -> list[timing.Table]:
    """Where the time of an epoch of a documented recipe goes."""
    del seconds
    digits = data.load()
    table = timing.Table(
        "An epoch of a documented recipe, s: 55,000 images (timed on 5,500), "
        "validation by 5,000, and the rest, of which saving the state and, "
        "where it improved, the best network"
    )
    for arch in archs:
        recipe = recipes.recipe_for(arch).replace(epochs=2 + min(rounds, 3))
        table.rows.append({"": arch, **_epoch(recipe, digits)})
    return [table]


def _epoch(recipe: recipes.Recipe, digits: data.Digits) -> dict[str, Any]:
    clock, schedule = _Epochs(), callbacks.schedule
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(
            mock.patch.object(
                callbacks, "schedule", lambda *a: [clock, *schedule(*a)]
            )
        )
        validations = stack.enter_context(_timed(keras.Model, "evaluate"))
        states = stack.enter_context(_timed(state.StateCallback, "save"))
        networks = stack.enter_context(
            _timed(runfolder.RunFolder, "save_network")
        )
        options = recipes.RunOptions(
            run_dir=f"{folder}/run",
            input="host",
            train_examples=5_500,
            evaluate_test=False,
            verbose=0,
        )
        train.train(recipe, options, digits)
    # Without the first epoch, which traces, and the last, which has no next.
    whole = np.diff(clock.begun)[1:]
    steps = np.subtract(clock.stepped, clock.begun)[1:-1]
    tested = np.asarray(validations)[1:-1]
    rest = float(np.median(whole - steps - tested))
    full = 10 * float(np.median(steps))
    return {
        "steps": full,
        "validation": float(np.median(tested)),
        "rest": rest,
        "state": float(np.median(states[2:])),  # [0] is before training
        "network": float(np.median(networks)),
        "rest of all": f"{rest / (full + np.median(tested) + rest):.1%}",
    }
