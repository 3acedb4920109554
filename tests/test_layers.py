"""The Keras layer: training or not, keys, saving, XLA, tf.data."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline import layers

SHAPE = (8, 6, 3)
RANDOM = [
    pipeline.RandomAffine(rotation=20, zoom=0.2, fill_mode="reflect"),
    pipeline.ElasticDistortion(alpha=4, sigma=1.5),
    pipeline.ChannelShift(20),
    pipeline.Brightness(0.2),
    pipeline.Contrast(0.2),
    pipeline.RandomErasing(probability=0.5),
    pipeline.GaussianNoise(2.0),
]
FEW = [RANDOM[0], pipeline.Contrast(0.2, probability=0.5), RANDOM[-1]]
NO_STRENGTH = [
    pipeline.RandomAffine(),
    pipeline.ElasticDistortion(alpha=0, sigma=1.5),
    pipeline.ChannelShift(0),
    pipeline.Brightness(),
    pipeline.Contrast(0),
    pipeline.RandomErasing(area=0),
    pipeline.GaussianNoise(0),
]


def pictures(rng, count):
    return rng.integers(0, 256, (count, *SHAPE)).astype(np.uint8)


def keys(step, count, seed=3):
    return pipeline.example_keys(seed, step, np.arange(count))


def network(*augments, dtype="uint8"):
    inputs = keras.Input(SHAPE, dtype=dtype)
    x = inputs
    for augment in augments:
        x = augment(x)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


def two_layers():
    return (
        layers.Augment([*FEW, pipeline.Rescale(1 / 255)], seed=3),
        layers.Augment(pipeline.GaussianNoise(0.1), seed=4, name="noise"),
    )


# What Keras tests of its own layers


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_identity_when_not_training(rng, transform):
    layer = layers.Augment(transform, seed=3)
    images = pictures(rng, 4)
    np.testing.assert_array_equal(layer(images, training=False), images)
    np.testing.assert_array_equal(layer(images), images)
    assert layer.get_weights() == [0]


@pytest.mark.parametrize("transform", NO_STRENGTH, ids=repr)
def test_nothing_at_no_strength(rng, transform):
    layer = layers.Augment(transform, seed=3)
    images = pictures(rng, 4)
    np.testing.assert_array_equal(layer(images, training=True), images)


def test_exact_numbers():
    """By a transform whose draw is known: the layer adds nothing to it."""
    shift = pipeline.ChannelShift((5, 5))
    layer = layers.Augment([shift, pipeline.Rescale(2, offset=1)], seed=3)
    images = np.array([[[[0], [10]], [[7], [20]]]], np.uint8)
    wanted = [[[[11], [31]], [[25], [41]]]]  # 2·min(x + 5, 20) + 1
    np.testing.assert_array_equal(layer(images, training=True), wanted)
    wanted = [[[[1], [21]], [[15], [41]]]]
    np.testing.assert_array_equal(layer(images, training=False), wanted)


def test_inside_tf_data(rng):
    images = pictures(rng, 12)
    layer = layers.Augment(FEW, seed=3)
    compose = pipeline.Compose(FEW)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(4)
    counted = dataset.map(lambda x: layer(x, training=True))
    for step, batch in enumerate(counted):
        wanted = compose(images[4 * step : 4 * step + 4], keys(step, 4))
        np.testing.assert_array_equal(batch, wanted)
    keyed = tf.data.Dataset.from_tensor_slices((images, keys(9, 12)))
    keyed = keyed.batch(12).map(
        lambda x, key: layer(x, keys=key, training=True),
        num_parallel_calls=2,
    )
    (batch,) = keyed
    np.testing.assert_array_equal(batch, compose(images, keys(9, 12)))
    assert layer.get_weights() == [3]


# Keys


def test_every_step_draws_anew_and_the_seed_repeats_it(rng):
    images = pictures(rng, 5)
    first, again, other = (layers.Augment(FEW, seed=seed) for seed in (3, 3, 4))
    compose = pipeline.Compose(FEW)
    seen = [first(images, training=True).numpy() for _ in range(3)]
    for step, batch in enumerate(seen):
        np.testing.assert_array_equal(batch, compose(images, keys(step, 5)))
        np.testing.assert_array_equal(batch, again(images, training=True))
        assert np.any(batch != other(images, training=True))
    assert np.any(seen[0] != seen[1])


TWO_REPLICAS = """
import numpy as np
import tensorflow as tf
from mnistpipe import pipeline
from mnistpipe.pipeline import layers

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = layers.Augment(pipeline.GaussianNoise(1.0), seed=3)
call = lambda: layer(tf.zeros((2, 2, 2, 1)), training=True)
run = tf.function(lambda: strategy.run(call), autograph=False)
seen = [
    replica.numpy()
    for _ in range(2)
    for replica in strategy.experimental_local_results(run())
]
assert len(np.unique(np.stack(seen))) == 2 * 2 * 8, seen
assert layer.get_weights() == [2]
"""


def test_replicas_draw_apart_and_count_together():
    """In a process of its own: devices are split before anything runs."""
    subprocess.run([sys.executable, "-c", TWO_REPLICAS], check=True)


@pytest.mark.parametrize("flat", [False, True])
def test_masks_move_with_their_pictures(rng, flat):
    layer = layers.Augment(RANDOM[0], seed=3)
    images = pictures(rng, 4)
    masks = images[..., 0] if flat else images[..., :2]
    seen, moved = layer(images, training=True, masks=masks)
    wanted = pipeline.Compose([RANDOM[0]])(images, keys(0, 4), masks=masks)
    np.testing.assert_array_equal(seen, wanted[0])
    np.testing.assert_array_equal(moved, wanted[1])
    seen, moved = layer(images, masks=masks)
    np.testing.assert_array_equal(seen, images)
    np.testing.assert_array_equal(moved, masks)


def test_a_single_picture(rng):
    layer = layers.Augment(FEW, seed=3)
    image = pictures(rng, 1)[0]
    wanted = pipeline.Compose(FEW)(image, keys(0, 1)[0])
    np.testing.assert_array_equal(layer(image, training=True), wanted)
    np.testing.assert_array_equal(layer(image), image)
    assert layer.get_weights() == [1]


def test_masks_in_a_model(rng, tmp_path):
    inputs = keras.Input(SHAPE, dtype="uint8")
    mask = keras.Input(SHAPE[:2], dtype="int32")
    outputs = layers.Augment(RANDOM[0], seed=3)(inputs, masks=mask)
    assert tuple(outputs[1].shape) == (None, *SHAPE[:2])
    keras.Model([inputs, mask], outputs).save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    images = tf.constant(pictures(rng, 4))
    masks = tf.cast(images[..., 0], tf.int32)
    seen, moved = model([images, masks], training=True)
    assert moved.dtype == tf.int32
    wanted = pipeline.Compose([RANDOM[0]])(images, keys(0, 4), masks=masks)
    np.testing.assert_allclose(seen, wanted[0], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(moved, wanted[1])


def test_pictures_without_channels_are_refused():
    with pytest.raises(ValueError, match="add the channels as a last axis"):
        layers.Augment(FEW, seed=3)(keras.Input((28, 28)))


# Compiled, saved and loaded with a model


@pytest.mark.slow
@pytest.mark.parametrize("jit", [True, False])
def test_a_model_that_holds_it_trains_compiled(rng, jit):
    keras.utils.set_random_seed(1)
    images, targets = pictures(rng, 20), rng.normal(size=(20, 2))
    augments = two_layers()
    model = network(*augments)
    if keras.__version__ >= "3":
        assert all(layer.supports_jit for layer in model.layers)
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit)
    history = model.fit(
        images, targets, batch_size=10, shuffle=False, verbose=0
    )
    assert [layer.get_weights() for layer in augments] == [[2], [2]]
    assert bool(model.jit_compile) == jit
    # The learning rate is 0, so the loss tells which pictures it saw.
    losses = []
    kernel, bias = model.layers[-1].get_weights()
    for step in range(2):
        part = slice(10 * step, 10 * step + 10)
        seen = pipeline.Compose([*FEW, pipeline.Rescale(1 / 255)])(
            images[part], keys(step, 10)
        )
        noisy = pipeline.Compose([pipeline.GaussianNoise(0.1)])(
            seen, keys(step, 10, seed=4)
        )
        answers = noisy.numpy().reshape(10, -1) @ kernel + bias
        losses.append(np.mean((answers - targets[part]) ** 2))
    np.testing.assert_allclose(
        history.history["loss"], [np.mean(losses)], rtol=1e-4
    )


def test_a_saved_model_goes_on_where_it_was(rng, tmp_path):
    images = pictures(rng, 6)
    model = network(*two_layers())
    for _ in range(3):
        model(images, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("noise").get_weights() == [3]
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    for _ in range(2):
        np.testing.assert_array_equal(
            loaded(images, training=True), model(images, training=True)
        )


def test_keys_as_a_second_input(rng, tmp_path):
    images = tf.constant(pictures(rng, 4))
    inputs = keras.Input(SHAPE, dtype="uint8")
    key = keras.Input((2,), dtype="uint32")
    outputs = layers.Augment(FEW, seed=3)(inputs, keys=key)
    keras.Model([inputs, key], outputs).save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    result = model([images, keys(8, 4)], training=True)
    wanted = pipeline.Compose(FEW)(images, keys(8, 4))
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-3)
    assert model.layers[-1].get_weights() == [0]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_symbolic_output(dtype):
    layer = layers.Augment(pipeline.Compose(FEW, dtype=dtype), seed=3)
    inputs = keras.Input((None, None, 3), dtype="uint8")
    outputs = layer(inputs)
    assert tuple(outputs.shape) == (None, None, None, 3)
    assert tf.as_dtype(outputs.dtype) == dtype
    assert layer.compute_output_shape((5, *SHAPE)) == (5, *SHAPE)
    assert layer(np.zeros((5, *SHAPE), np.uint8)).dtype == dtype


def test_mixed_precision_leaves_the_pictures(rng):
    images = rng.random((3, *SHAPE)).astype(np.float32)
    layer = layers.Augment(
        pipeline.GaussianNoise(0), seed=3, dtype="mixed_bfloat16"
    )
    np.testing.assert_array_equal(layer(images, training=True), images)
    again = layers.Augment.from_config(layer.get_config())
    np.testing.assert_array_equal(again(images, training=True), images)


# Configurations


@keras.saving.register_keras_serializable(package="tests")
def double(images):
    return images * 2


@keras.saving.register_keras_serializable(package="tests")
class Negative(pipeline.Transform):
    random = False

    def apply(self, images, drawn):
        return -tf.cast(images, tf.float32)


class Unregistered(Negative):
    pass


FITTED = np.random.default_rng(0).integers(0, 256, (100, 4, 3, 3))


@pytest.mark.parametrize(
    "transform",
    [
        *RANDOM,
        pipeline.RandomAffine(rotation=(np.float32(1), 2), axes="keras"),
        pipeline.RandomErasing(fill="noise", mask_fill=3, probability=0.5),
        pipeline.Rescale(np.float64(1 / 255)),
        pipeline.SamplewiseNormalize(center=False),
        pipeline.FeaturewiseNormalize.fit(FITTED),
        pipeline.FeaturewiseNormalize(mean=None, std=(2,)),
        pipeline.ZCAWhitening.fit(FITTED),
        pipeline.Apply(double),
        pipeline.Resize((4, 5), "nearest"),
        pipeline.RandomResizedCrop(4, antialias=False),
        pipeline.Pad(2, fill_value=3),
        pipeline.RandomAffine(output_size=5),
        pipeline.OneOf([Negative(), pipeline.Rescale(2)], (1, 3)),
        pipeline.SomeOf([RANDOM[0], pipeline.Apply(double)], count=(0, 2)),
        Negative(),
    ],
    ids=repr,
)
def test_configuration_round_trip(transform):
    augment = pipeline.Compose([transform], dtype="float16")
    layer = layers.Augment(augment, seed=2**62, name="mine")
    config = json.loads(json.dumps(layer.get_config()))
    again = layers.Augment.from_config(config)
    assert again.augment == augment
    assert again.name == "mine"
    assert again.get_config() == layer.get_config()
    wrapped = keras.saving.serialize_keras_object(layer)
    wrapped = json.loads(json.dumps(wrapped))
    assert keras.saving.deserialize_keras_object(wrapped).augment == augment


def test_every_exported_transform_has_a_name():
    from mnistpipe.pipeline import saving

    exported = {
        thing
        for thing in vars(pipeline).values()
        if isinstance(thing, type) and issubclass(thing, pipeline.Transform)
    }
    assert set(saving.TRANSFORMS.values()) == exported - {pipeline.Transform}


@pytest.mark.parametrize(
    "transform, named",
    [(Unregistered(), "Unregistered"), (pipeline.Apply(tf.sin), "sin")],
)
def test_what_has_no_registered_name_is_not_saved(transform, named):
    layer = layers.Augment(transform, seed=1)
    with pytest.raises(ValueError, match=f"Expected {named} to be registered"):
        layer.get_config()


@pytest.mark.parametrize(
    "entry",
    [
        {"class": "NoSuchThing", "fields": {}},
        {"class": "tests>double", "fields": {}},
        {"class": "Apply", "fields": {"function": {"function": "os.system"}}},
    ],
)
def test_unknown_names_are_refused(entry):
    config = layers.Augment([], seed=1).get_config()
    config["augment"]["transforms"] = [entry]
    with pytest.raises(ValueError, match=r"Expected .*registered.* Received: "):
        layers.Augment.from_config(config)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, None])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"Expected a seed .* Received: "):
        layers.Augment(RANDOM, seed=seed)


def test_bad_pictures_are_refused(rng):
    layer = layers.Augment(RANDOM, seed=1)
    with pytest.raises(ValueError, match="Expected"):
        layer(np.zeros((4, 4), np.uint8), training=True)
    with pytest.raises(TypeError, match="Expected transforms"):
        layers.Augment([keras.layers.Flatten()], seed=1)
