"""Transforms of the values of pixels, which move none of them.

Pictures are ``[B, H, W, C]``, uint8 or float, and come out as float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, exact
from mnistpipe.pipeline.transform import (
    Drawn,
    Range,
    Shape,
    Transform,
    check_bool,
    check_in_range,
    check_interval,
    per_example,
)

Interval = float | tuple[float, float]


def check_value_range(transform: Transform) -> None:
    """Raises ValueError unless value_range is (low, high), low < high."""
    check_interval(transform, "value_range", -np.inf, np.inf)
    value = transform.value_range
    if not isinstance(value, (tuple, list)) or value[0] == value[1]:
        raise ValueError(
            f"Expected {type(transform).__name__}.value_range to be (low, "
            f"high), low < high. Received: {value!r}"
        )


def _between(
    uniform: tf.Tensor, interval: Interval, around: float = 0.0
) -> tf.Tensor:
    """A draw from [around − r, around + r], or from (low, high)."""
    if isinstance(interval, (tuple, list)):
        low, high = interval
    else:
        low, high = around - interval, around + interval
    return low + uniform * (high - low)


@dataclasses.dataclass(frozen=True, repr=False)
class GaussianNoise(Transform):
    """Adds independent normal noise to every value; nothing is clipped.

    Attributes:
      stddev: standard deviation, in the pictures' range of values.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    stddev: float

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_in_range(self, "stddev", 0.0, np.inf)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws standard normals, float32[B, H, W, C]."""
        return {"noise": rng.normal_field(shape)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Adds stddev times the noise."""
        return tf.cast(images, tf.float32) + self.stddev * drawn["noise"]


@dataclasses.dataclass(frozen=True, repr=False)
class ChannelShift(Transform):
    """Adds one number to a picture, within the picture's own range.

    As ImageDataGenerator does, the result is clipped to the least and the
    greatest value of the picture as it was, over all its channels.

    Attributes:
      shift: r, for uniform in [−r, r], or (low, high); in the pictures'
        range of values.
      per_channel: draw a number for each channel instead.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    shift: Interval
    per_channel: bool = False

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_interval(self, "shift", -np.inf, np.inf)
        check_bool(self, "per_channel")

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "shift", float32[B, C or 1]."""
        count = shape[2] if self.per_channel else 1
        return {"shift": _between(rng.uniform(count), self.shift)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Shifts and clips."""
        images = tf.cast(images, tf.float32)
        axes = [1, 2, 3]
        low = tf.reduce_min(images, axes, keepdims=True)
        high = tf.reduce_max(images, axes, keepdims=True)
        shifted = images + drawn["shift"][:, None, None, :]
        return tf.clip_by_value(shifted, low, high)


@dataclasses.dataclass(frozen=True, repr=False)
class Brightness(Transform):
    """Scales the distance from black, and adds a part of the range.

        low + factor·(x − low) + delta·(high − low), clipped to (low, high)

    On 0 to 255, ``factor`` is that of PIL's ImageEnhance.Brightness and of
    ImageDataGenerator's brightness_range, ``delta`` that of Keras'
    RandomBrightness.

    Attributes:
      factor: r, for uniform in [1 − r, 1 + r], or (low, high); 0 is black,
        1 changes nothing.
      delta: r, for uniform in [−r, r], or (low, high); 1 is the whole
        value range, 0 changes nothing.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255). Values
        beyond it are clipped to it.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    factor: Interval = 0.0
    delta: Interval = 0.0
    value_range: tuple[float, float] = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        _check_factor(self)
        check_interval(self, "delta", -1.0, 1.0)
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "factor" and "delta", float32[B]."""
        del shape
        uniform = rng.uniform(2)
        return {
            "factor": _between(uniform[:, 0], self.factor, around=1.0),
            "delta": _between(uniform[:, 1], self.delta),
        }

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Brightens or darkens."""
        images = tf.cast(images, tf.float32)
        low, high = self.value_range
        factor, delta = drawn["factor"], drawn["delta"]
        # x is multiplied alone: a factor of 1 then leaves every bit.
        added = low * (1 - factor) + delta * (high - low)
        bright = images * per_example(factor) + per_example(added)
        return tf.clip_by_value(bright, low, high)


