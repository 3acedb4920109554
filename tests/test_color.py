"""Colour, tone curves and filters beside Pillow, colorsys and SciPy."""

import colorsys

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageFilter
import PIL.ImageOps
import pytest
import scipy.ndimage
import tensorflow as tf

from mnistpipe import pipeline

# On 0 to 255 and on 0 to 1.
SCALES = pytest.mark.parametrize("white", [255.0, 1.0])
FACTORS = [0.0, 0.3, 0.9, 1.0, 1.1, 2.0]


def pictures(rng, count=6, shape=(12, 10, 3)):
    """Blocks rather than noise, so that blurring does not level all."""
    height, width, channels = shape
    coarse = rng.integers(0, 256, (count, height // 2, width // 2, channels))
    noise = rng.integers(-20, 21, (count, *shape))
    blocks = coarse.repeat(2, axis=1).repeat(2, axis=2)
    return np.clip(blocks + noise, 0, 255).astype(np.uint8)


def by_pillow(function, images):
    result = [function(PIL.Image.fromarray(image)) for image in images]
    return np.stack([np.asarray(image, np.float32) for image in result])


def apply(transform, images, white=255.0, **drawn):
    """On pictures from 0 to ``white``, given back from 0 to 255."""
    drawn = {name: tf.constant(value) for name, value in drawn.items()}
    if white != 255.0:
        images = images.astype(np.float32) * np.float32(white / 255)
    result = transform.apply(tf.constant(images), drawn).numpy()
    return result * (255 / white)


def draw(transform, count=4000):
    keys = pipeline.example_keys(3, 0, np.arange(count))
    (drawn,) = pipeline.Compose([transform]).draw(keys, (4, 5, 3))
    return {name: values.numpy() for name, values in drawn.items()}


# Operations that Pillow computes in whole levels: equal to the bit, apart
# from the rounding of the scale.


@SCALES
@pytest.mark.parametrize(
    "transform, function, drawn",
    [
        (pipeline.Invert, PIL.ImageOps.invert, {}),
        (pipeline.Equalize, PIL.ImageOps.equalize, {}),
        *(
            (
                pipeline.Posterize,
                lambda image, bits=bits: (
                    PIL.ImageOps.posterize(image, bits)
                    if bits
                    else image.point(lambda _: 0)
                ),
                {"bits": np.full(6, bits, np.int32)},
            )
            for bits in (0, 1, 4, 7, 8)
        ),
    ],
)
def test_whole_levels_are_those_of_pillow(
    rng, white, transform, function, drawn
):
    images = pictures(rng)
    images[0] = 7  # a single level
    images[1, ..., 1] = images[1, ..., 1] // 128 * 128  # two levels
    fields = {"bits": 0} if transform is pipeline.Posterize else {}
    transform = transform(**fields, value_range=(0, white))
    result = apply(transform, images, white, **drawn)
    wanted = by_pillow(function, images)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-4)


def test_equalize_of_a_large_picture_is_that_of_pillow(rng):
    images = rng.normal(90, 30, (2, 101, 97, 3)).clip(0, 255).astype(np.uint8)
    result = apply(pipeline.Equalize(), images)
    wanted = by_pillow(PIL.ImageOps.equalize, images)
    np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("threshold", [0, 100, 255, 256])
def test_solarize_is_that_of_pillow(rng, threshold):
    images = pictures(rng)
    wanted = by_pillow(
        lambda image: PIL.ImageOps.solarize(image, threshold), images
    )
    drawn = np.full(6, threshold, np.float32)
    result = apply(pipeline.Solarize(0), images, threshold=drawn)
    np.testing.assert_array_equal(result, wanted)


# Operations after which Pillow rounds or cuts off the fraction.


@SCALES
def test_autocontrast_is_that_of_pillow(rng, white):
    images = pictures(rng) // 2 + 60
    images[0] = 9
    wanted = by_pillow(PIL.ImageOps.autocontrast, images)
    transform = pipeline.AutoContrast(value_range=(0, white))
    excess = apply(transform, images, white) - wanted
    assert excess.min() > -1e-3 and excess.max() < 1 + 1e-3


@SCALES
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    "transform, enhance",
    [
        (pipeline.Saturation, PIL.ImageEnhance.Color),
        (pipeline.Sharpness, PIL.ImageEnhance.Sharpness),
    ],
)
def test_enhancements_are_those_of_pillow(
    rng, white, factor, transform, enhance
):
    """Pillow rounds the degenerate picture and cuts the blend's fraction."""
    images = pictures(rng)
    wanted = by_pillow(lambda image: enhance(image).enhance(factor), images)
    drawn = np.full(6, factor, np.float32)
    transform = transform(1.0, value_range=(0, white))
    result = apply(transform, images, white, factor=drawn)
    tolerance = 0.5 * abs(1 - factor) + 1 + 1e-3
    np.testing.assert_allclose(result, wanted, rtol=0, atol=tolerance)
    inside = (wanted > 1) & (wanted < 254)
    assert np.abs((result - wanted)[inside].mean()) < 1


