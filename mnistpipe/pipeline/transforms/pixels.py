"""Transforms of the values of pixels: noise, brightness, contrast, scale.

Pictures are ``[B, H, W, C]``, uint8 or float, and become float32. No pixel
changes its place, so masks stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, ops
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
from mnistpipe.pipeline.transforms import exact
from mnistpipe.pipeline.transforms.ranges import (
    Interval,
    between,
    check_factor,
    check_value_range,
)


@dataclasses.dataclass(frozen=True, repr=False)
class GaussianNoise(Transform):
    """Adds independent normal noise to every value, and clips nothing.

    Attributes:
      stddev: standard deviation, in the pictures' range of values.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True
    runs_in_jax: ClassVar[bool] = True

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
        xp = ops.of(images)
        return xp.cast(images, tf.float32) + self.stddev * drawn["noise"]


@dataclasses.dataclass(frozen=True, repr=False)
class ChannelShift(Transform):
    """Adds one number to a picture, within the picture's own range.

    As in ImageDataGenerator, the result is clipped to the least and the
    greatest value that the picture had before, over all its channels.

    Attributes:
      shift: r, for uniform in [−r, r], or (low, high); in the pictures'
        range of values.
      per_channel: whether each channel has a number of its own.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True
    runs_in_jax: ClassVar[bool] = True

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
        return {"shift": between(rng.uniform(count), self.shift)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Shifts and clips."""
        xp = ops.of(images)
        images = xp.cast(images, tf.float32)
        axes = [1, 2, 3]
        low = xp.reduce_min(images, axes, keepdims=True)
        high = xp.reduce_max(images, axes, keepdims=True)
        shifted = images + drawn["shift"][:, None, None, :]
        return xp.clip_by_value(shifted, low, high)


@dataclasses.dataclass(frozen=True, repr=False)
class Brightness(Transform):
    """Scales the distance from black, and adds a part of the range.

        low + factor·(x − low) + delta·(high − low), clipped to (low, high)

    On 0 to 255, ``factor`` means the same as in Pillow's
    ImageEnhance.Brightness and in ImageDataGenerator's brightness_range, and
    ``delta`` means the same as in Keras' RandomBrightness.

    Attributes:
      factor: r, for uniform in [1 − r, 1 + r], or (low, high); 0 is black,
        1 changes nothing.
      delta: r, for uniform in [−r, r], or (low, high); 1 is the whole
        value range, 0 changes nothing.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255). Values
        beyond the range are clipped.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True
    runs_in_jax: ClassVar[bool] = True

    factor: Interval = 0.0
    delta: Interval = 0.0
    value_range: tuple[float, float] = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_factor(self)
        check_interval(self, "delta", -1.0, 1.0)
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "factor" and "delta", float32[B]."""
        del shape
        uniform = rng.uniform(2)
        return {
            "factor": between(uniform[:, 0], self.factor, around=1.0),
            "delta": between(uniform[:, 1], self.delta),
        }

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Brightens or darkens."""
        xp = ops.of(images)
        images = xp.cast(images, tf.float32)
        low, high = self.value_range
        factor, delta = drawn["factor"], drawn["delta"]
        # x is multiplied alone, so that a factor of 1 keeps every bit.
        added = low * (1 - factor) + delta * (high - low)
        bright = images * per_example(factor) + per_example(added)
        return xp.clip_by_value(bright, low, high)


@dataclasses.dataclass(frozen=True, repr=False)
class Contrast(Transform):
    """Scales the distance from each channel's mean.

        mean + factor·(x − mean), clipped to the value range

    The mean is over the channel's own pixels, as in
    tf.image.adjust_contrast and Keras' RandomContrast. Pillow and
    torchvision take the mean of the grey picture: see ColorJitter.

    Attributes:
      factor: r, for uniform in [1 − r, 1 + r], or (low, high); 0 is flat,
        1 changes nothing.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255). Values
        beyond the range are clipped.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True
    runs_in_jax: ClassVar[bool] = True

    factor: Interval
    value_range: tuple[float, float] = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_factor(self)
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "factor", float32[B]."""
        del shape
        uniform = rng.uniform(1)[:, 0]
        return {"factor": between(uniform, self.factor, around=1.0)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Stretches or flattens."""
        xp = ops.of(images)
        images = xp.cast(images, tf.float32)
        factor = per_example(drawn["factor"])
        # x is multiplied alone, so that a factor of 1 keeps every bit.
        changed = images * factor + exact.mean(images, (1, 2)) * (1 - factor)
        return xp.clip_by_value(changed, *self.value_range)


@dataclasses.dataclass(frozen=True, repr=False)
class Rescale(Transform):
    """Multiplies, then adds: 1/255 maps the range of uint8 to [0, 1].

    Attributes:
      scale: factor.
      offset: added to the product.
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False
    runs_in_jax: ClassVar[bool] = True

    scale: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_in_range(self, "scale", -np.inf, np.inf)
        check_in_range(self, "offset", -np.inf, np.inf)

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """scale·images + offset."""
        xp = ops.of(images)
        del drawn
        return xp.cast(images, tf.float32) * self.scale + self.offset

    def range_after(self, given: Range | None) -> Range | None:
        """The scaled range."""
        if given is None:
            return None
        ends = [end * self.scale + self.offset for end in given]
        return min(ends), max(ends)


# The operations of tf.numpy_function and tf.py_function in a graph.
_PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


@dataclasses.dataclass(frozen=True, repr=False)
class Apply(Transform):
    """Calls a function of your own on whole batches.

    The function is compiled with the other transforms, so it must consist
    of TensorFlow operations that XLA knows. NumPy does not compile, not even
    through tf.numpy_function: call such a function in a map of its own,
    before or after the pipeline. The function must treat each picture alone,
    or the pictures will depend on the batch. Nothing is drawn, so evaluation
    applies this transform too. For a random transform subclass Transform.

    Attributes:
      function: float32 [B, H, W, C] → the same shape, any float dtype.
      moves_pixels: False says that every pixel stays in its place, so that
        masks stay as they are. Otherwise masks are refused.
    """

    random: ClassVar[bool] = False

    function: Callable[[tf.Tensor], tf.Tensor]
    # A field of this class alone; an attribute of all other classes.
    moves_pixels: bool | None = dataclasses.field(  # type: ignore[misc]
        default=None, kw_only=True
    )

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        if not callable(self.function):
            raise ValueError(
                "Expected Apply.function to be a function of a batch "
                f"[B, H, W, C]. Received: {self.function!r}"
            )

    def __repr__(self) -> str:
        """The call that makes it, with the function's name."""
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
