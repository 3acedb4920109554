"""The callbacks of a training: schedule, best network, scores, scalars.

Most are stock Keras callbacks. SaveBest replaces Keras' ModelCheckpoint, which
writes in place and saves the model that `fit` trains, and so on the device
path the data. EpochScalars replaces Keras' TensorBoard, which works at each
batch and waits for the device there.
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
from mnistpipe.processes import group
from mnistpipe.recipes import SCHEDULES_BY_STEP, Recipe
from mnistpipe.runs import runfolder, summary
from mnistpipe.training import optimizers


def schedule(
    recipe: Recipe, validated: bool, steps_per_epoch: int
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks of the recipe's learning rate and early stopping.

    Without validation, plateau and early stopping monitor the training loss.
    """
    callbacks: list[keras.callbacks.Callback] = []
    if recipe.schedule == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                **_monitor(recipe.plateau_monitor, validated),
                patience=recipe.plateau_patience,
                factor=recipe.plateau_factor,
                min_lr=recipe.plateau_min_lr,
            )
        )
    elif recipe.schedule in SCHEDULES_BY_STEP:
        callbacks.append(_log_learning_rate(recipe, steps_per_epoch))
    else:
        callbacks.append(
            keras.callbacks.LearningRateScheduler(
                lambda epoch, _: recipe.learning_rate_at(epoch)
            )
        )
    if recipe.early_stopping_patience:
        # SaveBest keeps the best weights. Keras 2 would restore them only
        # after an early stop, and keeps them only in memory.
        callbacks.append(
            keras.callbacks.EarlyStopping(
                **_monitor(recipe.early_stopping_monitor, validated),
                patience=recipe.early_stopping_patience,
            )
        )
    return callbacks


def _log_learning_rate(
    recipe: Recipe, steps_per_epoch: int
) -> keras.callbacks.Callback:
    """Returns a callback that logs the learning rate of an epoch's last step.

    Keras' own callbacks log the rates that they set in the same way.
    """
    # The recipe has a schedule by step, so this is a function of the step.
    rate_at: Any = optimizers.learning_rate(recipe, steps_per_epoch)

    def log(epoch: int, logs: dict) -> None:
        last_step = (epoch + 1) * steps_per_epoch - 1
        logs["learning_rate"] = float(rate_at(last_step))

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _monitor(name: str, validated: bool) -> dict[str, str]:
    name = name if validated else "loss"
    return {"monitor": name, "mode": "max" if "accuracy" in name else "min"}


class Averages(keras.callbacks.Callback):
    """Validates with the optimizer's moving averages of the weights.

    Keras' SwapEMAWeights swaps by adding and subtracting, which rounds the
    weights, so that a resumed training would have other bits. Keras 2 lacks
    SwapEMAWeights.
    """

    def __init__(self, trainer: keras.Model) -> None:
        super().__init__()
        self.trainer = trainer
        self.weights: list[np.ndarray] = []  # while the averages replace them
        self.epoch_end_weights: list[np.ndarray] = []

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Replaces the network's weights by the averages inside a `with`."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Replaces the weights by the averages."""
        self.weights = self._values()
        self.trainer.optimizer.finalize_variable_values(
            self.trainer.trainable_variables
        )
        # Under JAX both variables now share one array, which evaluation may
        # donate. Assign copies.
        self._assign(self._values())

    def on_test_end(self, logs: dict | None = None) -> None:
        """Puts the weights back."""
        self._assign(self.weights)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keeps the weights, because `fit` overwrites them when it ends."""
        self.epoch_end_weights = self._values()

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts from the weights with which the previous `fit` ended."""
        if self.epoch_end_weights:
            self._assign(self.epoch_end_weights)

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
      pictures: float32 [N, H, W, C], the network's input.
      labels: int64 [N].
      averages: replace the weights, if the recipe averages them.
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
        self._copy: keras.Model | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Adds test_accuracy and test_loss to the epoch's figures.

        In a group of several processes only process 0 scores, and the figures
        of the others are NaN.
        """
        logs["test_accuracy"] = logs["test_loss"] = math.nan
        with (
            self.averages.swapped_in()
            if self.averages
            else contextlib.nullcontext()
        ):
            if group.place() > 0:
                return
            with group.apart():
                network = self._own_network()
                scores = scoring.evaluate(network, self.pictures, self.labels)
        logs["test_accuracy"] = scores.accuracy
        logs["test_loss"] = scores.loss

    def _own_network(self) -> keras.Model:
        """Returns a network that this process of a group can call alone."""
        if group.count() == 1:
            return self.network
        # One copy for all epochs, since each one would be compiled anew.
        self._copy = self._copy or keras.models.clone_model(self.network)
        self._copy.set_weights(self.network.get_weights())
        return self._copy


class SaveBest(keras.callbacks.Callback):
    """Saves the network of the best epoch; of equal epochs, the first.

    Args:
      network: the network that is trained.
      folder: where best.keras is written.
      monitor: the figure that decides; accuracies are maximised, others
        minimised.
      averages: replace the weights, if the recipe averages them.
    """

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
        self.weights: list[np.ndarray] | None = None  # of the best epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Saves if the monitored figure improved."""
        figure = self.sign * float(logs[self.monitor])
        if figure > self.best:
            self.best, self.best_epoch = figure, epoch
            with (
                self.averages.swapped_in()
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
    """Writes one TensorBoard scalar per figure and epoch."""

    def __init__(self, folder: runfolder.RunFolder) -> None:
        super().__init__()
        self.path = str(folder.path / runfolder.TENSORBOARD)
        self.writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Writes and flushes the epoch's figures."""
        # Made here, so that a training of no epochs leaves no empty file.
        self.writer = self.writer or tf.summary.create_file_writer(self.path)
        with self.writer.as_default(step=epoch):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        self.writer.flush()