@dataclasses.dataclass(frozen=True, repr=False)
class Contrast(Transform):
    """Scales the distance from each channel's mean.

        mean + factor·(x − mean), clipped to the value range

    with the mean over the channel's own pixels, as tf.image.adjust_contrast
    and Keras' RandomContrast have it (PIL's is that of the grey picture).

    Attributes:
      factor: r, for uniform in [1 − r, 1 + r], or (low, high); 0 is flat,
        1 changes nothing.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255). Values
        beyond it are clipped to it.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    factor: Interval
    value_range: tuple[float, float] = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        _check_factor(self)
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "factor", float32[B]."""
        del shape
        uniform = rng.uniform(1)[:, 0]
        return {"factor": _between(uniform, self.factor, around=1.0)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Stretches or flattens."""
        images = tf.cast(images, tf.float32)
        factor = per_example(drawn["factor"])
        # x is multiplied alone: a factor of 1 then leaves every bit.
        changed = images * factor + exact.mean(images, (1, 2)) * (1 - factor)
        return tf.clip_by_value(changed, *self.value_range)


def _check_factor(transform: Brightness | Contrast) -> None:
    """A factor is r in [0, 1], or (low, high) of at least 0."""
    pair = isinstance(transform.factor, (tuple, list))
    check_interval(transform, "factor", 0.0, np.inf if pair else 1.0)


@dataclasses.dataclass(frozen=True, repr=False)
class Rescale(Transform):
    """Multiplies, then adds: 1/255 brings uint8's range to [0, 1].

    Attributes:
      scale: factor.
      offset: added to the product.
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False

    scale: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_in_range(self, "scale", -np.inf, np.inf)
        check_in_range(self, "offset", -np.inf, np.inf)

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """scale·images + offset."""
        del drawn
        return tf.cast(images, tf.float32) * self.scale + self.offset

    def range_after(self, given: Range | None) -> Range | None:
        """The scaled range."""
        if given is None:
            return None
        ends = [end * self.scale + self.offset for end in given]
        return min(ends), max(ends)


# What tf.numpy_function and tf.py_function become in a graph.
_PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


@dataclasses.dataclass(frozen=True, repr=False)
class Apply(Transform):
    """Calls a function of your own on whole batches.

    It is compiled with the rest: it must be made of TensorFlow operations
    that XLA knows. NumPy, even through tf.numpy_function, is not; such a
    function belongs in a map of its own before or after the pipeline. What
    it does must not depend on the batch, or the pictures will. It draws
    nothing, so it applies in evaluation too; a random one is a subclass of
    Transform.

    Attributes:
      function: float32 [B, H, W, C] → the same shape, any float dtype.
      moves_pixels: False says that every pixel stays in its place, so that
        masks stay as they are. Otherwise masks are refused.
    """

    random: ClassVar[bool] = False

    function: Callable[[tf.Tensor], tf.Tensor]
    moves_pixels: bool | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        if not callable(self.function):
            raise ValueError(
                "Expected Apply.function to be a function of a batch "
                f"[B, H, W, C]. Received: {self.function!r}"
            )

    def __repr__(self) -> str:
        """By the function's name."""
        return super().__repr__().replace(repr(self.function), self._name())

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Calls the function."""
        del drawn
        images = tf.cast(images, tf.float32)
        before = _count_python_ops(images)
        result = tf.convert_to_tensor(self.function(images))
        if _count_python_ops(images) > before:
            raise ValueError(
                f"Expected {self._name()} to be made of TensorFlow "
                "operations, which XLA can compile. Received: one that "
                "calls Python or NumPy; map it over the dataset instead"
            )
        if result.shape.rank != 4 or not result.dtype.is_floating:
            raise ValueError(
                f"Expected {self._name()} to return floats of shape [batch, "
                "height, width, channels]. Received: "
                f"{result.dtype.name} {result.shape}"
            )
        return tf.cast(result, tf.float32)

    def _name(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


def _count_python_ops(tensor: tf.Tensor) -> int:
    if not tf.is_symbolic_tensor(tensor):
        return 0
    return sum(op.type in _PYTHON_OPS for op in tensor.graph.get_operations())
