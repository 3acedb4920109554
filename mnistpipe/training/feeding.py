"""What `fit` is given: the host's feed or the device's.

Images are uint8 [N, H, W, C], targets one-hot float32 [N, classes], pictures
(what the network sees) float32 [N, H, W, C] of about 0…1. On the host path
tf.data sends pictures; on the device path it sends (index, key), and the
model that is trained gathers and augments.

Under a strategy of several devices, `fit` cuts each batch by position: of b
examples and R devices, the first gets the first ⌈b/R⌉, and so on.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.networks import augmentation
from mnistpipe.pipeline import layers
from mnistpipe.recipes import Recipe, RecipeError, RunOptions
from mnistpipe.training import distribution, optimizers
from mnistpipe.training.protocol import Split


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

    path: Literal["host", "device"]
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
    """The host's feed or the device's, compiled for the recipe.

    To be called where the network was made: in the scope of a strategy of
    several devices if there is one.
    """
    stream = pipeline.Stream(
        examples=len(split.train.labels),
        batch_size=recipe.batch_size,
        seed=options.seed,
    )
    _check_execution(options.steps_per_execution, stream.steps_per_epoch)
    _check_devices(options, stream)
    path = options.input
    if path == "auto":
        path = _choose_path(split)
    feed = {"host": _host_feed, "device": _device_feed}[path](
        recipe, network, split, classes, stream
    )
    feed.model.compile(
        optimizer=optimizers.make(recipe, stream.steps_per_epoch),
        loss=keras.losses.CategoricalCrossentropy(
            label_smoothing=recipe.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=_compiled(options.jit_compile),
        steps_per_execution=options.steps_per_execution,
    )
    # Here, where the strategy is.
    optimizers.build(feed.model.optimizer, feed.model.trainable_variables)
    return feed


def _choose_path(split: Split) -> str:
    size = split.train.images.nbytes
    if split.validation is not None:
        size += split.validation.images.nbytes
    memory = distribution.free_memory()
    chosen = {name: memory[name] for name in distribution.training() if memory}
    path, why = distribution.choose_input(size, chosen)
    if memory:  # else there was nothing to choose
        print(why, file=sys.stderr)
    return path


def _compiled(jit_compile: str) -> bool:
    if jit_compile == "auto":
        # XLA makes these networks some 3 times slower on a CPU, and its
        # programs are of one device.
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        return has_gpu and distribution.count() == 1
    return jit_compile == "on"


def _check_execution(steps: int, per_epoch: int) -> None:
    """Otherwise Keras takes the rest from the next epoch, in silence."""
    if per_epoch % steps:
        good = [n for n in range(1, per_epoch + 1) if per_epoch % n == 0]
        raise RecipeError(
            f"steps_per_execution: expected a divisor of the {per_epoch} steps "
            f"of an epoch ({', '.join(map(str, good))}), came {steps}"
        )


def _check_devices(options: RunOptions, stream: pipeline.Stream) -> None:
    """A device without examples would make BatchNorm's averages NaN."""
    count = distribution.count()
    if count == 1:
        return
    if options.jit_compile == "on":
        raise RecipeError(
            f"jit_compile: expected auto or off with {count} devices, since "
            "XLA's programs are of one device, came on"
        )
    last = stream.examples % stream.batch_size or stream.batch_size
    for size in (min(stream.batch_size, stream.examples), last):
        if -(-size // count) * (count - 1) >= size:
            raise RecipeError(
                "batch_size: expected one whose batches have examples for "
                f"each of the {count} devices, came {stream.batch_size} with "
                f"a batch of {size}"
            )


class Trainer(keras.Model):
    """Trains on several devices that have not all the same share of a batch.

    Keras averages the gradients of all devices alike, which is the mean over
    the batch only if each has as many examples. What is reported as the loss
    stays the device's own mean, since Keras weighs that itself.
    """

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> tf.Tensor:
        """The loss, its gradient that of the mean over the whole batch."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, **kwargs)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return loss
        examples = tf.cast(tf.shape(y)[0], loss.dtype)
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, examples)
        weighted = loss * (examples / mean)
        return weighted + tf.stop_gradient(loss - weighted)

    def train_step(self, data: Any) -> Any:
        """Keras' own, and BatchNorm's averages are those of all devices.

        Keras 3 leaves each device its own and saves the first one's.
        """
        logs = super().train_step(data)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return logs
        for weight in self.non_trainable_weights:
            if tf.as_dtype(weight.dtype).is_floating:
                value = tf.convert_to_tensor(weight)
                weight.assign(
                    context.all_reduce(tf.distribute.ReduceOp.MEAN, value)
                )
        return logs

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Any = None
    ) -> None:
        """Keras 3 makes its metrics for the mean of the devices' parts.

        Of which there is none if they differ in length: the first will do.
        """

        def first(parts: Any) -> tf.Tensor:
            strategy = self.distribute_strategy
            return strategy.experimental_local_results(parts)[0]

        for _, _, distributed in iterator or ():
            data_batch = tf.nest.map_structure(first, next(distributed))
            break
        super()._maybe_symbolic_build(data_batch=data_batch)


def _trainer(inputs: Any, outputs: Any) -> keras.Model:
    return (keras.Model if distribution.count() == 1 else Trainer)(
        inputs, outputs
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
            frozen=True,
        )

    validation = None
    if split.validation is not None:
        validation = (
            deterministic(recipe, split.validation.images),
            one_hot(split.validation.labels, classes),
        )
    # A model of its own, so that the network stays without an optimizer and
    # is saved alike on both paths.
    model = _trainer(network.inputs, network.outputs)
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
    resident = layers.Resident(
        images, augmentation.compose(recipe), distribution.training()
    )
    model = _trainer([index, key], network(resident((index, key))))
    targets = one_hot(split.train.labels, classes)

    def batches(start: int, stop: int) -> tf.data.Dataset:
        return pipeline.device_dataset(
            targets, stream, start=start, stop=stop, frozen=True
        )

    return Feed("device", model, stream, batches, validation)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """float32 [N, classes]."""
    return np.eye(classes, dtype=np.float32)[labels]
