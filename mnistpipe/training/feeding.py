"""What `fit` is given: the feed of the host path or of the device path.

Images are uint8 [N, H, W, C], targets one-hot float32 [N, classes], pictures
(the network's input) float32 [N, H, W, C] of about 0…1. On the host path
tf.data sends pictures. On the device path tf.data sends (index, key), and the
trained model gathers and augments the pictures.

Under a strategy of several devices, `fit` cuts each batch by position: of b
examples and R devices, the first device gets the first ⌈b/R⌉, and so on. A
group of several processes cuts each batch into equal parts before, and a
process computes its own part only.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.networks import augmentation
from mnistpipe.pipeline import layers
from mnistpipe.processes import group
from mnistpipe.recipes import Recipe, RecipeError, RunOptions
from mnistpipe.runs import backends
from mnistpipe.training import distribution, optimizers
from mnistpipe.training.protocol import Split

_MOST_ON_DEVICE = 1 << 30  # bytes of images that "auto" puts on a GPU


def deterministic(recipe: Recipe, images: np.ndarray) -> np.ndarray:
    """Returns validation or test pictures: the augmentation without chance."""
    return augmentation.compose(recipe).deterministic()(images).numpy()


@dataclasses.dataclass(frozen=True)
class Feed:
    """What `fit` is given.

    Attributes:
      path: "host" or "device".
      network: the recipe's network, which is saved.
      model: the model to call `fit` of: the network, on the device path
        behind the resident images.
      stream: the order of the steps.
      batches: takes a first and a stop step, counted over all epochs, and
        returns (inputs, targets) of each step between them.
      validation: (inputs, targets) of the validation rows, if there are any;
        in a group, of this process' part of them.
    """

    path: Literal["host", "device"]
    network: keras.Model
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
    """Makes the feed of the host or the device, with a compiled model.

    With several devices, call this function in the scope of their strategy,
    like the function that builds the network.
    """
    _check_group(recipe, options, split)
    stream = pipeline.Stream(
        examples=len(split.train.labels),
        batch_size=recipe.batch_size,
        seed=options.seed,
        part=(group.place(), group.count()),
    )
    _check_execution(options.steps_per_execution, stream.steps_per_epoch)
    _check_devices(options, stream)
    path = options.input
    if path == "auto":
        path = _choose_path(split)
    with memory_errors(path):
        feed = {"host": _host_feed, "device": _device_feed}[path](
            recipe, network, split, classes, stream
        )
    feed = dataclasses.replace(feed, validation=_own(feed.validation))
    feed.model.compile(
        optimizer=optimizers.make(recipe, stream.steps_per_epoch),
        loss=keras.losses.CategoricalCrossentropy(
            label_smoothing=recipe.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=_compiled(options.jit_compile),
        steps_per_execution=options.steps_per_execution,
    )
    # The variables must be made in the scope of the strategy.
    optimizers.build(feed.model.optimizer, feed.model.trainable_variables)
    return feed


def _choose_path(split: Split) -> str:
    """Returns "device" where there is a GPU, unless the images are too large.

    A GPU that lacks the memory is seen later: see `memory_errors`.
    """
    in_jax = backends.name() == "jax"
    if not (backends.accelerators() if in_jax else distribution.has_gpu()):
        return "host"
    size = split.train.images.nbytes
    if split.validation is not None:
        size += split.validation.images.nbytes
    if size <= _MOST_ON_DEVICE:
        return "device"
    print(
        f"input: host, since the images have {size / 2**20:,.0f} MiB; auto "
        f"puts at most {_MOST_ON_DEVICE / 2**20:,.0f} MiB on a GPU",
        file=sys.stderr,
    )
    return "host"


@contextlib.contextmanager
def memory_errors(path: str) -> Iterator[None]:
    """Turns an error of too little memory into one line of advice."""
    try:
        yield
    except (tf.errors.ResourceExhaustedError, RuntimeError) as error:
        # JAX has no own class for this error.
        if "RESOURCE_EXHAUSTED" not in str(error) and not isinstance(
            error, tf.errors.ResourceExhaustedError
        ):
            raise
        advice = "a smaller --batch_size"
        if path == "device":
            advice = "--input=host, which keeps the images off the device, or "
            advice += "a smaller --batch_size"
        reason = (str(error).splitlines() or [""])[0][:200]
        raise RecipeError(
            f"input: expected a training that fits into memory, got {reason!r}"
            f"; try {advice}"
        ) from error


def _compiled(jit_compile: str) -> bool:
    if jit_compile == "auto":
        # XLA makes these networks about 3 times slower on a CPU, and a program
        # of XLA runs on one device.
        return distribution.has_gpu() and distribution.count() == 1
    return jit_compile == "on"


def _check_execution(steps: int, per_epoch: int) -> None:
    """Refuses executions that would silently reach into the next epoch."""
    if per_epoch % steps:
        good = [n for n in range(1, per_epoch + 1) if per_epoch % n == 0]
        raise RecipeError(
            f"steps_per_execution: expected a divisor of the {per_epoch} steps "
            f"of an epoch ({', '.join(map(str, good))}), got {steps}"
        )


def _check_devices(options: RunOptions, stream: pipeline.Stream) -> None:
    """A device without examples would make BatchNorm's averages NaN."""
    count = distribution.count()
    if count == 1:
        return
    if options.jit_compile == "on":
        raise RecipeError(
            f"jit_compile: expected auto or off with {count} devices, since "
            "a program of XLA runs on one device, got on"
        )
    last = stream.examples % stream.batch_size or stream.batch_size
    for size in (min(stream.batch_size, stream.examples), last):
        if -(-size // count) * (count - 1) >= size:
            raise RecipeError(
                "batch_size: expected a size whose batches have examples for "
                f"each of the {count} devices, got {stream.batch_size} with "
                f"a batch of {size}"
            )


def _check_group(recipe: Recipe, options: RunOptions, split: Split) -> None:
    """Refuses parts of unequal size, with which JAX would train wrongly."""
    devices = group.devices()
    held_out = (
        "validation_size"
        if options.validation == "split"
        else f"{options.validation} validation"
    )
    sizes = {
        "batch_size": recipe.batch_size,
        "train_examples": len(split.train.labels),
        held_out: len(split.validation or ()),
    }
    for name, size in sizes.items():
        if size % devices:
            below = size - size % devices
            good = f"{below} or {below + devices}" if below else f"{devices}"
            raise RecipeError(
                f"{name}: expected a multiple of the {devices} devices of all "
                f"processes, such as {good}, got {size}"
            )


def _own(validation: Any) -> Any:
    """Returns this process' part of the validation rows."""
    if validation is None or group.count() == 1:
        return validation

    def part(rows: np.ndarray) -> np.ndarray:
        share = len(rows) // group.count()
        return rows[group.place() * share : (group.place() + 1) * share]

    return tf.nest.map_structure(part, validation)


class Trainer(keras.Model):
    """Trains on several devices whose shares of a batch differ in size.

    Keras averages the gradients of all devices with equal weights, which is
    the mean over the batch only if all devices have equally many examples.
    The reported loss stays the device's own mean, because Keras weights the
    reported losses by itself.
    """

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> tf.Tensor:
        """Returns the loss, with the gradient of the whole batch's mean."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, **kwargs)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return loss
        examples = tf.cast(tf.shape(y)[0], loss.dtype)
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, examples)
        weighted = loss * (examples / mean)
        return weighted + tf.stop_gradient(loss - weighted)

    def train_step(self, data: Any) -> Any:
        """Averages BatchNorm's statistics over the devices after each step.

        Keras 3 leaves each device its own and saves those of the first.
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
        """Builds the metrics from the first device's share of a batch.

        Keras 3 would take the mean of all shares, but shares of different
        lengths have no mean.
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
    # A second model keeps the optimizer out of the network, so that both paths
    # save the same network.
    model = _trainer(network.inputs, network.outputs)
    return Feed("host", network, model, stream, batches, validation)


def _device_feed(
    recipe: Recipe,
    network: keras.Model,
    split: Split,
    classes: int,
    stream: pipeline.Stream,
) -> Feed:
    """tf.data sends (index, key); the model gathers and augments."""
    images, validation = split.train.images, None
    dtype = "int32" if backends.name() == "jax" else "int64"
    if split.validation is not None:
        first, count = len(images), len(split.validation.images)
        images = np.concatenate([images, split.validation.images])
        # Validation draws nothing, so its keys are arbitrary.
        validation = (
            (
                np.arange(first, first + count, dtype=dtype),
                np.zeros((count, 2), np.uint32),
            ),
            one_hot(split.validation.labels, classes),
        )
    index = keras.Input((), dtype=dtype, name="index")
    key = keras.Input((2,), dtype="uint32", name="key")
    resident = layers.Resident(
        images, augmentation.compose(recipe), distribution.training()
    )
    model = _trainer([index, key], network(resident((index, key))))
    targets = one_hot(split.train.labels, classes)

    def batches(start: int, stop: int) -> tf.data.Dataset:
        return pipeline.device_dataset(
            *(targets, stream),
            start=start,
            stop=stop,
            frozen=True,
            index_dtype=dtype,
        )

    return Feed("device", network, model, stream, batches, validation)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns labels int64 [N] as float32 [N, classes]."""
    return np.eye(classes, dtype=np.float32)[labels]
