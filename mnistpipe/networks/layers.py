"""Descriptions of layers, from which everything about a network derives.

A description knows its output shape, its weights and its multiply-adds, and
imports no TensorFlow. `models.build` turns descriptions into Keras layers, and
`networkfile` reads descriptions from saved networks, with the ranges below.
Shapes are without the batch: ``(height, width, channels)`` or ``(units,)``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from mnistpipe.recipes import Interval

Shape = tuple[int, ...]
Size = Annotated[int, Interval(1, 1 << 31)]
Share = Annotated[float, Interval(0, 1)]


@dataclass(frozen=True)
class Layer:
    """What all layers share: by default a layer keeps the shape.

    The fields have the names and defaults of the Keras layer's arguments.

    Attributes:
      kind: the name of the Keras class.
      fixed: the names of the weights that training does not change with
        gradients.
      name: the layer's name within its network.
    """

    kind: ClassVar[str]
    fixed: ClassVar[tuple[str, ...]] = ()
    name: str

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that the layer makes of an input's shape."""
        return shape

    def weights(self, shape: Shape) -> dict[str, Shape]:
        """The shapes of the weights for an input's shape, in Keras' order."""
        del shape
        return {}

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds per picture; only those of kernels are counted."""
        del shape
        return 0


@dataclass(frozen=True)
class Conv(Layer):
    """A square convolution, with an activation if one is named."""

    kind = "Conv2D"
    filters: Size
    kernel_size: Size
    strides: Size = 1
    padding: str = "valid"
    dilation_rate: Size = 1
    use_bias: bool = True
    activation: str | None = None

    def output_shape(self, shape: Shape) -> Shape:
        """One pixel for each place of the kernel."""
        *sides, _ = shape
        # Without padding, the kernel must lie within the picture.
        lost = (self.kernel_size - 1) * self.dilation_rate
        lost = 0 if self.padding == "same" else lost
        return (*(-(-(s - lost) // self.strides) for s in sides), self.filters)

    def weights(self, shape: Shape) -> dict[str, Shape]:
        """The kernel, and the bias if there is one."""
        kernel = (self.kernel_size, self.kernel_size, shape[-1], self.filters)
        bias = {"bias": (self.filters,)} if self.use_bias else {}
        return {"kernel": kernel, **bias}

    def multiply_adds(self, shape: Shape) -> int:
        """The kernel's values, once for each pixel of the output."""
        *sides, _ = self.output_shape(shape)
        return math.prod(sides) * math.prod(self.weights(shape)["kernel"])


@dataclass(frozen=True)
class Dense(Layer):
    """A matrix and a bias, with an activation if one is named."""

    kind = "Dense"
    units: Size
    activation: str | None = None

    def output_shape(self, shape: Shape) -> Shape:
        """The units in place of the last axis."""
        return (*shape[:-1], self.units)

    def weights(self, shape: Shape) -> dict[str, Shape]:
        """The kernel and the bias."""
        return {"kernel": (shape[-1], self.units), "bias": (self.units,)}

    def multiply_adds(self, shape: Shape) -> int:
        """The kernel's values."""
        return math.prod(self.weights(shape)["kernel"])


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation over all axes but the last."""

    kind = "BatchNormalization"
    fixed = ("moving_mean", "moving_variance")
    momentum: Share

    def weights(self, shape: Shape) -> dict[str, Shape]:
        """Four values per channel, in Keras' order."""
        names = ("gamma", "beta", *self.fixed)
        return dict.fromkeys(names, shape[-1:])


@dataclass(frozen=True)
class Activation(Layer):
    """An activation of its own, where none is part of the layer before."""

    kind = "Activation"
    activation: str


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout of the share ``rate`` of the values."""

    kind = "Dropout"
    rate: Share


@dataclass(frozen=True)
class MaxPool(Layer):
    """The maximum of each 2x2 pixels."""

    kind = "MaxPooling2D"

    def output_shape(self, shape: Shape) -> Shape:
        """Half of each side, rounded down."""
        *sides, channels = shape
        return (*(side // 2 for side in sides), channels)


@dataclass(frozen=True)
class GlobalPool(Layer):
    """The mean over all pixels of each channel."""

    kind = "GlobalAveragePooling2D"

    def output_shape(self, shape: Shape) -> Shape:
        """The channels."""
        return shape[-1:]


@dataclass(frozen=True)
class Flatten(Layer):
    """All values in one row."""

    kind = "Flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """The number of all values."""
        return (math.prod(shape),)


KINDS: tuple[type[Layer], ...] = (
    *(Conv, Dense, BatchNorm, Activation, Dropout),
    *(MaxPool, GlobalPool, Flatten),
)


class ShapedLayer(NamedTuple):
    """A layer within a network, with its output shape."""

    layer: Layer
    shape: Shape
    weights: dict[str, Shape]
    multiply_adds: int

    @property
    def parameters(self) -> int:
        """How many values the weights hold."""
        return sum(map(math.prod, self.weights.values()))

    @property
    def non_trainable(self) -> int:
        """How many of these values gradients do not train."""
        return sum(math.prod(self.weights[name]) for name in self.layer.fixed)


def infer_shapes(layers: Sequence[Layer], shape: Shape) -> list[ShapedLayer]:
    """Passes an input's shape through a chain of layers.

    Returns:
      For each layer its output shape, weights and multiply-adds.
    """
    shaped = []
    for layer in layers:
        weights, count = layer.weights(shape), layer.multiply_adds(shape)
        shape = layer.output_shape(shape)
        shaped.append(ShapedLayer(layer, shape, weights, count))
    return shaped
