"""Channel shift, brightness, contrast, own functions: beside their models."""

import keras
import numpy as np
import PIL.Image
import PIL.ImageEnhance
import pytest
import tensorflow as tf

from mnistpipe import pipeline

if keras.__version__.startswith("2."):
    from keras.preprocessing import image as keras_image
else:
    from keras.src.legacy.preprocessing import image as keras_image


def pictures(rng, count, shape=(12, 10, 3)):
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def apply(transform, images, **drawn):
    drawn = {
        name: tf.constant(values, tf.float32) for name, values in drawn.items()
    }
    return transform.apply(tf.constant(images), drawn).numpy()


def draw(transform, count, shape=(4, 5, 3), name=None):
    keys = pipeline.example_keys(3, 0, np.arange(count))
    (drawn,) = pipeline.Compose([transform]).draw(keys, shape)
    return drawn[name].numpy() if name else drawn


def assert_uniform(draws, low, high):
    """Within five standard errors, of the mean and of the deviation."""
    assert low <= draws.min() and draws.max() <= high
    unit = (draws - low) / (high - low)
    error = 5 / np.sqrt(unit.size)
    assert abs(unit.mean() - 0.5) < 0.29 * error
    assert abs(unit.std() - np.sqrt(1 / 12)) < 0.13 * error


# Channel shift


@pytest.mark.parametrize("channels", [1, 3])
def test_channel_shift_is_that_of_keras(rng, channels):
    images = rng.normal(50, 40, (20, 9, 11, channels)).astype(np.float32)
    shifts = rng.uniform(-120, 120, 20)
    result = apply(pipeline.ChannelShift(120), images, shift=shifts[:, None])
    generator = keras_image.ImageDataGenerator(channel_shift_range=1)
    for image, shift, shifted in zip(images, shifts, result, strict=True):
        wanted = generator.apply_transform(
            image.copy(), {"channel_shift_intensity": shift}
        )
        np.testing.assert_allclose(shifted, wanted, rtol=0, atol=2e-5)


def test_channel_shift_per_channel(rng):
    images = pictures(rng, 5)
    shifts = rng.uniform(-90, 90, (5, 3))
    transform = pipeline.ChannelShift(90, per_channel=True)
    result = apply(transform, images, shift=shifts)
    low, high = (f(images, axis=(1, 2, 3)) for f in (np.min, np.max))
    for i in range(5):
        wanted = np.clip(images[i] + shifts[i], low[i], high[i])
        np.testing.assert_allclose(result[i], wanted, rtol=0, atol=2e-5)


def test_channel_shift_draws():
    one = draw(pipeline.ChannelShift(20), 4000, name="shift")
    assert one.shape == (4000, 1)
    assert_uniform(one, -20, 20)
    each = draw(
        pipeline.ChannelShift((5, 9), per_channel=True), 4000, name="shift"
    )
    assert each.shape == (4000, 3)
    assert_uniform(each, 5, 9)
    correlation = np.corrcoef(each.T) - np.eye(3)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


# Brightness


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.99, 1.0, 1.01, 1.7, 20.0])
def test_brightness_is_that_of_pil(rng, factor):
    """PIL cuts fractions off; ours are kept."""
    image = pictures(rng, 1)
    wanted = PIL.ImageEnhance.Brightness(PIL.Image.fromarray(image[0])).enhance(
        factor
    )
    result = apply(pipeline.Brightness(), image, factor=[factor], delta=[0])
    excess = result[0] - np.asarray(wanted, np.float32)
    assert excess.min() > -1e-4
    assert excess.max() < 1 + 1e-4


@pytest.mark.parametrize("low, high", [(0, 255), (0, 1), (-1, 1), (20, 21)])
def test_brightness_respects_the_value_range(rng, low, high):
    """The same picture in any range of values, by the documented formula."""
    unit = rng.random((6, 5, 5, 3))
    images = (low + unit * (high - low)).astype(np.float32)
    factor, delta = rng.uniform(0, 2, 6), rng.uniform(-0.5, 0.5, 6)
    transform = pipeline.Brightness(value_range=(low, high))
    result = apply(transform, images, factor=factor, delta=delta)
    wanted = unit * factor[:, None, None, None] + delta[:, None, None, None]
    result = (result.astype(np.float64) - low) / (high - low)
    np.testing.assert_allclose(result, np.clip(wanted, 0, 1), atol=1e-5)


def test_brightness_draws():
    drawn = draw(pipeline.Brightness(0.4, delta=(0.1, 0.3)), 4000)
    factor, delta = drawn["factor"].numpy(), drawn["delta"].numpy()
    assert_uniform(factor, 0.6, 1.4)
    assert_uniform(delta, 0.1, 0.3)
    assert abs(np.corrcoef(factor, delta)[0, 1]) < 5 / np.sqrt(4000)
    assert_uniform(draw(pipeline.Brightness((2, 3)), 4000, name="factor"), 2, 3)


# Contrast


def test_contrast_is_its_formula(rng):
    images = pictures(rng, 8)
    factor = rng.uniform(0, 2.5, 8)
    result = apply(pipeline.Contrast(1.0), images, factor=factor)
    factor = factor[:, None, None, None]
    mean = images.mean(axis=(1, 2), keepdims=True)
    wanted = np.clip(mean + factor * (images - mean), 0, 255)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-3)


def test_contrast_is_that_of_tensorflow(rng):
    """tf.image.adjust_contrast, which does not clip."""
    images = rng.random((3, 12, 10, 3)).astype(np.float32)
    transform = pipeline.Contrast(0.5, value_range=(-9, 9))
    for factor in (0.0, 0.5, 2.0):
        result = apply(transform, images, factor=[factor] * 3)
        wanted = tf.image.adjust_contrast(images, factor)
        np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-5)


def test_contrast_draws():
    assert_uniform(draw(pipeline.Contrast(0.2), 4000, name="factor"), 0.8, 1.2)


# A function of one's own


def test_apply_calls_the_function(rng):
    images = pictures(rng, 3)
    augment = pipeline.Compose(
        [pipeline.Apply(lambda x: tf.cast(x / 2, tf.float16))]
    )
    assert not augment.needs_keys
    assert augment.deterministic().transforms == augment.transforms
    np.testing.assert_allclose(augment(images), images / 2)
    assert "lambda" in repr(augment)
    assert repr(pipeline.Apply(tf.math.sin)) == "Apply(function=sin)"


@pytest.mark.parametrize("wrap", [tf.numpy_function, tf.py_function])
def test_apply_says_that_numpy_does_not_compile(rng, wrap):
    def flip(images):
        flipped = wrap(lambda x: x[:, ::-1], [images], tf.float32)
        return tf.ensure_shape(flipped, images.shape)

    augment = pipeline.Compose([pipeline.Apply(flip)])
    with pytest.raises(ValueError, match=r"Expected .*flip to be made of Tens"):
        augment(pictures(rng, 2))


@pytest.mark.parametrize(
    "function, named",
    [
        (lambda x: x[0], r"\(12, 10, 3\)"),
        (lambda x: tf.cast(x, tf.int32), "int32"),
    ],
)
def test_apply_checks_what_comes_back(rng, function, named):
    augment = pipeline.Compose([pipeline.Apply(function)])
    with pytest.raises(ValueError, match=f"to return floats.*{named}"):
        augment(pictures(rng, 2))
