"""Random erasing: where, how large, and with what."""

import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline

COUNT = 4000


def draw(transform, shape=(100, 60, 3), count=COUNT):
    keys = pipeline.example_keys(3, 0, np.arange(count))
    (drawn,) = pipeline.Compose([transform]).draw(keys, shape)
    return {name: values.numpy() for name, values in drawn.items()}


def test_a_given_rectangle_is_painted(rng):
    images = rng.integers(0, 256, (3, 8, 6, 2)).astype(np.uint8)
    mask = rng.integers(0, 9, (3, 8, 6, 1)).astype(np.int16)
    boxes = {
        "top": [0, 2, 7],
        "left": [0, 5, 0],
        "height": [8, 3, 1],
        "width": [6, 1, 0],
    }
    drawn = {name: tf.constant(values) for name, values in boxes.items()}
    transform = pipeline.RandomErasing(fill=-1.5, mask_fill=7)
    wanted, wanted_mask = images.astype(np.float32), mask.copy()
    wanted[0] = wanted[1, 2:5, 5] = -1.5
    wanted_mask[0] = wanted_mask[1, 2:5, 5] = 7
    result = transform.apply(tf.constant(images), drawn)
    np.testing.assert_array_equal(result, wanted)
    moved = transform.apply_to_mask(tf.constant(mask), drawn)
    np.testing.assert_array_equal(moved, wanted_mask)
    leaves = pipeline.RandomErasing()
    assert leaves.apply_to_mask(mask, drawn) is mask


def test_areas_and_aspects_are_as_asked_for():
    """On a picture so large that whole pixels hardly matter."""
    drawn = draw(
        pipeline.RandomErasing(area=(0.05, 0.2), aspect=(0.5, 2)),
        (2000, 1500, 1),
    )
    area = drawn["height"] * drawn["width"] / (2000 * 1500)
    stretch = np.log(drawn["height"] / drawn["width"])
    error = 5 / np.sqrt(COUNT)
    assert area.min() > 0.049 and area.max() < 0.201
    assert abs(area.mean() - 0.125) < error * 0.15 / np.sqrt(12)
    assert np.abs(stretch).max() < np.log(2.01)
    assert abs(stretch.mean()) < error * 2 * np.log(2) / np.sqrt(12)
    assert abs(np.corrcoef(area, stretch)[0, 1]) < error


def test_every_place_is_as_likely():
    drawn = draw(pipeline.RandomErasing(area=0.25, aspect=1.0), (8, 8, 1))
    assert set(drawn["height"]) == set(drawn["width"]) == {4}
    counts = np.zeros((5, 5))
    np.add.at(counts, (drawn["top"], drawn["left"]), 1)
    # Chi square of 24 degrees of freedom: beyond 60 once in 16,000 times.
    wanted = COUNT / 25
    assert np.sum((counts - wanted) ** 2 / wanted) < 60


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 50, 1), (50, 2, 3), (28, 28, 1)]
)
def test_rectangles_stay_inside(shape):
    drawn = draw(pipeline.RandomErasing(area=(0, 1), aspect=(0.01, 99)), shape)
    for axis, start, length in ((0, "top", "height"), (1, "left", "width")):
        assert drawn[start].min() >= 0
        assert drawn[length].min() >= 0
        assert (drawn[start] + drawn[length]).max() <= shape[axis]


def test_noise_fills_the_value_range(rng):
    images = np.full((50, 20, 20, 3), 9.0, np.float32)
    augment = pipeline.Compose(
        [pipeline.RandomErasing(area=0.5, fill="noise", value_range=(2, 6))]
    )
    keys = pipeline.example_keys(1, 0, np.arange(50))
    result = augment(images, keys).numpy()
    erased = (result != 9).any(axis=-1)
    noise = result[erased]
    assert 0.4 < erased.mean() < 0.55
    assert noise.min() >= 2 and noise.max() <= 6
    error = 5 / np.sqrt(noise.size)
    assert abs(noise.mean() - 4) < error * 4 / np.sqrt(12)
    correlation = np.corrcoef(noise.T) - np.eye(3)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(noise))


def test_masks_are_left_or_painted_with_the_picture(rng):
    images = rng.integers(1, 256, (10, 16, 16, 3)).astype(np.uint8)
    mask = np.ones((10, 16, 16), np.int32)
    keys = pipeline.example_keys(1, 0, np.arange(10))
    leave = pipeline.Compose([pipeline.RandomErasing(area=0.2)])
    np.testing.assert_array_equal(leave(images, keys, masks=mask)[1], mask)
    paint = pipeline.Compose([pipeline.RandomErasing(area=0.2, mask_fill=0)])
    result, painted = paint(images, keys, masks=mask)
    np.testing.assert_array_equal(result[..., 0].numpy() == 0, painted == 0)
    assert 0.1 < np.mean(painted == 0) < 0.3
