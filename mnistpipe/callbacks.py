"""What watches a training: schedule, best checkpoint, history, scalars.

Stock Keras callbacks, besides two. Keras' ModelCheckpoint writes in place and
saves the model that `fit` trains, which on the device path holds the data;
its TensorBoard does its work at each batch, and waits for the device there.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe import runfolder
from mnistpipe.recipes import Recipe


def schedule(recipe: Recipe, validated: bool) -> list[keras.callbacks.Callback]:
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


def _monitor(name: str, validated: bool) -> dict[str, str]:
    name = name if validated else "loss"
    return {"monitor": name, "mode": "max" if "accuracy" in name else "min"}


class SaveBest(keras.callbacks.Callback):
    """Keeps the network of the best epoch so far; the first of equals."""

    def __init__(
        self,
        network: keras.Model,
        folder: runfolder.RunFolder,
        monitor: str,
    ) -> None:
        super().__init__()
        self.network = network
        self.folder = folder
        self.monitor = monitor
        self.sign = 1 if "accuracy" in monitor else -1
        self.best = -math.inf
        self.best_epoch: int | None = None
        self.weights: list[np.ndarray] | None = None  # that epoch's

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves if the monitored figure improved."""
        figure = self.sign * float(logs[self.monitor])
        if figure > self.best:
            self.best, self.best_epoch = figure, epoch
            self.weights = self.network.get_weights()
            self.folder.save_network(self.network, runfolder.BEST)


class EpochScalars(keras.callbacks.Callback):
    """One TensorBoard scalar per figure and epoch."""

    def __init__(self, folder: runfolder.RunFolder) -> None:
        super().__init__()
        self.path = str(folder.path / runfolder.TENSORBOARD)
        self.writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes and flushes the epoch's figures."""
        # Made here so that a training of no epochs leaves no empty file.
        self.writer = self.writer or tf.summary.create_file_writer(self.path)
        with self.writer.as_default(step=epoch):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        self.writer.flush()
