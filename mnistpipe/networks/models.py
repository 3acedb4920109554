"""The networks, as Keras Functional models of stock layers.

Input: float32 ``[B, H, W, C]``, pixels about 0 … 1; 28×28×1 unless asked
otherwise. Output: float32 ``[B, classes]``, probabilities. Weights start from
Keras' default initialisers and, like dropout, follow
``keras.utils.set_random_seed``; nothing here draws from anything else.

``python -m mnistpipe.models [--arch=…]`` prints each network's layers beside
the rows of the document, with multiply-adds.
"""

# keras.KerasTensor has that name only since Keras 3; annotations stay text.
from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence

import keras
from keras import layers

from mnistpipe import recipes
from mnistpipe.networks import networkfile, widths
from mnistpipe.networks.networkfile import ModelError
from mnistpipe.recipes import Recipe, documented


def strided400k(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """Strided 5×5 convolutions for pooling; 403,562 parameters.

    The document prints 128 parameters and 26×26×32 for the first row. A 3×3
    convolution has 288; one of 2×2 taps, dilated by 2, has both, and is the
    default stem. The table has no activation rows: they are fused into the
    convolutions, the 5×5 ones too, and come before the BatchNorm.
    """
    fused = recipe.activation

    def conv3(x: keras.KerasTensor, filters: int, n: int) -> keras.KerasTensor:
        x = layers.Conv2D(
            widths.of(filters, recipe),
            3,
            use_bias=False,
            activation=fused,
            name=f"conv{n}",
        )(x)
        return _norm(x, recipe, n)

    def conv5(x: keras.KerasTensor, filters: int, n: int) -> keras.KerasTensor:
        return layers.Conv2D(
            widths.of(filters, recipe),
            5,
            strides=2,
            padding="same",
            activation=fused,
            name=f"stride{n}",
        )(x)

    if recipe.stem == "printed":
        x = layers.Conv2D(
            widths.of(32, recipe),
            2,
            dilation_rate=2,
            use_bias=False,
            activation=fused,
            name="conv1",
        )(x)
        x = _norm(x, recipe, 1)
    else:
        x = conv3(x, 32, 1)
    x = conv3(x, 32, 2)
    x = conv5(x, 32, 1)
    x = _dropout(x, recipe.dropout, "dropout1")
    x = conv3(x, 64, 3)
    x = conv3(x, 64, 4)
    x = conv5(x, 64, 2)
    x = _dropout(x, recipe.dropout, "dropout2")
    x = conv5(x, 128, 3)
    x = layers.Flatten(name="flatten")(x)
    return _dropout(x, recipe.output_dropout, "dropout3")


def pool2m(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """Two pooled pairs of 3×3 convolutions, two Dense; 2,213,610 parameters.

    The document describes the layers and "2.2m"; widths are completed from
    public code with the same description.
    """

    def conv(x: keras.KerasTensor, filters: int, n: int) -> keras.KerasTensor:
        filters = widths.of(filters, recipe)
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv{n}")(x)
        return _norm_and_activation(x, recipe, n)

    def dense(x: keras.KerasTensor, units: int, n: int) -> keras.KerasTensor:
        units = widths.of(units, recipe)
        x = layers.Dense(units, name=f"dense{n - 4}")(x)
        return _norm_and_activation(x, recipe, n)

    x = conv(x, 32, 1)
    x = conv(x, 32, 2)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = _dropout(x, recipe.dropout, "dropout1")
    x = conv(x, 64, 3)
    x = conv(x, 64, 4)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = _dropout(x, recipe.dropout, "dropout2")
    x = layers.Flatten(name="flatten")(x)
    x = dense(x, 512, 5)
    x = _dropout(x, recipe.dropout, "dropout3")
    x = dense(x, 1024, 6)
    return _dropout(x, recipe.output_dropout, "dropout4")


def compact500k(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """317,002 parameters and 19.7 million multiply-adds; this project's own.

    The document gives only a size, 500,000. This takes stacked 3×3
    convolutions from VGG (Simonyan and Zisserman 2014), BatchNorm before each
    ReLU (Ioffe and Szegedy 2015) and global average pooling (Lin et al.
    2013). Full size is met once, by an unpadded 5×5; where a convolution is
    pooled, BatchNorm and ReLU come after that, on a quarter of the values.
    results/ says what else was tried.
    """
    x = _conv(x, recipe, 32, 1, size=5, padding="valid", pooled=True)
    x = _dropout(x, recipe.dropout, "dropout1")
    x = _conv(x, recipe, 64, 2)
    x = _conv(x, recipe, 96, 3, pooled=True)
    x = _dropout(x, recipe.dropout, "dropout2")
    x = _conv(x, recipe, 128, 4)
    x = _conv(x, recipe, 112, 5)
    x = layers.GlobalAveragePooling2D(name="pool5")(x)
    return _dropout(x, recipe.output_dropout, "dropout3")


def wide900k(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """5×5 and 3×3 pairs without BatchNorm, one Dense; 887,530 parameters.

    The document's table ends at Flatten; the two Dense layers and the rates
    of dropout are completed from public code.
    """
    fused = {"padding": "same", "activation": recipe.activation}
    narrow, wide, dense = (widths.of(n, recipe) for n in (32, 64, 256))
    x = layers.Conv2D(narrow, 5, name="conv1", **fused)(x)
    x = layers.Conv2D(narrow, 5, name="conv2", **fused)(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = _dropout(x, recipe.dropout, "dropout1")
    x = layers.Conv2D(wide, 3, name="conv3", **fused)(x)
    x = layers.Conv2D(wide, 3, name="conv4", **fused)(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = _dropout(x, recipe.dropout, "dropout2")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation=recipe.activation, name="dense1")(x)
    return _dropout(x, recipe.output_dropout, "dropout3")


def quick65k(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """64,794 parameters, 1.9 million multiply-adds; this project's own.

    For a minute on a CPU: compact500k's blocks, three of them, and a Dense
    layer over all places. results/ says what else was tried.
    """
    x = _conv(x, recipe, 16, 1, size=5, padding="valid", pooled=True)
    x = _conv(x, recipe, 48, 2, pooled=True)
    x = _dropout(x, recipe.dropout, "dropout1")
    x = _conv(x, recipe, 96, 3, padding="valid")
    x = layers.Flatten(name="flatten")(x)
    return _dropout(x, recipe.output_dropout, "dropout2")


def _conv(
    x: keras.KerasTensor,
    recipe: Recipe,
    filters: int,
    n: int,
    size: int = 3,
    padding: str = "same",
    pooled: bool = False,
) -> keras.KerasTensor:
    """Convolution, pooling if asked for, BatchNorm, activation."""
    x = layers.Conv2D(
        widths.of(filters, recipe),
        size,
        padding=padding,
        use_bias=False,
        name=f"conv{n}",
    )(x)
    if pooled:
        x = layers.MaxPooling2D(name=f"pool{n}")(x)
    return _norm_and_activation(x, recipe, n)


def _norm(x: keras.KerasTensor, recipe: Recipe, n: int) -> keras.KerasTensor:
    return layers.BatchNormalization(
        momentum=recipe.batchnorm_momentum, name=f"norm{n}"
    )(x)


def _norm_and_activation(
    x: keras.KerasTensor, recipe: Recipe, n: int
) -> keras.KerasTensor:
    x = _norm(x, recipe, n)
    activation = recipe.activation
    return layers.Activation(activation, name=f"{activation}{n}")(x)


def _dropout(x: keras.KerasTensor, rate: float, name: str) -> keras.KerasTensor:
    return layers.Dropout(rate, name=name)(x) if rate else x


# The layers between the picture and the output layer, by name.
ARCHS: dict[str, Callable[[keras.KerasTensor, Recipe], keras.KerasTensor]] = {
    "strided400k": strided400k,
    "pool2m": pool2m,
    "compact500k": compact500k,
    "wide900k": wide900k,
    "quick65k": quick65k,
}

# The smallest height and width that leave at least one pixel everywhere.
SMALLEST = {
    "strided400k": 13,
    "pool2m": 4,
    "compact500k": 8,
    "wide900k": 4,
    "quick65k": 16,
}


def build(
    arch: str,
    *,
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    stem: str = "printed",
    width: float | None = None,
    activation: str = "relu",
    dropout: float | None = None,
    output_dropout: float | None = None,
    batchnorm_momentum: float | None = None,
) -> keras.Model:
    """Builds a network, with new weights.

    Args:
      arch: one of ``ARCHS``.
      input_shape: height, width and channels of the pictures.
      classes: how many probabilities come out.
      stem: strided400k's first convolution, 'printed' or '3x3'.
      width: factor of every layer's width but the output's; None is 1, the
        documented network.
      activation: 'relu' or 'gelu', after every layer but the last.
      dropout: share dropped inside the network; None is as documented.
      output_dropout: share dropped before the output layer, likewise.
      batchnorm_momentum: of the moving averages, likewise.

    Raises:
      RecipeError: there is no such architecture, or a value is out of range.
      ModelError: the pictures are too small for it, or have no such shape.
    """
    numbers = {
        "width": width,
        "dropout": dropout,
        "output_dropout": output_dropout,
        "batchnorm_momentum": batchnorm_momentum,
    }
    recipe = recipes.recipe_for(arch).replace(
        stem=stem,
        activation=activation,
        **{name: n for name, n in numbers.items() if n is not None},
    )
    _check_shape(arch, input_shape, classes)
    pictures = keras.Input(tuple(input_shape), name="pictures")
    features = ARCHS[arch](pictures, recipe)
    # float32 under mixed precision too: probabilities near 0 and 1 need it.
    probabilities = layers.Dense(
        classes, activation="softmax", dtype="float32", name="probabilities"
    )(features)
    return keras.Model(pictures, probabilities, name=arch)


def _check_shape(arch: str, shape: Sequence[int], classes: int) -> None:
    if len(shape) != 3 or not all(
        isinstance(side, int) and side > 0 for side in shape
    ):
        raise ModelError(
            "expected an input shape of height, width and channels, each at"
            f" least 1, came {tuple(shape)}"
        )
    least = SMALLEST[arch]
    if min(shape[:2]) < least:
        raise ModelError(
            f"expected pictures of at least {least}x{least} for {arch}, came"
            f" {shape[0]}x{shape[1]}"
        )
    if classes < 2:
        raise ModelError(f"expected at least 2 classes, came {classes}")


def load(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a network saved as ``.keras``, for inference, without running code.

    Only Keras' zip format is taken, since the older ones can carry Python
    bytecode, and only what `networkfile` lets through: bounded in size, of
    the classes that this module's networks are made of.

    Raises:
      ModelError: the file is missing, is something else, or is not safe.
    """
    path = os.fspath(path)
    networkfile.inspect(path)
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as damage:  # whatever a damaged file leads Keras into
        raise networkfile.error(path, damage) from damage


def output_shape(layer: layers.Layer) -> tuple[int, ...]:
    """A layer's output shape without the batch."""
    return tuple(layer.output.shape[1:])


def multiply_adds(layer: layers.Layer) -> int:
    """Multiply-adds per picture; 0 for all but convolutions and Dense."""
    if isinstance(layer, layers.Conv2D):
        height, width, _ = output_shape(layer)
        return height * width * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0


def total_multiply_adds(model: keras.Model) -> int:
    """Multiply-adds per picture of a whole network."""
    return sum(multiply_adds(layer) for layer in model.layers)


def differences(model: keras.Model, table: documented.Table) -> list[str]:
    """One mark per layer after the input: what differs from its row, or ''."""
    marks = []
    for place, layer in enumerate(model.layers[1:]):
        if place >= len(table.rows):
            marks.append("")
            continue
        built = (
            type(layer).__name__,
            output_shape(layer),
            layer.count_params(),
        )
        marks.append("" if built == table.rows[place] else "differs")
    return marks


def table_text(model: keras.Model) -> str:
    """The network's layers beside the document's rows."""
    table = documented.TABLES[model.name]
    form = "{:<15}{:<20}{:>14}{:>9}{:>12}{:>15}{:>10}  {}"
    lines = [
        f"{model.name}",
        form.format(
            *("layer", "kind", "shape", "params", "mult-adds"),
            *("document", "params", ""),
        ),
    ]
    rows = [
        *((_shape(row.shape), row.parameters) for row in table.rows),
        *([("", "")] * len(model.layers)),
    ]
    for layer, row, mark in zip(
        model.layers[1:], rows, differences(model, table), strict=False
    ):
        line = form.format(
            layer.name,
            type(layer).__name__,
            _shape(output_shape(layer)),
            layer.count_params(),
            multiply_adds(layer),
            *row,
            mark,
        )
        lines.append(line.rstrip())
    return "\n".join([*lines, *_totals(model, table)])


def _totals(model: keras.Model, table: documented.Table) -> list[str]:
    total = model.count_params()
    most = "at most " if table.bound else ""
    good = (
        total <= table.parameters
        if table.bound
        else (total == table.parameters)
    )
    non_trainable = sum(
        math.prod(weight.shape) for weight in model.non_trainable_weights
    )
    lines = [
        f"parameters {total:,}; document {most}{table.parameters:,}"
        + ("" if good else "  differs"),
        f"not trained {non_trainable:,}",
        f"multiply-adds {total_multiply_adds(model):,}",
    ]
    if table.non_trainable is not None:
        lines[1] += f"; document {table.non_trainable:,}" + (
            "" if non_trainable == table.non_trainable else "  differs"
        )
    return [*lines, f"({table.note})"] if table.note else lines


def _shape(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))
