"""From the images of a batch to the images that an iterator yields.

``BatchAugmenter`` computes a whole batch with compiled programs.
``PerImageAugmenter`` calls a generator's methods image by image, for
generators with methods of their own. Images are [B, H, W, C], or
[B, C, H, W] in the data format "channels_first".
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline.compose import Compose
from mnistpipe.pipeline.generator.augmentation import LegacyAugmentation
from mnistpipe.pipeline.transform import Drawn, Transform
from mnistpipe.pipeline.transforms.normalize import (
    SamplewiseNormalize,
    ZCAWhitening,
)
from mnistpipe.pipeline.transforms.pixels import Rescale

EPSILON = 1e-6  # Keras' class adds it to a standard deviation.

# Reentrant: a user's batch method may call a user's image method.
_SEEDING = threading.RLock()
_DRAWING = threading.local()


def take_key() -> np.ndarray | None:
    """Returns the key of the image that a batch is at, once, or None.

    get_random_transform has no argument for it, and user code calls
    get_random_transform.
    """
    key = getattr(_DRAWING, "key", None)
    _DRAWING.key = None
    return key


@contextlib.contextmanager
def numpy_seeded(seed: Any) -> Iterator[None]:
    """Seeds NumPy's global generator for user code, then restores its state.

    Keras' class seeds the global generator for every batch, so user code
    draws from it. One thread at a time may do so.

    Args:
      seed: as numpy.random.seed takes it.
    """
    with _SEEDING:
        before = np.random.get_state()
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)


def is_overridden(owner: Any, name: str, original: Callable) -> bool:
    """Whether a method was replaced in a subclass, class or instance."""
    method = getattr(owner, name)
    return getattr(method, "__func__", method) is not original


def call_numpy(
    function: Callable[..., np.ndarray],
    tensors: Sequence[tf.Tensor],
    dtype: Any,
    shape: Any,
) -> tf.Tensor:
    """Calls a function of NumPy arrays, eagerly or as part of a graph.

    tf.numpy_function turns every exception into one of TensorFlow's, so it
    serves graphs only: an eager caller sees the exceptions of its own code.

    Args:
      function: from arrays to one array.
      tensors: its arguments.
      dtype: of the result.
      shape: static shape of the result.
    """
    if tf.executing_eagerly():
        arrays = [tensor.numpy() for tensor in tensors]
        return tf.convert_to_tensor(function(*arrays), dtype)
    result = tf.numpy_function(function, list(tensors), dtype)
    result.set_shape(shape)
    return result


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Statistics(Transform):
    """Subtracts a mean and divides by a standard deviation + 1e-6.

    Unlike FeaturewiseNormalize, this transform takes arrays of any shape:
    scripts write such arrays into a generator's ``mean`` and ``std``.

    Attributes:
      mean: float32 that broadcasts over an image, or None.
      std: float32 that broadcasts over an image, or None.
    """

    random: ClassVar[bool] = False

    mean: tf.Tensor | None = None
    std: tf.Tensor | None = None

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """[B, ...] → float32[B, ...]."""
        del drawn
        images = tf.cast(images, tf.float32)
        if self.mean is not None:
            images -= self.mean
        if self.std is not None:
            images /= self.std + EPSILON
        return images


def standardisation(
    *,
    rescale: float | None,
    center: bool,
    std: bool,
    statistics: tuple[np.ndarray | None, ...],
) -> tuple[Transform, ...]:
    """The part of ImageDataGenerator that draws nothing, in its order.

    Args:
      rescale: factor, or None.
      center: whether to subtract each image's mean.
      std: whether to divide by each image's standard deviation.
      statistics: mean, standard deviation and whitening matrix of the data
        set, each an array or None.

    Returns:
      The transforms that the arguments ask for.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        mean, deviation = (
            None if array is None else tf.constant(array, tf.float32)
            for array in statistics[:2]
        )
    steps: list[Transform] = []
    if rescale:
        steps.append(Rescale(rescale))
    if center or std:
        steps.append(SamplewiseNormalize(center=center, std=std))
    if mean is not None or deviation is not None:
        steps.append(Statistics(mean, deviation))
    if statistics[2] is not None:
        steps.append(ZCAWhitening(statistics[2], mean=(0.0,)))
    return tuple(steps)


@dataclasses.dataclass(frozen=True)
class BatchAugmenter:
    """Augments a batch with one compiled program, or with two.

    A preprocessing_function runs in NumPy, so it divides the program.

    Attributes:
      augmentation: the random part.
      function: the user's preprocessing_function of one image, or None.
      standardise: the transforms that follow.
      dtype: of the result, and of the image that ``function`` gets.
    """

    augmentation: LegacyAugmentation
    function: Callable[[np.ndarray], np.ndarray] | None
    standardise: tuple[Transform, ...]
    dtype: str

    @functools.cached_property
    def _programs(self) -> tuple[Compose, ...]:
        if self.function is None:
            return (Compose([self.augmentation, *self.standardise]),)
        return Compose([self.augmentation]), Compose(self.standardise)

    def __call__(
        self, images: tf.Tensor, keys: tf.Tensor, count: tf.Tensor | int
    ) -> tf.Tensor:
        """Augments the first ``count`` images of a batch.

        Args:
          images: [B, H, W, C] or [B, C, H, W].
          keys: uint32[B, 2].
          count: how many images to keep. A partial batch is computed at full
            size, so that one compiled program serves all batches.

        Returns:
          [count, ...] in ``dtype``.
        """
        images = self._programs[0](images, keys)[:count]
        if self.function is not None:
            images = call_numpy(
                self._each,
                [tf.cast(images, self.dtype), keys[:count]],
                tf.float32,
                images.shape,
            )
            images = self._programs[1](images)
        return tf.cast(images, self.dtype)

    def _each(self, images: np.ndarray, keys: np.ndarray) -> np.ndarray:
        function: Any = self.function  # not None, since `__call__` asks
        result = np.empty(images.shape, np.float32)
        for place, (image, key) in enumerate(zip(images, keys, strict=True)):
            with numpy_seeded(key):
                result[place] = function(image)
        return result


@dataclasses.dataclass(frozen=True)
class PerImageAugmenter:
    """Augments image by image through a generator's own methods.

    Attributes:
      generator: an ImageDataGenerator that has an overridden method.
      dtype: of the result.
    """

    generator: Any
    dtype: str

    def __call__(
        self, images: tf.Tensor, keys: tf.Tensor, count: tf.Tensor | int
    ) -> tf.Tensor:
        """Takes and returns what ``BatchAugmenter`` does."""
        images, keys = images[:count], keys[:count]
        return call_numpy(self._each, [images, keys], self.dtype, images.shape)

    def _each(self, images: np.ndarray, keys: np.ndarray) -> np.ndarray:
        result = np.empty(images.shape, self.dtype)
        images = images.astype(self.dtype)
        for place, (image, key) in enumerate(zip(images, keys, strict=True)):
            with numpy_seeded(key):
                result[place] = self._one(image, key)
        return result

    def _one(self, image: np.ndarray, key: np.ndarray) -> np.ndarray:
        _DRAWING.key = key
        parameters = self.generator.get_random_transform(image.shape)
        _DRAWING.key = None
        image = self.generator.apply_transform(image, parameters)
        return self.generator.standardize(image)
