"""The device path's step on a GPU, proved without one by what it is made of.

`step_inspection` traces the functions that Keras calls in `fit`; each of its
findings is shown to be able to fail, on a step that is spoiled on purpose.
"""

import helpers
import keras
import numpy as np
import pytest
import step_inspection
import tensorflow as tf

from mnistpipe.pipeline import layers
from mnistpipe.recipes import RECIPES
from mnistpipe.training import feeding, protocol, train

PIXELS = 28 * 28  # bytes of an image
RESIDENT = "u8[300,28,28,1]"  # 250 training rows and 50 for validation


def feed_of(recipe, tmp_path, network=None, **options):
    """What `fit` is given; the recipe's network is small, of all its layers."""
    digits = helpers.few_digits()
    device = {"input": "device", "jit_compile": "on", **options}
    options = helpers.quick_options(tmp_path, **device)
    recipe = recipe.replace(batch_size=50)
    network = network or train.build(recipe.replace(width=0.25), digits)
    split = protocol.split_rows(options, digits)
    return feeding.make_feed(recipe, options, network, split, digits.classes)


def tiny():
    return helpers.tiny_network(helpers.quick_recipe(), (28, 28, 1), 10)


OFF = ("rotation", "width_shift", "height_shift", "shear", "zoom")
PLAIN = helpers.quick_recipe(**dict.fromkeys(OFF, 0))
MOVED = PLAIN.replace(rotation=10, width_shift=0.1, zoom=0.1, noise=0.1)
# Every transform that a recipe can ask for.
AUGMENTED = helpers.quick_recipe(
    rotation=10,
    width_shift=0.1,
    height_shift=0.1,
    shear=5,
    zoom=0.1,
    horizontal_flip=True,
    vertical_flip=True,
    noise=0.1,
    elastic_alpha=8,
    erasing=0.5,
)


@pytest.mark.parametrize("arch", RECIPES)
def test_every_step_is_one_program(arch, tmp_path):
    feed = feed_of(RECIPES[arch], tmp_path)
    dataset = feed.batches(0, 5)
    step = step_inspection.step_of(feed.model, dataset)
    assert step.faults() == []
    assert {"Conv2D", "Conv2DBackpropFilter"} <= step.inside
    assert step.constants < PIXELS  # of all, not of each example
    check_resident(feed, step)


def check_resident(feed, step):
    """The images are read where they lie: neither fed nor made anew."""
    (copy,) = feed.model.get_layer("resident")._copies
    assert sum(capture is copy for capture in step.captures) == 1
    assert copy.shape == (300, 28, 28, 1) and copy.dtype == tf.uint8


def test_every_augmentation_and_several_steps_in_one_call(tmp_path):
    feed = feed_of(AUGMENTED, tmp_path, tiny(), steps_per_execution=5)
    step = step_inspection.step_of(feed.model, feed.batches(0, 5))
    assert step.faults() == []
    assert "While" in step.around
    check_resident(feed, step)


def test_the_program_never_leaves_the_device(tmp_path):
    feed = feed_of(MOVED, tmp_path)
    hlo = step_inspection.hlo_of(feed.model, feed.batches(0, 5))
    assert "convolution(" in hlo
    assert step_inspection.leaves(hlo) == []
    assert step_inspection.custom_calls(hlo) == []
    inputs = step_inspection.parameters(hlo)
    assert RESIDENT in inputs
    assert {"s64[50]", "u32[50,2]", "f32[50,10]"} <= set(inputs)
    assert not [shape for shape in inputs if shape.startswith("f32[50,28")]


def test_only_indices_keys_and_targets_are_sent(tmp_path):
    feed = feed_of(PLAIN, tmp_path, tiny())
    dataset = feed.batches(0, 5)
    sent = step_inspection.sent_per_example(dataset)
    assert sent == 8 + 2 * 4 + 10 * 4
    (index, key), targets = next(iter(dataset))
    assert (index.dtype, key.dtype) == (tf.int64, tf.uint32)
    assert targets.shape == (50, 10)
    # Validation is the same two, which choose among the resident images.
    (index, key), _ = feed.validation
    assert index.tolist() == list(range(250, 300))
    assert key.nbytes / len(key) == 8


# Each of these can fail


class Spoiled(keras.layers.Layer):
    """Passes pictures on by way of something that a GPU does not do."""

    def __init__(self, way):
        super().__init__()
        self.way = way

    def call(self, x):
        return self.way(x)

    def compute_output_shape(self, shape):
        return shape


def by_python(x):
    y = tf.py_function(lambda z: z, [x], tf.float32)
    return tf.ensure_shape(y, x.shape)


