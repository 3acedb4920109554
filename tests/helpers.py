"""Small real data and small runs, for the tests that train."""

import functools
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from mnistpipe import data
from mnistpipe.networks import models
from mnistpipe.recipes import RECIPES, Recipe, RunOptions, recipe_for


@functools.cache
def mnist() -> data.Digits:
    return data.load()


@functools.cache
def few_digits(train: int = 300, test: int = 100) -> data.Digits:
    """The first images of MNIST; a digest of sizes is fingerprint enough."""
    full = mnist()
    return data.Digits(
        name="few",
        train=take(full.train, train),
        test=take(full.test, test),
        classes=full.classes,
        fingerprint=f"{train} {test}",
    )


def take(examples: data.Examples, count: int) -> data.Examples:
    return data.Examples(examples.images[:count], examples.labels[:count])


def quick_recipe(**changes) -> Recipe:
    """The network that compiles fastest, for some steps."""
    small = {"epochs": 2, "batch_size": 50}
    return RECIPES["wide900k"].replace(**{**small, **changes})


def network(arch: str, *, input_shape=(28, 28, 1), classes=10, **changes):
    """The network of an architecture's recipe, with some fields changed."""
    recipe = recipe_for(arch).replace(**changes)
    return models.build(recipe, input_shape, classes)


def tiny_network(
    recipe: Recipe, shape: Sequence[int] = (28, 28, 1), classes: int = 10
) -> keras.Model:
    """In place of models.build, where the network does not matter."""
    pictures = keras.Input(tuple(shape))
    x = keras.layers.Flatten()(pictures)
    x = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(pictures, x, name=recipe.arch)


def quick_options(run_dir: pathlib.Path, **changes) -> RunOptions:
    small = {"validation_size": 50, "seed": 1, "verbose": 0, "input": "host"}
    return RunOptions(run_dir=str(run_dir), **{**small, **changes})


def accuracy(network, examples: data.Examples) -> float:
    """Written down from its definition, for comparison."""
    pictures = examples.images.astype(np.float32) / 255
    answers = np.argmax(network.predict(pictures, verbose=0), axis=1)
    return float(np.mean(answers == examples.labels))


def files(folder: pathlib.Path) -> dict[str, bytes]:
    """Everything in a folder, to see that nothing in it changes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
