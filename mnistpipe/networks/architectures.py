"""The architectures, each as a list of layer descriptions; no TensorFlow.

To add an architecture, write a function from a `Recipe` to the layers between
the pictures and the output layer, and name it in ``ARCHITECTURES``.
"""

import itertools
import math
from collections.abc import Callable, Sequence

from mnistpipe.networks import layers
from mnistpipe.networks.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
)
from mnistpipe.networks.networkfile import ModelError
from mnistpipe.recipes import Recipe

_MULTIPLE = 8  # Filters and units are multiples of 8.


def strided400k(recipe: Recipe) -> list[Layer]:
    """Strided 5×5 convolutions in place of pooling; 403,562 parameters.

    The document prints 128 parameters and 26×26×32 for the first row. A 3×3
    convolution has 288 parameters. A 2×2 convolution, dilated by 2, has the
    printed parameters and shape, and is the default stem. The document's
    table has no rows for activations, so the activations are part of all
    convolutions and come before the BatchNorm.
    """

    def conv3(filters: int, n: int) -> list[Layer]:
        printed_stem = n == 1 and recipe.stem == "printed"
        conv = Conv(
            f"conv{n}",
            scaled(filters, recipe),
            kernel_size=2 if printed_stem else 3,
            dilation_rate=2 if printed_stem else 1,
            use_bias=False,
            activation=recipe.activation,
        )
        return [conv, BatchNorm(f"norm{n}", recipe.batchnorm_momentum)]

    def conv5(filters: int, n: int) -> Layer:
        return Conv(
            f"stride{n}",
            scaled(filters, recipe),
            kernel_size=5,
            strides=2,
            padding="same",
            activation=recipe.activation,
        )

    return [
        *conv3(32, 1),
        *conv3(32, 2),
        conv5(32, 1),
        Dropout("dropout1", recipe.dropout),
        *conv3(64, 3),
        *conv3(64, 4),
        conv5(64, 2),
        Dropout("dropout2", recipe.dropout),
        conv5(128, 3),
        Flatten("flatten"),
        Dropout("dropout3", recipe.output_dropout),
    ]


def pool2m(recipe: Recipe) -> list[Layer]:
    """Two pooled pairs of 3×3 convolutions, two Dense; 2,213,610 parameters.

    The document describes the layers and says "2.2m". The widths are those of
    public code with the same description.
    """

    def conv(filters: int, n: int) -> list[Layer]:
        filters = scaled(filters, recipe)
        conv = Conv(f"conv{n}", filters, 3, padding="same")
        return [conv, *_norm_and_activation(recipe, n)]

    def dense(units: int, n: int) -> list[Layer]:
        dense = Dense(f"dense{n - 4}", scaled(units, recipe))
        return [dense, *_norm_and_activation(recipe, n)]

    return [
        *conv(32, 1),
        *conv(32, 2),
        MaxPool("pool1"),
        Dropout("dropout1", recipe.dropout),
        *conv(64, 3),
        *conv(64, 4),
        MaxPool("pool2"),
        Dropout("dropout2", recipe.dropout),
        Flatten("flatten"),
        *dense(512, 5),
        Dropout("dropout3", recipe.dropout),
        *dense(1024, 6),
        Dropout("dropout4", recipe.output_dropout),
    ]


def compact500k(recipe: Recipe) -> list[Layer]:
    """386,474 parameters and 42.7 million multiply-adds; this project's own.

    The document only gives a size of 500,000 parameters. The network combines
    stacked 3×3 convolutions as in VGG (Simonyan and Zisserman 2014), BatchNorm
    before each activation (Ioffe and Szegedy 2015) and global average pooling
    (Lin et al. 2013). Where the network pools, BatchNorm and activation follow
    the pooling, where they have a quarter of the values to work on. results/
    lists the other candidates.
    """
    return [
        *_conv(recipe, 32, 1),
        *_conv(recipe, 48, 2, pooled=True),
        Dropout("dropout1", recipe.dropout),
        *_conv(recipe, 80, 3),
        *_conv(recipe, 80, 4, pooled=True),
        Dropout("dropout2", recipe.dropout),
        *_conv(recipe, 128, 5),
        *_conv(recipe, 160, 6),
        GlobalPool("pool6"),
        Dropout("dropout3", recipe.output_dropout),
    ]