def by_an_op_without_xla(x):
    """The kernel behind Keras' RandomRotation and its like."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=tf.constant([[1.0, 0, 0, 0, 1, 0, 0, 0]]),
        output_shape=x.shape[1:3],
        interpolation="BILINEAR",
        fill_mode="NEAREST",
        fill_value=0.0,
    )


def spoiled_network(way):
    pictures = keras.Input((28, 28, 1))
    x = Spoiled(way)(pictures)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(10, activation="softmax")(x)
    return keras.Model(pictures, x)


@pytest.mark.parametrize(
    ("way", "op"),
    [
        (by_python, "EagerPyFunc"),
        (by_an_op_without_xla, "ImageProjectiveTransformV3"),
    ],
)
def test_a_way_round_the_gpu_is_seen(tmp_path, way, op):
    feed = feed_of(PLAIN, tmp_path, spoiled_network(way))
    step = step_inspection.step_of(feed.model, feed.batches(0, 5))
    assert any(op in fault for fault in step.faults())
    with pytest.raises((ValueError, tf.errors.OpError), match=op):
        step_inspection.hlo_of(feed.model, feed.batches(0, 5))


def test_a_step_that_is_not_compiled_is_seen(tmp_path):
    """The augmentation always is: for training and, elsewhere, without."""
    feed = feed_of(PLAIN, tmp_path, tiny(), jit_compile="off")
    step = step_inspection.step_of(feed.model, feed.batches(0, 5))
    assert any("beside the program" in fault for fault in step.faults())


def test_pictures_that_are_sent_are_seen(tmp_path):
    feed = feed_of(PLAIN, tmp_path, tiny(), input="host")
    sent = step_inspection.sent_per_example(feed.batches(0, 5))
    assert sent > 4 * PIXELS


def test_images_in_the_program_are_seen(tmp_path, monkeypatch):
    """As a constant they would be compiled, and moved, with it."""

    def call(self, inputs, training=None):
        images = tf.constant(self._copies[0].numpy())
        return tf.cast(tf.gather(images, inputs[0]), tf.float32)

    monkeypatch.setattr(layers.Resident, "call", call)
    feed = feed_of(PLAIN, tmp_path, tiny())
    step = step_inspection.step_of(feed.model, feed.batches(0, 5))
    assert step.constants >= 300 * PIXELS
    with pytest.raises(AssertionError):
        check_resident(feed, step)


def test_a_program_that_leaves_the_device_is_seen():
    """Lines of HLO as XLA prints them."""
    hlo = """
      %infeed = (f32[3]{0}, token[]) infeed(token[] %t), infeed_config=""
      %x = f32[2]{0} custom-call(f32[2]{0} %y), custom_call_target="python"
      %s = (f32[], u32[], token[]) send(f32[] %c, token[] %t), channel_id=1
    """
    assert len(step_inspection.leaves(hlo)) == 2
    assert len(step_inspection.custom_calls(hlo)) == 1


# The two paths


def test_both_paths_show_the_same_pictures_to_the_last_bit(tmp_path):
    """Compiled: the resident images beside the host's pipeline."""
    feeds = [
        feed_of(MOVED, tmp_path, tiny(), input=path)
        for path in ("host", "device")
    ]
    assert [feed.path for feed in feeds] == ["host", "device"]
    host, device = (feed.batches(3, 8) for feed in feeds)
    resident = feeds[1].model.get_layer("resident")
    show = tf.function(
        lambda inputs: resident(inputs, training=True), jit_compile=True
    )
    seen = []
    for (pictures, targets), (inputs, labels) in zip(host, device, strict=True):
        np.testing.assert_array_equal(show(inputs), pictures)
        np.testing.assert_array_equal(targets, labels)
        seen.append(pictures)
    assert len(seen) == 5 and len(np.unique(seen)) > 1000
    # Steps 5 to 9 are the second epoch, with other pictures of its own.
    assert not np.array_equal(seen[0], seen[2])


@pytest.mark.slow
def test_both_paths_have_the_same_losses_at_each_of_20_steps(tmp_path):
    """Without dropout, whose masks XLA draws differently.

    Adam amplifies the rounding of the first steps, so the steps are small.
    """
    recipe = MOVED.replace(learning_rate=1e-4)
    host, device = (
        losses_of(feed_of(recipe, tmp_path, narrow(), **options))
        for options in (
            {"input": "host", "jit_compile": "off"},
            {"input": "device", "jit_compile": "on"},
        )
    )
    assert len(host) == 20 and len(np.unique(host)) == 20
    np.testing.assert_allclose(device, host, rtol=1e-5)


def narrow():
    keras.utils.set_random_seed(1)
    return helpers.network("wide900k", width=0.25, dropout=0, output_dropout=0)


def losses_of(feed):
    """The loss of each batch; Keras tells the mean so far."""
    means = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: means.append(logs["loss"])
    )
    steps = feed.stream.steps_per_epoch
    feed.model.fit(
        feed.batches(0, 20),
        epochs=20 // steps,
        steps_per_epoch=steps,
        shuffle=False,
        callbacks=[watch],
        verbose=0,
    )
    sums = np.reshape(means, (-1, steps)) * np.arange(1, steps + 1)
    return np.diff(sums, axis=1, prepend=0).ravel()
