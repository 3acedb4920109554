"""What `fit` is given: the host's feed or the device's.

Images are uint8 [N, H, W, C], targets one-hot float32 [N, classes], pictures
(what the network sees) float32 [N, H, W, C] of about 0…1. On the host path
tf.data sends pictures; on the device path it sends (index, key), and the
model that is trained gathers and augments.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe import augmentation, optimizers, pipeline
from mnistpipe.pipeline import layers
from mnistpipe.protocol import Split
from mnistpipe.recipes import Recipe, RecipeError, RunOptions


def deterministic(recipe: Recipe, images: np.ndarray) -> np.ndarray:
    """Validation and test pictures: all of the augmentation but chance."""
    return augmentation.compose(recipe).deterministic()(images).numpy()


@dataclasses.dataclass(frozen=True)
class Feed:
    """What `fit` is given.

    Attributes:
      path: "host" or "device".
      model: the network, or the network behind the resident images.
      stream: the steps, in order.
      batches: from a first step to before a last one, both counted over all
        epochs, (inputs, targets) of each.
      validation: (inputs, targets) of all validation rows, if there are any.
    """

    path: str
    model: keras.Model
    stream: pipeline.Stream
    batches: Callable[[int, int], tf.data.Dataset]
    validation: tuple[Any, np.ndarray] | None


def make_feed(
    recipe: Recipe,
    options: RunOptions,
    network: keras.Model,
    split: Split,
    classes: int,
) -> Feed:
    """The host's feed or the device's, compiled for the recipe."""
    stream = pipeline.Stream(
        examples=len(split.train.labels),
        batch_size=recipe.batch_size,
        seed=options.seed,
    )
    _check_execution(options.steps_per_execution, stream.steps_per_epoch)
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    path = options.input
    if path == "auto":
        path = "device" if has_gpu else "host"
    feed = {"host": _host_feed, "device": _device_feed}[path](
        recipe, network, split, classes, stream
    )
    feed.model.compile(
        optimizer=optimizers.make(recipe, stream.steps_per_epoch),
        loss=keras.losses.CategoricalCrossentropy(
            label_smoothing=recipe.label_smoothing
        ),
        metrics=["accuracy"],
        # XLA makes these networks some 3 times slower on a CPU.
        jit_compile={"on": True, "off": False, "auto": has_gpu}[
            options.jit_compile
        ],
        steps_per_execution=options.steps_per_execution,
    )
    return feed


def _check_execution(steps: int, per_epoch: int) -> None:
    """Otherwise Keras takes the rest from the next epoch, in silence."""
    if per_epoch % steps:
        good = [n for n in range(1, per_epoch + 1) if per_epoch % n == 0]
        raise RecipeError(
            f"steps_per_execution: expected a divisor of the {per_epoch} steps "
            f"of an epoch ({', '.join(map(str, good))}), came {steps}"
        )


def _host_feed(
    recipe: Recipe,
    network: keras.Model,
    split: Split,
    classes: int,
    stream: pipeline.Stream,
) -> Feed:
    """tf.data gathers and augments; the model is fed pictures."""
    augment = augmentation.compose(recipe)
    targets = one_hot(split.train.labels, classes)

    def batches(start: int, stop: int) -> tf.data.Dataset:
        return pipeline.host_dataset(
            *(split.train.images, targets, stream, augment),
            start=start,
            stop=stop,
        )

    validation = None
    if split.validation is not None:
        validation = (
            deterministic(recipe, split.validation.images),
            one_hot(split.validation.labels, classes),
        )
    # A model of its own, so that the network stays without an optimizer and
    # is saved alike on both paths.
    model = keras.Model(network.inputs, network.outputs)
    return Feed("host", model, stream, batches, validation)


def _device_feed(
    recipe: Recipe,
    network: keras.Model,
    split: Split,
    classes: int,
    stream: pipeline.Stream,
) -> Feed:
    """tf.data sends (index, key); the model gathers and augments."""
    images, validation = split.train.images, None
    if split.validation is not None:
        first, count = len(images), len(split.validation.images)
        images = np.concatenate([images, split.validation.images])
        # No chance without training, so any key does.
        validation = (
            (
                np.arange(first, first + count),
                np.zeros((count, 2), np.uint32),
            ),
            one_hot(split.validation.labels, classes),
        )
    index = keras.Input((), dtype="int64", name="index")
    key = keras.Input((2,), dtype="uint32", name="key")
    resident = layers.Resident(images, augmentation.compose(recipe))
    model = keras.Model([index, key], network(resident((index, key))))
    targets = one_hot(split.train.labels, classes)

    def batches(start: int, stop: int) -> tf.data.Dataset:
        return pipeline.device_dataset(targets, stream, start=start, stop=stop)

    return Feed("device", model, stream, batches, validation)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """float32 [N, classes]."""
    return np.eye(classes, dtype=np.float32)[labels]