def wide900k(recipe: Recipe) -> list[Layer]:
    """5×5 and 3×3 pairs without BatchNorm, one Dense; 887,530 parameters.

    The document's table ends at Flatten. The two Dense layers and the dropout
    rates are those of public code.
    """

    def conv(filters: int, size: int, n: int) -> Layer:
        return Conv(
            f"conv{n}",
            scaled(filters, recipe),
            size,
            padding="same",
            activation=recipe.activation,
        )

    return [
        conv(32, 5, 1),
        conv(32, 5, 2),
        MaxPool("pool1"),
        Dropout("dropout1", recipe.dropout),
        conv(64, 3, 3),
        conv(64, 3, 4),
        MaxPool("pool2"),
        Dropout("dropout2", recipe.dropout),
        Flatten("flatten"),
        Dense("dense1", scaled(256, recipe), recipe.activation),
        Dropout("dropout3", recipe.output_dropout),
    ]


def quick65k(recipe: Recipe) -> list[Layer]:
    """64,794 parameters, 1.9 million multiply-adds; this project's own.

    The network is made for a minute of training on a CPU. As in compact500k,
    BatchNorm and activation follow the pooling. Its output layer sees all
    pixels of the last convolution. results/ lists the other candidates.
    """
    return [
        *_conv(recipe, 16, 1, size=5, padding="valid", pooled=True),
        *_conv(recipe, 48, 2, pooled=True),
        Dropout("dropout1", recipe.dropout),
        *_conv(recipe, 96, 3, padding="valid"),
        Flatten("flatten"),
        Dropout("dropout2", recipe.output_dropout),
    ]


def _conv(
    recipe: Recipe,
    filters: int,
    n: int,
    size: int = 3,
    padding: str = "same",
    pooled: bool = False,
) -> list[Layer]:
    """A convolution, pooling if ``pooled``, BatchNorm and activation."""
    filters = scaled(filters, recipe)
    conv = Conv(f"conv{n}", filters, size, padding=padding, use_bias=False)
    pool = [MaxPool(f"pool{n}")] if pooled else []
    return [conv, *pool, *_norm_and_activation(recipe, n)]


def _norm_and_activation(recipe: Recipe, n: int) -> list[Layer]:
    name = recipe.activation
    return [
        BatchNorm(f"norm{n}", recipe.batchnorm_momentum),
        Activation(f"{name}{n}", name),
    ]


def scaled(documented: int, recipe: Recipe) -> int:
    """Returns filters or units for the recipe's width; halves round up."""
    multiples = math.floor(documented * recipe.width / _MULTIPLE + 0.5)
    return _MULTIPLE * max(1, multiples)


# The layers between the pictures and the output layer, by name.
ARCHITECTURES: dict[str, Callable[[Recipe], list[Layer]]] = {
    "strided400k": strided400k,
    "pool2m": pool2m,
    "compact500k": compact500k,
    "wide900k": wide900k,
    "quick65k": quick65k,
}


def describe(recipe: Recipe, classes: int = 10) -> list[Layer]:
    """Returns all layers of a recipe's network after its input."""
    inner = ARCHITECTURES[recipe.arch](recipe)
    kept = [x for x in inner if not isinstance(x, Dropout) or x.rate]
    return [*kept, Dense("probabilities", classes, "softmax")]


def smallest(recipe: Recipe) -> int:
    """Returns the smallest side that leaves one pixel after each layer."""
    described = describe(recipe)
    for side in itertools.count(1):
        shaped = layers.infer_shapes(described, (side, side, 1))
        if all(min(one.shape) > 0 for one in shaped):
            return side
    raise AssertionError("itertools.count does not end")


def infer_shapes(
    recipe: Recipe, shape: Sequence[int] = (28, 28, 1), classes: int = 10
) -> list[layers.ShapedLayer]:
    """Returns a recipe's layers with shapes, weights and multiply-adds.

    Args:
      recipe: gives the architecture and its settings.
      shape: height, width and channels of the pictures.
      classes: the number of probabilities that the network gives.

    Raises:
      ModelError: the shape is not three sizes of at least 1, the pictures are
        too small for the architecture, or there are fewer than 2 classes.
    """
    shape = tuple(shape)
    if len(shape) != 3 or not all(
        isinstance(side, int) and side > 0 for side in shape
    ):
        raise ModelError(
            "expected an input shape of height, width and channels, each at"
            f" least 1, got {shape}"
        )
    least = smallest(recipe)
    if min(shape[:2]) < least:
        raise ModelError(
            f"expected pictures of at least {least}x{least} for {recipe.arch},"
            f" got {shape[0]}x{shape[1]}"
        )
    if classes < 2:
        raise ModelError(f"expected at least 2 classes, got {classes}")
    return layers.infer_shapes(describe(recipe, classes), shape)


def parameters(
    recipe: Recipe, shape: Sequence[int] = (28, 28, 1), classes: int = 10
) -> int:
    """Returns the number of parameters of a network, as Keras counts them.

    Raises:
      ModelError: as `infer_shapes`.
    """
    return sum(one.parameters for one in infer_shapes(recipe, shape, classes))
