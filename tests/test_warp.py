"""The warp against scipy.ndimage, everywhere but at discontinuities."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from mnistpipe.pipeline import warp

SHAPES = [(28, 28, 1), (17, 40, 3), (40, 17, 1), (5, 3, 2)]
ORDERS = {"nearest": 0, "bilinear": 1}
# How near, in pixels, a float32 coordinate may come to a jump of the
# interpolant before its side of the jump is left open.
NEAR = 1e-4


def random_matrices(rng, count):
    """Linear part and shift, in (row, column), about the centre."""
    linear = np.eye(2) + rng.uniform(-0.7, 0.7, (count, 2, 2))
    shift = rng.uniform(-15, 15, (count, 2, 1))
    return np.concatenate([linear, shift], axis=2)


def scipy_affine(image, matrix, **arguments):
    centre = (np.array(image.shape[:2]) - 1) / 2
    linear = matrix[:, :2]
    offset = matrix[:, 2] + centre - linear @ centre
    channels = [
        scipy.ndimage.affine_transform(
            channel, linear, offset=offset, **arguments
        )
        for channel in np.moveaxis(image.astype(np.float64), -1, 0)
    ]
    return np.stack(channels, axis=-1)


def near_discontinuity(shape, matrix, fill_mode, order):
    """Pixels [H, W] whose source lies within NEAR of a jump."""
    rows, columns = np.indices(shape[:2])
    centre = (np.array(shape[:2]) - 1) / 2
    out = np.stack([rows - centre[0], columns - centre[1]], axis=-1)
    source = out @ matrix[:, :2].T + matrix[:, 2] + centre
    near = np.zeros(shape[:2], bool)
    for axis, size in enumerate(shape[:2]):
        coordinate = source[..., axis]
        if order == 0:
            near |= np.abs((coordinate + 0.5) - np.round(coordinate + 0.5)) < (
                NEAR
            )
        if fill_mode == "constant":
            near |= np.abs(coordinate) < NEAR
            near |= np.abs(coordinate - (size - 1)) < NEAR
        if fill_mode == "wrap":
            folded = np.mod(coordinate + NEAR, max(size - 1, 1))
            near |= folded < 2 * NEAR
            if order == 0:  # the picture's end may lie between two pixels
                near |= np.abs(np.mod(coordinate, 1) - 0.5) < NEAR
    return near


@pytest.mark.parametrize("fill_mode", warp.FILL_MODES)
@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_affine_is_scipys(rng, shape, interpolation, fill_mode):
    # 20,000 pixels at least, so that the excepted can be counted.
    count = max(30, 20_000 // (shape[0] * shape[1]))
    order = ORDERS[interpolation]
    images = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    matrices = random_matrices(rng, count)
    ours = warp_compiled(
        images,
        matrices,
        fill_mode=fill_mode,
        fill_value=77,
        interpolation=interpolation,
    )
    excepted = 0
    for image, matrix, result in zip(images, matrices, ours, strict=True):
        expected = scipy_affine(
            image, matrix, mode=fill_mode, cval=77, order=order
        )
        near = near_discontinuity(shape, matrix, fill_mode, order)
        excepted += np.count_nonzero(near)
        difference = np.abs(result - expected).max(axis=-1)
        assert difference[~near].max(initial=0) < 1e-4 * 255
    assert excepted <= 0.002 * count * shape[0] * shape[1]


def warp_compiled(images, matrices, **arguments):
    function = tf.function(
        lambda i, m: warp.affine(i, m, **arguments),
        jit_compile=True,
        autograph=False,
    )
    matrices = tf.constant(matrices, tf.float32)
    return function(tf.constant(images), matrices).numpy().astype(float)


@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
@pytest.mark.parametrize("fill_mode", warp.FILL_MODES)
def test_compiled_eager_and_dynamic_shapes_agree(rng, fill_mode, interpolation):
    images = rng.integers(0, 256, (4, 9, 12, 2)).astype(np.uint8)
    matrices = random_matrices(rng, 4)
    arguments = {"fill_mode": fill_mode, "interpolation": interpolation}
    compiled = warp_compiled(images, matrices, **arguments)
    matrices = tf.constant(matrices, tf.float32)
    eager = warp.affine(tf.constant(images), matrices, **arguments)
    dynamic = tf.function(
        lambda i, m: warp.affine(i, m, **arguments),
        autograph=False,
        input_signature=[
            tf.TensorSpec([None] * 4, tf.uint8),
            tf.TensorSpec([None, 2, 3], tf.float32),
        ],
    )
    for other in (eager, dynamic(images, matrices)):
        np.testing.assert_allclose(compiled, other, rtol=0, atol=1e-5 * 255)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32", "int64"])
@pytest.mark.parametrize("fill_mode", warp.FILL_MODES)
def test_identity_and_whole_pixels_are_exact(rng, dtype, fill_mode):
    images = rng.integers(0, 200, (2, 6, 7, 1)).astype(dtype)
    identity = [[1, 0, 0], [0, 1, 0]]
    shifted = [[1, 0, 2], [0, 1, -1]]  # reads two rows down, one column left
    for interpolation in warp.INTERPOLATIONS:
        result = warp.affine(
            tf.constant(images),
            tf.constant([identity, shifted], tf.float32),
            fill_mode=fill_mode,
            interpolation=interpolation,
        ).numpy()
        if interpolation == "nearest":
            assert result.dtype == dtype
        np.testing.assert_array_equal(result[0], images[0])
        np.testing.assert_array_equal(
            result[1, :4, 1:], images[1, 2:, :-1].astype(result.dtype)
        )


@pytest.mark.parametrize("fill_mode", warp.FILL_MODES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 1), (5, 1, 2)])
def test_single_pixels_and_lines(rng, shape, fill_mode):
    images = rng.uniform(0, 1, (20, *shape)).astype(np.float32)
    matrices = random_matrices(rng, 20)
    ours = warp_compiled(images, matrices, fill_mode=fill_mode)
    for image, matrix, result in zip(images, matrices, ours, strict=True):
        expected = scipy_affine(image, matrix, mode=fill_mode, order=1)
        near = near_discontinuity(shape, matrix, fill_mode, 1)
        assert np.abs(result - expected)[~near].max(initial=0) < 1e-4


def test_coordinates_that_are_no_numbers_stay_inside():
    """A NaN drawn by a caller gives NaN or a fill, never a foreign pixel."""
    images = tf.ones([1, 4, 4, 1])
    for bad in (np.nan, np.inf, -np.inf, 1e30):
        matrix = tf.constant([[[1, 0, bad], [0, 1, 0]]], tf.float32)
        result = warp.affine(images, matrix).numpy()
        assert np.all(np.isnan(result) | (result == 1))


def test_more_pixels_than_int32_counts_are_refused():
    function = tf.function(warp.affine, autograph=False)
    images = tf.TensorSpec([2**11, 2**10, 2**10, 1], tf.uint8)
    matrix = tf.TensorSpec([2**11, 2, 3])
    with pytest.raises(ValueError, match=r"less than 2\*\*31 pixels"):
        function.get_concrete_function(images, matrix)
