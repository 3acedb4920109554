"""What test_jax.py has a process with KERAS_BACKEND=jax check."""

import helpers
import jax
import keras
import numpy as np
import pytest
import step_inspection
import tensorflow as tf
from keras.src.backend.jax import trainer

from mnistpipe import pipeline
from mnistpipe.pipeline import layers
from mnistpipe.training import feeding, protocol

RECIPE = helpers.quick_recipe(
    batch_size=50,
    rotation=10,
    width_shift=0.1,
    shear=5,
    zoom=0.1,
    elastic_alpha=8,
    erasing=0.5,
    noise=0.1,
    learning_rate=0.01,
)


def test_a_model_that_holds_the_layer_trains(rng):
    steps = [pipeline.RandomAffine(rotation=20), pipeline.Rescale(1 / 255)]
    images = rng.integers(0, 256, (12, 8, 6, 3)).astype(np.uint8)
    layer = layers.Augment(steps, seed=3)
    for step in range(2):
        wanted = pipeline.Compose(steps)(
            images, pipeline.example_keys(3, step, np.arange(12))
        )
        np.testing.assert_array_equal(layer(images, training=True), wanted)
    inputs = keras.Input((8, 6, 3), dtype="uint8")
    outputs = keras.layers.Flatten()(layer(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(outputs))
    model.compile("sgd", "mse", jit_compile=True)
    model.fit(images, np.zeros((12, 2)), batch_size=4, verbose=0)
    assert layer.get_weights() == [5]


def test_the_layer_in_tf_data_needs_keys(rng):
    steps = [pipeline.RandomAffine(rotation=20), pipeline.Rescale(1 / 255)]
    images = rng.integers(0, 256, (12, 8, 6, 3)).astype(np.uint8)
    keys = pipeline.example_keys(3, 5, np.arange(12))
    layer = layers.Augment(steps, seed=3)
    dataset = tf.data.Dataset.from_tensors((images, keys))
    (batch,) = dataset.map(lambda x, key: layer(x, keys=key, training=True))
    np.testing.assert_array_equal(batch, pipeline.Compose(steps)(images, keys))
    (batch,) = dataset.map(lambda x, _: layer(x))
    np.testing.assert_array_equal(batch, pipeline.Compose(steps[1:])(images))
    with pytest.raises(ValueError, match=r"Expected keys .* Received: no keys"):
        dataset.map(lambda x, _: layer(x, training=True))


def feed_of(path, tmp_path, recipe=RECIPE):
    """What `fit` is given, with a small network."""
    digits = helpers.few_digits()
    options = helpers.quick_options(tmp_path, input=path, jit_compile="on")
    split = protocol.split_rows(options, digits)
    keras.utils.set_random_seed(1)
    network = helpers.network("quick65k", width=0.25, dropout=0.2)
    return feeding.make_feed(recipe, options, network, split, digits.classes)


def fit(feed, epochs):
    steps = feed.stream.steps_per_epoch
    feed.model.fit(
        feed.batches(0, epochs * steps),
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
    )


def test_the_device_step_is_one_program_and_sends_no_pictures(
    tmp_path, monkeypatch
):
    """As Keras compiles the step in `fit`."""
    lowered, compiled = [], jax.jit

    def recorded(step, **how):
        program = compiled(step, **how)

        def call(state, batch):
            if not lowered:
                lowered.append((program.lower(state, batch), batch))
            return program(state, batch)

        return call

    monkeypatch.setattr(trainer, "jit", recorded)
    feed = feed_of("device", tmp_path)
    fit(feed, epochs=1)
    ((program, batch),) = lowered
    sent = jax.tree.leaves(batch)
    assert [(a.dtype, a.shape) for a in sent] == [
        ("int32", (50,)),
        ("uint32", (50, 2)),
        ("float32", (50, 10)),
    ]
    assert sum(a.nbytes for a in sent) == 50 * (4 + 2 * 4 + 10 * 4)
    assert "callback" not in program.as_text()
    hlo = program.compile().as_text()
    assert step_inspection.leaves(hlo) == []
    assert step_inspection.custom_calls(hlo) == []
    # The images are handed from step to step in the same memory.
    inputs = step_inspection.parameters(hlo)
    place = inputs.index("u8[300,28,28,1]")
    assert f": ({place}, {{}}, may-alias)" in hlo


def test_both_paths_end_with_the_same_weights(tmp_path):
    """After 65 steps, with BatchNorm and dropout."""
    host, device = (feed_of(path, tmp_path) for path in ("host", "device"))
    for feed in (host, device):
        fit(feed, epochs=13)
    assert {"BatchNormalization", "Dropout"} <= {
        type(layer).__name__ for layer in device.network.layers
    }
    pairs = zip(host.network.weights, device.network.weights, strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other, one.path)
