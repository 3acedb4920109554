"""Builds Keras networks from recipes, and loads saved networks.

Input: float32 ``[B, H, W, C]``, pixels of about 0…1. Output: float32
``[B, classes]``, probabilities. The layers come from `architectures`; this
module turns each description into a stock Keras layer. The initial weights
are those of Keras' default initialisers. `keras.utils.set_random_seed` decides
the initial weights and dropout.

``python -m mnistpipe.models [--arch=…]`` prints each network's layers beside
the rows of the document, with multiply-adds.
"""

import dataclasses
import math
import os
from collections.abc import Sequence

import keras

from mnistpipe.networks import architectures, networkfile
from mnistpipe.networks.layers import Layer
from mnistpipe.recipes import Recipe


def build(
    recipe: Recipe, shape: Sequence[int] = (28, 28, 1), classes: int = 10
) -> keras.Model:
    """Builds a recipe's network, with new weights.

    Args:
      recipe: gives the architecture, its settings and the precision. The
        global dtype policy of Keras is neither read nor changed.
      shape: height, width and channels of the pictures.
      classes: the number of probabilities that the network gives.

    Raises:
      ModelError: the pictures are too small for the architecture, the shape
        is not three sizes, or there are fewer than 2 classes.
    """
    *hidden, output = architectures.place(recipe, shape, classes)
    pictures = x = keras.Input(tuple(shape), name="pictures")
    for placed in hidden:
        x = _keras_layer(placed.layer, recipe.precision)(x)
    # Probabilities near 0 and 1 need float32 under every precision.
    x = _keras_layer(output.layer, "float32")(x)
    return keras.Model(pictures, x, name=recipe.arch)


def _keras_layer(layer: Layer, dtype: str) -> keras.layers.Layer:
    """The Keras layer of a description, whose fields are its arguments."""
    arguments = dataclasses.asdict(layer)
    return getattr(keras.layers, layer.kind)(dtype=dtype, **arguments)


def load(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a network saved as ``.keras``, for inference, without running code.

    Only Keras' zip format is accepted, because the older formats can carry
    Python bytecode. `networkfile` checks the file first: its size is bounded,
    and it has only layers of the kinds that `build` makes.

    Raises:
      ModelError: the file is missing, is no such network, or is not safe.
    """
    path = os.fspath(path)
    networkfile.inspect(path)
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as damage:  # Keras raises any class for damage
        raise networkfile.error(path, damage) from damage


def output_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    """The output shape of a Keras layer, without the batch."""
    return tuple(layer.output.shape[1:])


def multiply_adds(layer: keras.layers.Layer) -> int:
    """Multiply-adds per picture of a layer of a loaded network.

    A loaded network may be older than the present descriptions, so the count
    is made from the layer itself.
    """
    if isinstance(layer, keras.layers.Conv2D):
        height, width, _ = output_shape(layer)
        return height * width * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0