def test_enhancements_are_their_formulas(rng):
    """In NumPy: exact, where Pillow rounds."""
    images = pictures(rng)
    factor = rng.uniform(0, 2, 6).astype(np.float32)
    by_picture = factor.astype(np.float64)[:, None, None, None]
    grey = images @ np.array([0.299, 0.587, 0.114])
    smooth = images.astype(np.float64)
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    for image in smooth:
        for channel in range(3):
            filtered = scipy.ndimage.convolve(image[..., channel], kernel)
            image[1:-1, 1:-1, channel] = filtered[1:-1, 1:-1]
    for transform, degenerate in [
        (pipeline.Saturation(1.0), grey[..., None]),
        (pipeline.Sharpness(1.0), smooth),
    ]:
        result = apply(transform, images, factor=factor)
        wanted = degenerate + by_picture * (images - degenerate)
        wanted = np.clip(wanted, 0, 255)
        np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-3)


def test_grayscale_is_that_of_pillow(rng):
    images = pictures(rng)
    wanted = by_pillow(lambda image: image.convert("L").convert("RGB"), images)
    result = apply(pipeline.Grayscale(), images)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=0.5 + 1e-3)


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.01, 1 / 3, 0.5])
def test_hue_is_that_of_colorsys(rng, shift):
    images = pictures(rng, 2, (6, 6, 3))
    images[0, 0] = 80  # grey
    images[0, 1, :, 1] = images[0, 1, :, 0]  # two channels alike

    def turned(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        return colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)

    wanted = 255 * np.apply_along_axis(turned, 3, images)
    drawn = np.full(2, shift, np.float32)
    result = apply(pipeline.Hue(0.5), images, shift=drawn)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-3)


@SCALES
@pytest.mark.parametrize("gamma", [0.4, 1.0, 2.5])
def test_gamma_is_its_formula(rng, white, gamma):
    images = pictures(rng)
    drawn = np.full(6, gamma, np.float32)
    transform = pipeline.Gamma(1.0, value_range=(0, white))
    result = apply(transform, images, white, gamma=drawn)
    wanted = 255 * (images / 255) ** gamma
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-3)


def test_jitter_is_its_operations_one_after_the_other(rng):
    images = pictures(rng, 24)
    jitter = pipeline.ColorJitter(0.5, 0.5, 0.5, 0.2)
    drawn = draw(jitter, 24)
    assert len({tuple(order) for order in drawn["order"]}) > 8
    result = apply(jitter, images, **drawn)

    def contrast(image, factor):
        mean = (image @ np.array([0.299, 0.587, 0.114])).mean()
        return np.clip(mean + factor * (image - mean), 0, 255)

    for i, image in enumerate(images.astype(np.float32)):
        wanted = image
        for number in drawn["order"][i]:
            name = ("brightness", "contrast", "saturation", "hue")[number]
            strength = drawn[name][i]
            if name == "brightness":
                wanted = np.clip(wanted * strength, 0, 255)
            elif name == "contrast":
                wanted = contrast(wanted, strength)
            else:
                field = {"saturation": "factor", "hue": "shift"}[name]
                other = {
                    "saturation": pipeline.Saturation(1.0),
                    "hue": pipeline.Hue(0.5),
                }[name]
                given = {field: np.array([strength], np.float32)}
                wanted = apply(other, np.float32(wanted)[None], **given)[0]
        np.testing.assert_allclose(result[i], wanted, rtol=0, atol=2e-3)


