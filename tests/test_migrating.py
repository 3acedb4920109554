"""The migration guide and the class' docstring tell the same differences."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from replayed_keras import Real, keras_image

from mnistpipe import pipeline
from mnistpipe.pipeline import generator, image

GUIDE = pathlib.Path(__file__).parents[1] / "docs" / "migrating.md"


def test_the_guide_has_the_rows_of_the_docstring():
    text = GUIDE.read_text(encoding="utf-8")
    table = text[text.index("| | Keras' class | here |") :]
    rows = re.findall(r"^\| (.+?) \|", table[: table.index("\n\n")], re.M)[1:]
    documented = re.findall(
        r"^    \* (.+?): ", pipeline.ImageDataGenerator.__doc__, re.M
    )
    assert documented == rows[-len(documented) :]
    assert len(documented) == 14


def test_the_class_has_one_identity_under_its_public_names():
    expected = generator.ImageDataGenerator
    assert pipeline.ImageDataGenerator is expected
    assert image.ImageDataGenerator is expected


def _fit(flow, network, **arguments):
    return network.fit(flow, verbose=0, **arguments)


def _pairs(flow):
    return (([x, np.zeros((len(x), 1))], y) for x, y in flow)


CHANGED = {
    "fit_generator": (lambda f, n: n.fit_generator(f), AttributeError),
    "workers": (lambda f, n: _fit(f, n, workers=4), TypeError),
    "zip": (lambda f, n: _fit(zip(f, f, strict=True), n), ValueError),
    "steps": (lambda f, n: _fit(f, n, steps_per_epoch=20 / 16), TypeError),
    "lists": (lambda f, n: _fit(_pairs(f), n, steps_per_epoch=2), TypeError),
}


@pytest.mark.skipif(keras.__version__[0] == "2", reason="Keras 3 changed it")
@pytest.mark.parametrize("name", CHANGED)
def test_what_keras_3_changed_fails_with_keras_own_class_too(name):
    network = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    network.compile("sgd", "mse")
    call, error = CHANGED[name]
    for kind in (Real, pipeline.ImageDataGenerator):
        flow = kind().flow(np.zeros((20, 4, 4, 1)), np.zeros((20, 16)))
        with pytest.raises(error):
            call(flow, network)


@pytest.mark.skipif(keras.__version__[0] == "2", reason="Keras 3 changed it")
def test_names_that_keras_3_lost():
    assert not hasattr(keras.preprocessing.image, "ImageDataGenerator")
    assert not hasattr(keras_image.Iterator, "next")
    legacy = tf.keras.preprocessing.image
    assert legacy.ImageDataGenerator is Real  # still there, deprecated
    with pytest.raises(TypeError):
        keras.utils.load_img("x.png", grayscale=True)
