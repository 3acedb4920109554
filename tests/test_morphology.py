"""Stroke thickness beside scipy.ndimage."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from mnistpipe import pipeline


def disk(radius):
    row, column = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return row**2 + column**2 <= radius**2


def by_scipy(image, radius):
    """Per channel; what is outside never wins."""
    dilate = radius > 0
    function = (
        scipy.ndimage.grey_dilation if dilate else scipy.ndimage.grey_erosion
    )
    return function(
        image.astype(np.float64),
        footprint=disk(abs(radius))[..., None],
        mode="constant",
        cval=-np.inf if dilate else np.inf,
    )


def apply(transform, images, thickness):
    drawn = {"thickness": tf.constant(thickness, tf.float32)}
    return transform.apply(tf.constant(images), drawn).numpy()


@pytest.mark.parametrize("stroke", ["light", "dark"])
def test_whole_radii_are_those_of_scipy(rng, stroke):
    images = rng.random((7, 9, 12, 2)).astype(np.float32)
    thickness = np.arange(-3, 4)
    result = apply(pipeline.StrokeThickness(3, stroke), images, thickness)
    for i, radius in enumerate(thickness if stroke == "light" else -thickness):
        wanted = by_scipy(images[i], radius) if radius else images[i]
        np.testing.assert_array_equal(result[i], wanted.astype(np.float32))


def test_between_whole_radii_it_is_linear(rng):
    images = rng.integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    thickness = [0.25, 1.5, -0.75, -2.5]
    result = apply(pipeline.StrokeThickness(3), images, thickness)
    for i, radius in enumerate(thickness):
        sign, size = np.sign(radius), abs(radius)
        near, far = int(np.floor(size)), int(np.ceil(size))
        nearer = by_scipy(images[i], sign * near) if near else images[i]
        farther = by_scipy(images[i], int(sign * far))
        wanted = nearer + (size - near) * (farther - nearer)
        np.testing.assert_allclose(result[i], wanted, rtol=0, atol=1e-3)


def by_radius(mask, radius):
    return by_scipy(mask, radius) if radius else mask


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool])
def test_masks_follow_by_the_nearest_radius(rng, dtype):
    mask = (rng.integers(0, 5, (6, 9, 9, 1)) > 3).astype(dtype)
    transform = pipeline.StrokeThickness(2.0, "dark")
    thickness = [-1.6, -0.4, 0.0, 0.6, 1.2, 2.0]
    drawn = {"thickness": tf.constant(thickness, tf.float32)}
    moved = transform.apply_to_mask(tf.constant(mask), drawn).numpy()
    assert moved.dtype == dtype
    for i, radius in enumerate([-2, 0, 0, 1, 1, 2]):
        wanted = by_radius(mask[i].astype(int), radius)
        np.testing.assert_array_equal(moved[i], wanted.astype(dtype))


def test_draws_are_uniform():
    keys = pipeline.example_keys(3, 0, np.arange(4000))
    augment = pipeline.Compose([pipeline.StrokeThickness(1.5)])
    (drawn,) = augment.draw(keys, (4, 5, 1))
    thickness = drawn["thickness"].numpy()
    assert thickness.min() >= -1.5 and thickness.max() <= 1.5
    assert abs(thickness.mean()) < 5 * 3 / np.sqrt(12 * 4000)
