"""Resize, crops, pad, perspective, grid: beside TensorFlow, Pillow, SciPy."""

import dataclasses

import numpy as np
import PIL.Image
import pytest
import scipy.ndimage
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline import layers
from mnistpipe.pipeline.transforms import geometry

COUNT, SHAPE = 7, (23, 31, 3)
KEYS = pipeline.example_keys(1, 0, np.arange(COUNT))


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (COUNT, *SHAPE)).astype(np.uint8)


def drawn(transform, place=0, shape=SHAPE):
    parameters = pipeline.Compose([transform]).draw(KEYS, shape)[place]
    return {name: value.numpy() for name, value in parameters.items()}


@pytest.mark.parametrize("size", [(10, 9), (40, 50), (5, 60), (23, 31)])
def test_resize_is_tensorflows(images, size):
    for arguments, reference in [
        ({}, {"antialias": True}),
        ({"antialias": False}, {}),
        ({"interpolation": "nearest"}, {"method": "nearest"}),
    ]:
        ours = pipeline.Compose([pipeline.Resize(size, **arguments)])(images)
        wanted = tf.image.resize(images.astype(np.float32), size, **reference)
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=2e-3)


def test_shrinking_is_pillows(images):
    ours = pipeline.Compose([pipeline.Resize((10, 9))])(images[..., :1])
    for image, result in zip(images[..., 0], ours.numpy(), strict=True):
        picture = PIL.Image.fromarray(image.astype(np.float32))
        wanted = picture.resize((9, 10), PIL.Image.Resampling.BILINEAR)
        np.testing.assert_allclose(result[..., 0], wanted, rtol=0, atol=1e-3)


def test_a_resized_crop_is_a_crop_then_a_resize(images):
    transform = pipeline.RandomResizedCrop((12, 9), scale=(0.05, 1.0))
    box = drawn(transform)
    ours = pipeline.Compose([transform])(images, KEYS)
    for n, image in enumerate(images.astype(np.float32)):
        rows = slice(int(box["top"][n]), int(box["top"][n] + box["height"][n]))
        columns = slice(
            int(box["left"][n]), int(box["left"][n] + box["width"][n])
        )
        cut = image[rows, columns]
        assert cut.shape[:2] == (box["height"][n], box["width"][n])
        wanted = tf.image.resize(cut, (12, 9), antialias=True)
        np.testing.assert_allclose(ours[n], wanted, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "mode, numpys",
    [("constant", "constant"), ("nearest", "edge"), ("reflect", "symmetric")],
)
def test_pad_then_crop(images, mode, numpys):
    pad = pipeline.Pad((2, 3, 4, 5), mode)
    augment = pipeline.Compose([pad, pipeline.RandomCrop((20, 30))])
    place = augment.draw(KEYS, SHAPE)[1]
    padded = np.pad(images, ((0, 0), (2, 3), (4, 5), (0, 0)), numpys)
    pictures, masks = augment(images, KEYS, masks=images)
    for n in range(COUNT):
        top, left = int(place["top"][n]), int(place["left"][n])
        wanted = padded[n, top : top + 20, left : left + 30]
        np.testing.assert_array_equal(pictures[n], wanted)
        np.testing.assert_array_equal(masks[n], wanted)


def test_the_centre(images):
    crop = pipeline.Compose([pipeline.CenterCrop((10, 11))])
    np.testing.assert_array_equal(crop(images), images[:, 6:16, 10:21])
    square = pipeline.Compose([pipeline.Resize(23, crop_to_aspect=True)])
    np.testing.assert_allclose(square(images), images[:, :, 4:27], atol=1e-3)


def scipys(image, row, column, mode):
    return np.stack(
        [
            scipy.ndimage.map_coordinates(
                channel, [row, column], order=1, mode=mode
            )
            for channel in np.moveaxis(image.astype(np.float64), -1, 0)
        ],
        axis=-1,
    )


def test_perspective_maps_its_corners(images):
    """The eight equations, solved by NumPy; the picture read by SciPy."""
    transform = pipeline.RandomPerspective(0.6, fill_mode="nearest")
    moved = drawn(transform)
    ours = pipeline.Compose([transform])(images, KEYS)
    height, width = SHAPE[0] - 1, SHAPE[1] - 1
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    y, x = np.indices(SHAPE[:2])
    for n, image in enumerate(images):
        shift = np.stack([moved["x"][n] * width, moved["y"][n] * height], -1)
        assert np.all(np.abs(shift) <= [0.3 * width, 0.3 * height])
        equations, results = [], []
        for (px, py), (qx, qy) in zip(
            corners + inward * shift, corners, strict=True
        ):
            equations.append([px, py, 1, 0, 0, 0, -px * qx, -py * qx])
            equations.append([0, 0, 0, px, py, 1, -px * qy, -py * qy])
            results += [qx, qy]
        a, b, c, d, e, f, g, h = np.linalg.solve(equations, results)
        below = g * x + h * y + 1
        row, column = (d * x + e * y + f) / below, (a * x + b * y + c) / below
        wanted = scipys(image, row, column, "nearest")
        np.testing.assert_allclose(ours[n], wanted, rtol=0, atol=0.05)


def test_grid_distortion_is_linear_between_its_lines(images):
    transform = pipeline.GridDistortion(steps=4, strength=0.7)
    moved = drawn(transform)
    ours = pipeline.Compose([transform])(images, KEYS)
    lines = np.linspace(0, 1, 5)
    for n, image in enumerate(images):
        axes = []
        for side, name in zip(SHAPE[:2], ("rows", "columns"), strict=True):
            assert np.all(np.diff(lines + moved[name][n]) > 0)
            np.testing.assert_allclose(moved[name][n][[0, -1]], 0, atol=1e-6)
            place = np.linspace(0, 1, side)
            to = np.interp(place, lines, lines + moved[name][n])
            axes.append(to * (side - 1))
        row, column = np.meshgrid(*axes, indexing="ij")
        wanted = scipys(image, row, column, "nearest")
        np.testing.assert_allclose(ours[n], wanted, rtol=0, atol=0.05)


