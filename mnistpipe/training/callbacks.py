"""What watches a training: schedule, best checkpoint, history, scalars.

Stock Keras callbacks, besides three. Keras' ModelCheckpoint writes in place and
saves the model that `fit` trains, which on the device path holds the data;
its TensorBoard does its work at each batch, and waits for the device there.
"""

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.evaluation import scoring
from mnistpipe.recipes import SCHEDULES_BY_STEP, Recipe
from mnistpipe.runs import runfolder, summary
from mnistpipe.training import optimizers


def schedule(
    recipe: Recipe, validated: bool, steps_per_epoch: int
) -> list[keras.callbacks.Callback]:
    """Learning rate and early stopping, as the recipe documents them.

    Without validation, plateau and early stopping watch the training loss.
    """
    watchers: list[keras.callbacks.Callback] = []
    if recipe.schedule == "plateau":
        watchers.append(
            keras.callbacks.ReduceLROnPlateau(
                **_monitor(recipe.plateau_monitor, validated),
                patience=recipe.plateau_patience,
                factor=recipe.plateau_factor,
                min_lr=recipe.plateau_min_lr,
            )
        )
    elif recipe.schedule in SCHEDULES_BY_STEP:
        watchers.append(_log_learning_rate(recipe, steps_per_epoch))
    else:
        watchers.append(
            keras.callbacks.LearningRateScheduler(
                lambda epoch, _: recipe.learning_rate_at(epoch)
            )
        )
    if recipe.early_stopping_patience:
        # The best weights are those of best.keras: Keras 2 restores them only
        # if it stopped early, and keeps them in memory alone.
        watchers.append(
            keras.callbacks.EarlyStopping(
                **_monitor(recipe.early_stopping_monitor, validated),
                patience=recipe.early_stopping_patience,
            )
        )
    return watchers


def _log_learning_rate(
    recipe: Recipe, steps_per_epoch: int
) -> keras.callbacks.Callback:
    """Puts the rate of an epoch's last step among its figures.

    As Keras' own callbacks do for the rates that they set.
    """
    # A function of the step, since the recipe's schedule is one by step.
    rate_at: Any = optimizers.learning_rate(recipe, steps_per_epoch)

    def log(epoch: int, logs: dict) -> None:
        last_step = (epoch + 1) * steps_per_epoch - 1
        logs["learning_rate"] = float(rate_at(last_step))

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _monitor(name: str, validated: bool) -> dict[str, str]:
    name = name if validated else "loss"
    return {"monitor": name, "mode": "max" if "accuracy" in name else "min"}


class Averages(keras.callbacks.Callback):
    """Validates by the moving averages that the optimizer keeps of weights.

    Keras' SwapEMAWeights does so by adding and subtracting, which rounds the
    weights and with them a resumed training's bits, and is not in Keras 2.
    """

    def __init__(self, trainer: keras.Model) -> None:
        super().__init__()
        self.trainer = trainer
        self.weights: list[np.ndarray] = []  # while the averages stand in
        self.at_the_end: list[np.ndarray] = []

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[None]:
        """Within it, the network has the averages for weights."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Puts the averages in."""
        self.weights = self._values()
        self.trainer.optimizer.finalize_variable_values(
            self.trainer.trainable_variables
        )
        # Under JAX the two are one array now, of which an evaluation disposes
        # for the one that it gets.
        self._assign(self._values())

    def on_test_end(self, logs: dict | None = None) -> None:
        """Puts the weights back."""
        self._assign(self.weights)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers the weights, which `fit` overwrites when it ends."""
        self.at_the_end = self._values()

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Goes on where the `fit` before ended."""
        if self.at_the_end:
            self._assign(self.at_the_end)

    def _values(self) -> list[np.ndarray]:
        return [v.numpy() for v in self.trainer.trainable_variables]

    def _assign(self, weights: list[np.ndarray]) -> None:
        variables = self.trainer.trainable_variables
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)


class TestScores(keras.callbacks.Callback):
    """Records accuracy and loss on the test images after each epoch.

    Nothing in the training reads these figures. The loss is the mean
    cross-entropy in nats, without label smoothing.

    Args:
      network: the network that is trained.
      pictures: float32 [N, H, W, C], as the network sees them.
      labels: int64 [N].
      averages: stand in for the weights, where the recipe averages them.
    """

    def __init__(
        self,
        network: keras.Model,
        pictures: np.ndarray,
        labels: np.ndarray,
        averages: Averages | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.pictures = pictures
        self.labels = labels
        self.averages = averages

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Adds test_accuracy and test_loss to the epoch's figures."""
        with (
            self.averages.standing_in()
            if self.averages
            else contextlib.nullcontext()
        ):
            scores = scoring.evaluate(self.network, self.pictures, self.labels)
        logs["test_accuracy"] = scores.accuracy
        logs["test_loss"] = scores.loss


class SaveBest(keras.callbacks.Callback):
    """Keeps the network of the best epoch so far; the first of equals."""

    def __init__(
        self,
        network: keras.Model,
        folder: runfolder.RunFolder,
        monitor: str,
        averages: Averages | None = None,
    ) -> None:
        super().__init__()
        self.averages = averages
        self.network = network
        self.folder = folder
        self.monitor = monitor
        self.sign = 1 if "accuracy" in monitor else -1
        self.best = -math.inf
        self.best_epoch: int | None = None
        self.weights: list[np.ndarray] | None = None  # that epoch's

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Saves if the monitored figure improved."""
        figure = self.sign * float(logs[self.monitor])
        if figure > self.best:
            self.best, self.best_epoch = figure, epoch
            with (
                self.averages.standing_in()
                if self.averages
                else contextlib.nullcontext()
            ):
                self.weights = self.network.get_weights()
                self.folder.save_network(self.network, runfolder.BEST)


class TimeLeft(keras.callbacks.Callback):
    """Prints after each epoch how long the rest of the training takes.

    The estimate supposes that each step takes as long as a step of the epoch
    that has just ended, with its share of validation and files.

    Args:
      epochs: number of epochs of the whole training.
      steps_per_epoch: number of steps of a whole epoch.
    """

    def __init__(self, epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.begin: float | None = None
        self.steps = steps_per_epoch

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Prints the time left, above what Keras prints of the new epoch."""
        now = time.monotonic()
        if self.begin is not None:
            # The first epoch after a resume can have fewer steps.
            seconds_per_step = (now - self.begin) / self.steps
            steps = (self.epochs - epoch) * self.steps_per_epoch
            left = summary.duration(steps * seconds_per_step)
            print(f"about {left} left", flush=True)
        self.begin = now
        self.steps = self.params["steps"]


class EpochScalars(keras.callbacks.Callback):
    """One TensorBoard scalar per figure and epoch."""

    def __init__(self, folder: runfolder.RunFolder) -> None:
        super().__init__()
        self.path = str(folder.path / runfolder.TENSORBOARD)
        self.writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Writes and flushes the epoch's figures."""
        # Made here so that a training of no epochs leaves no empty file.
        self.writer = self.writer or tf.summary.create_file_writer(self.path)
        with self.writer.as_default(step=epoch):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        self.writer.flush()
