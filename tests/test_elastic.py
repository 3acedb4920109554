"""Elastic distortion beside SciPy's filter and interpolation."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.transforms import elastic


def keys(count):
    return pipeline.example_keys(3, 0, np.arange(count))


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 1.0, 4.0, 12.5])
@pytest.mark.parametrize("shape", [(28, 28), (9, 40), (1, 1), (1, 7)])
def test_the_filter_is_scipys(rng, sigma, shape):
    fields = rng.uniform(-1, 1, (3, *shape)).astype(np.float32)
    result = elastic.gaussian_filter(tf.constant(fields), sigma)
    for field, smooth in zip(fields, result, strict=True):
        wanted = scipy.ndimage.gaussian_filter(
            field.astype(np.float64), sigma, mode="constant"
        )
        np.testing.assert_allclose(smooth, wanted, rtol=0, atol=3e-7)


def test_the_filters_bits_are_the_same_compiled_or_not(rng):
    """Sums without rounding: even across devices and orders."""
    fields = rng.uniform(-1, 1, (5, 33, 17)).astype(np.float32)
    compiled = tf.function(
        elastic.gaussian_filter, jit_compile=True, autograph=False
    )
    wanted = elastic.gaussian_filter(tf.constant(fields), 3.0)
    np.testing.assert_array_equal(compiled(tf.constant(fields), 3.0), wanted)
    alone = compiled(tf.constant(fields[:1]), 3.0)
    np.testing.assert_array_equal(alone, wanted[:1])


def test_displacements_are_the_smoothed_fields():
    transform = pipeline.ElasticDistortion(alpha=34, sigma=4)
    rng_of_transform = draws.Draws(keys(3), 0)
    drawn = transform.draw(rng_of_transform, (20, 30, 1))
    for number, name in enumerate(("row", "column")):
        uniform = rng_of_transform.uniform_field((20, 30), number).numpy()
        for field, smooth in zip(uniform, drawn[name], strict=True):
            wanted = 34 * scipy.ndimage.gaussian_filter(
                field.astype(np.float64) * 2 - 1, 4, mode="constant"
            )
            np.testing.assert_allclose(smooth, wanted, rtol=0, atol=1e-5)


def test_displacements_have_the_documented_deviation():
    transform = pipeline.ElasticDistortion(alpha=10, sigma=3)
    (drawn,) = pipeline.Compose([transform]).draw(keys(400), (60, 60, 1))
    row, column = (drawn[x].numpy()[:, 20:40, 20:40] for x in ("row", "column"))
    assert abs(row.std() / (10 * 0.163 / 3) - 1) < 0.05
    assert abs(column.std() / (10 * 0.163 / 3) - 1) < 0.05
    assert abs(row[:, 10, 10].mean()) < 5 * row.std() / 20
    middle = np.corrcoef(row[:, 10, 10], column[:, 10, 10])[0, 1]
    assert abs(middle) < 5 / 20


@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
@pytest.mark.parametrize("fill_mode", warp.FILL_MODES)
def test_pictures_move_as_scipy_moves_them(rng, fill_mode, interpolation):
    images = rng.integers(0, 256, (4, 19, 26, 2)).astype(np.uint8)
    row, column = rng.normal(0, 4, (2, 4, 19, 26)).astype(np.float32)
    transform = pipeline.ElasticDistortion(
        alpha=1,
        sigma=1,
        fill_mode=fill_mode,
        fill_value=77,
        interpolation=interpolation,
    )
    drawn = {"row": tf.constant(row), "column": tf.constant(column)}
    result = transform.apply(tf.constant(images), drawn).numpy()
    grid = np.mgrid[:19, :26].astype(np.float32)
    for i in range(4):
        for channel in range(2):
            wanted = scipy.ndimage.map_coordinates(
                images[i, :, :, channel].astype(np.float64),
                grid + np.stack([row[i], column[i]]),
                order=int(interpolation == "bilinear"),
                mode=fill_mode,
                cval=77,
            )
            off = np.abs(result[i, :, :, channel] - wanted) > 1e-4 * 255
            # Where a float32 coordinate falls on the other side of a jump.
            assert off.mean() <= 0.005, off.sum()


def test_a_mask_moves_with_its_picture(rng):
    blocks = rng.integers(0, 2, (20, 5, 5, 1))
    mask = np.kron(blocks, np.ones((1, 8, 8, 1))).astype(np.int16)
    images = (mask * 200.0)[..., [0, 0, 0]]
    augment = pipeline.Compose([pipeline.ElasticDistortion(30, sigma=4)])
    moved_images, moved = augment(images, keys(20), masks=mask)
    assert moved.dtype == tf.int16
    bright = moved_images.numpy()[..., :1] > 100
    assert np.mean(bright == moved.numpy().astype(bool)) > 0.99
    assert np.mean(moved.numpy() == mask) < 0.95
