"""Builds Keras networks from recipes and from saved files.

Input: float32 ``[B, H, W, C]``, pixels of about 0…1. Output: float32
``[B, classes]``, probabilities. The layers come from `architectures`; this
module turns each description into a stock Keras layer. The initial weights
are those of Keras' default initialisers. `keras.utils.set_random_seed` decides
the initial weights and dropout.

``python -m mnistpipe.models [--arch=…]`` prints each network's layers beside
the rows of the document, with multiply-adds.
"""

import dataclasses
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
    *hidden, output = architectures.infer_shapes(recipe, shape, classes)
    chain = [(shaped.layer, recipe.precision) for shaped in hidden]
    # Probabilities near 0 and 1 need float32 under every precision.
    chain.append((output.layer, "float32"))
    return _chained(recipe.arch, shape, chain)


def _chained(
    name: str, shape: Sequence[int], chain: Sequence[tuple[Layer, str]]
) -> keras.Model:
    """Builds a network from descriptions, each with its dtype policy."""
    pictures = x = keras.Input(tuple(shape), name="pictures")
    for layer, dtype in chain:
        x = _keras_layer(layer, dtype)(x)
    return keras.Model(pictures, x, name=name)


def _keras_layer(layer: Layer, dtype: str) -> keras.layers.Layer:
    """Returns the Keras layer of a description: fields are arguments."""
    arguments = dataclasses.asdict(layer)
    return getattr(keras.layers, layer.kind)(dtype=dtype, **arguments)


def load(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a network saved as ``.keras``, for inference, without running code.

    Only Keras' zip format is accepted, because the older formats can carry
    Python bytecode. `networkfile` checks the file and describes its layers,
    which must be of the kinds that `build` makes. The network is built from
    the descriptions, and Keras reads only the weights of the file.

    Raises:
      ModelError: the file is missing, is no such network, or is not safe.
    """
    path = os.fspath(path)
    saved = networkfile.read(path)
    try:
        network = _chained(saved.name, saved.sizes.shape, saved.layers)
        network.load_weights(path)
    except Exception as damage:  # Keras raises any class for damage.
        raise networkfile.error(path, damage) from damage
    return network


def output_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Returns the output shape of a Keras layer, without the batch."""
    return tuple(layer.output.shape[1:])