def test_neighbours_share_one_resampling(images):
    """Two turns of 45° are one of 90°, which is exact; apart they blur."""
    turn = pipeline.RandomAffine(rotation=(45, 45))
    square = images[:, :21, :21]
    once = pipeline.Compose([turn, turn])(square, KEYS)
    wanted = np.rot90(square, axes=(1, 2))
    inner = np.s_[:, 6:15, 6:15]
    np.testing.assert_allclose(once[inner], wanted[inner], atol=0.01)
    between = pipeline.Compose([turn, pipeline.Rescale(1), turn])
    assert np.abs(between(square, KEYS)[inner] - wanted[inner]).max() > 10
    groups = geometry.groups(
        [
            pipeline.Pad(2),
            turn,
            pipeline.Resize(9),
            pipeline.Resize(7, "nearest"),
            pipeline.Rescale(1),
            turn,
        ]
    )
    assert groups == [[0, 1, 2], [3], [4], [5]]


@pytest.mark.slow
def test_shrinking_and_turning_averages(rng):
    """Beside the turn at full size and TensorFlow's resize, in two steps."""
    smooth = scipy.ndimage.gaussian_filter(
        rng.random((2, 120, 120, 1)), (0, 6, 6, 0)
    ).astype(np.float32)
    turn = pipeline.RandomAffine(rotation=(20, 20), fill_mode="reflect")
    keys, inner = KEYS[:2], np.s_[:, 3:-3, 3:-3]
    for images, most in [(smooth, 1e-3), (rng.random(smooth.shape), 0.05)]:
        turned = pipeline.Compose([turn])(images, keys)
        wanted = tf.image.resize(turned, (40, 40), antialias=True)
        both = pipeline.Compose([turn, pipeline.Resize(40)])(images, keys)
        np.testing.assert_allclose(both[inner], wanted[inner], atol=most)
        sized = dataclasses.replace(turn, output_size=40)
        again = pipeline.Compose([sized])(images, keys)
        np.testing.assert_allclose(again, both, atol=1e-6)


CHAIN = [
    pipeline.Pad(3),
    pipeline.RandomResizedCrop((16, 12)),
    pipeline.RandomAffine(rotation=20, probability=0.5),
    pipeline.RandomPerspective(0.2),
]


@pytest.mark.slow
def test_a_chains_bits_do_not_depend_on_the_batch(rng):
    images = rng.integers(0, 256, (64, *SHAPE)).astype(np.uint8)
    keys = pipeline.example_keys(1, 0, np.arange(64))
    augment = pipeline.Compose(CHAIN)
    assert augment.output_shape(SHAPE) == (16, 12, 3)
    whole = augment(images, keys).numpy()
    for size in (1, 7):
        part = np.s_[:size]
        np.testing.assert_array_equal(
            augment(images[part], keys[part]), whole[part]
        )


@pytest.mark.slow
def test_evaluation_has_the_same_size(images):
    for steps in (CHAIN, [pipeline.RandomCrop(9)]):
        augment = pipeline.Compose(steps)
        evaluate = augment.deterministic()
        assert not evaluate.needs_keys
        assert evaluate(images).shape == augment(images, KEYS).shape
    kept = pipeline.OneOf([pipeline.RandomCrop(5), pipeline.Resize(5)])
    noise = pipeline.OneOf([pipeline.GaussianNoise(1.0), pipeline.Rescale(2)])
    assert pipeline.Compose([noise]).deterministic().transforms == ()
    assert pipeline.Compose([kept]).deterministic()(images).shape[1:3] == (5, 5)


@pytest.mark.slow
def test_a_layer_says_its_size(images):
    import keras

    layer = layers.Augment(CHAIN, seed=1)
    outputs = layer(keras.Input((*SHAPE[:2], 3), dtype="uint8"))
    assert tuple(outputs.shape) == (None, 16, 12, 3)
    assert layer(images, training=True).shape == (COUNT, 16, 12, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pipeline.Resize(0), "Resize.size to be a side"),
        (lambda: pipeline.Resize((3, 4, 5)), "Resize.size to be a side"),
        (lambda: pipeline.CenterCrop(2.5), "CenterCrop.size to be a side"),
        (lambda: pipeline.Pad((1, 2)), "Pad.amount to be pixels"),
        (lambda: pipeline.Pad(-1), "Pad.amount to be pixels"),
        (lambda: pipeline.RandomResizedCrop(5, scale=2), "scale"),
        (lambda: pipeline.RandomPerspective(1.0), "distortion"),
        (lambda: pipeline.GridDistortion(steps=1.5), "steps"),
        (lambda: pipeline.RandomAffine(output_size="a"), "output_size"),
        (lambda: pipeline.Resize(5, probability=0.5), "probability to be 1"),
    ],
)
def test_bad_fields_are_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([pipeline.RandomCrop(40)], r"at least \(40, 40\) for RandomCrop"),
        ([pipeline.Resize(5), pipeline.CenterCrop(6)], r"Received: \(5, 5\)"),
        ([pipeline.OneOf([pipeline.Resize(5), pipeline.Resize(6)])], "OneOf"),
        ([pipeline.SomeOf([pipeline.Resize(5)])], "from Resize"),
    ],
)
def test_shapes_that_cannot_be_are_found_at_the_first_call(
    images, steps, message
):
    with pytest.raises(ValueError, match=message) as error:
        pipeline.Compose(steps)(images, KEYS)
    assert "\n" not in str(error.value)