def test_draws_have_the_ranges_that_are_asked_for():
    jitter = draw(pipeline.ColorJitter(0.4, (0.5, 2), 0.1, (0.1, 0.2)))
    for name, low, high in [
        ("brightness", 0.6, 1.4),
        ("contrast", 0.5, 2),
        ("saturation", 0.9, 1.1),
        ("hue", 0.1, 0.2),
    ]:
        values = jitter[name]
        assert low <= values.min() and values.max() <= high + 1e-6
        error = 5 * (high - low) / np.sqrt(12 * values.size)
        assert abs(values.mean() - (low + high) / 2) < error
    np.testing.assert_array_equal(
        np.sort(jitter["order"]), np.tile(range(4), (4000, 1))
    )
    # Chi square of 23 degrees of freedom: beyond 60 once in 25,000 times.
    _, counts = np.unique(jitter["order"], axis=0, return_counts=True)
    assert len(counts) == 24
    assert np.sum((counts - 4000 / 24) ** 2 / (4000 / 24)) < 60
    bits = draw(pipeline.Posterize((3, 5)))["bits"]
    assert set(bits) == {3, 4, 5}
    assert np.bincount(bits)[3:].min() > 1200
    assert set(draw(pipeline.Solarize(77))["threshold"]) == {77}
    sigma = draw(pipeline.GaussianBlur())["sigma"]
    assert sigma.min() >= 0.1 and 1.9 < sigma.max() <= 2
    assert set(draw(pipeline.GaussianBlur(1.5))["sigma"]) == {1.5}


@pytest.mark.parametrize("shape", [(12, 10, 3), (4, 2, 1)])
@pytest.mark.parametrize("size", [3, 9])
def test_blur_is_that_of_scipy(rng, shape, size):
    images = pictures(rng, 6, shape)
    sigma = np.array([0.0, 0.1, 0.5, 1, 1.7, 3], np.float32)
    transform = pipeline.GaussianBlur((0.0, 3.0), kernel_size=size)
    result = apply(transform, images, sigma=sigma)
    for i in range(1, 6):
        wanted = scipy.ndimage.gaussian_filter(
            images[i].astype(np.float64),
            sigma[i],
            axes=(0, 1),
            mode="mirror",
            radius=size // 2,
        )
        np.testing.assert_allclose(result[i], wanted, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(result[0], images[0])


def test_the_default_kernel_has_three_deviations(rng):
    images = pictures(rng)
    sigma = np.full(6, 1.5, np.float32)
    default = apply(pipeline.GaussianBlur((0.1, 1.5)), images, sigma=sigma)
    given = pipeline.GaussianBlur((0.1, 1.5), kernel_size=11)
    np.testing.assert_array_equal(default, apply(given, images, sigma=sigma))


@pytest.mark.parametrize(
    "transform",
    [
        pipeline.Grayscale(),
        pipeline.Saturation((0, 0)),
        pipeline.Hue((0.3, 0.3)),
    ],
)
def test_grey_pictures_have_no_colour(rng, transform):
    images = pictures(rng, 3, (4, 6, 1))
    keys = pipeline.example_keys(1, 0, np.arange(3))
    result = pipeline.Compose([transform])(images, keys)
    np.testing.assert_array_equal(result, images)
    with pytest.raises(ValueError, match=r"of 3 channels, or 1.*\(3, 4, 6, 2"):
        pipeline.Compose([transform])(np.repeat(images, 2, axis=3), keys)
