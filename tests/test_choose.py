"""OneOf and SomeOf: shares, independence, masks, sizes, one program."""

import itertools

import numpy as np
import pytest

from mnistpipe import pipeline

COUNT = 6000
KEYS = pipeline.example_keys(5, 0, np.arange(COUNT))


def adds(*values):
    """Transforms that add a number, so that a sum tells who was chosen."""
    return [pipeline.Rescale(1, offset=value) for value in values]


def sums(choice):
    images = np.zeros((COUNT, 1, 1, 1), np.float32)
    return pipeline.Compose([choice])(images, KEYS).numpy().ravel()


def assert_shares(seen, expected):
    """Within five standard errors of the expected shares."""
    values, counts = np.unique(seen, return_counts=True)
    shares = dict(zip(values.tolist(), counts / COUNT, strict=True))
    assert shares.keys() == expected.keys()
    for value, share in expected.items():
        error = np.sqrt(share * (1 - share) / COUNT)
        assert abs(shares[value] - share) < 5 * error


def test_one_is_chosen_as_often_as_its_weight_says():
    assert_shares(sums(pipeline.OneOf(adds(1, 2))), {1: 0.5, 2: 0.5})
    weighted = pipeline.OneOf(adds(1, 2, 4), weights=(1, 2, 5))
    assert_shares(sums(weighted), {1: 1 / 8, 2: 2 / 8, 4: 5 / 8})


def test_some_are_chosen_without_repetition():
    pairs = {1 + 2: 1 / 3, 1 + 4: 1 / 3, 2 + 4: 1 / 3}
    assert_shares(sums(pipeline.SomeOf(adds(1, 2, 4), count=2)), pairs)
    number = pipeline.SomeOf(adds(1, 1, 1), count=(0, 3))
    assert_shares(sums(number), {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25})
    assert np.all(sums(pipeline.SomeOf(adds(1, 2, 4), count=3)) == 7)


def test_weights_are_those_of_successive_draws():
    weights = (1, 2, 5)
    expected = {}
    for first, second in itertools.permutations(range(3), 2):
        left = 8 - weights[first]
        share = weights[first] / 8 * weights[second] / left
        both = 2**first + 2**second
        expected[both] = expected.get(both, 0) + share
    choice = pipeline.SomeOf(adds(1, 2, 4), weights, count=2)
    assert_shares(sums(choice), expected)


def test_the_same_transform_draws_apart_in_each_place(rng):
    """Also from one outside of the choice, and from the choice itself."""
    noise = pipeline.GaussianNoise(1.0)
    choice = pipeline.SomeOf([noise, noise], count=2)
    keys = KEYS[:200]
    drawn = pipeline.Compose([choice, noise]).draw(keys, (9, 9, 1))
    fields = [
        *(own["noise"].numpy().ravel() for own in drawn[0]["transforms"]),
        drawn[1]["noise"].numpy().ravel(),
    ]
    correlations = np.corrcoef(fields) - np.eye(3)
    assert np.abs(correlations).max() < 5 / np.sqrt(200 * 81)


@pytest.mark.parametrize(
    "choice",
    [
        pipeline.OneOf(
            [
                pipeline.RandomAffine(rotation=(90, 90)),
                pipeline.RandomAffine(rotation=(180, 180)),
            ]
        ),
        pipeline.SomeOf(
            [
                pipeline.RandomAffine(rotation=(90, 90)),
                pipeline.RandomAffine(rotation=(180, 180)),
            ],
            count=1,
        ),
    ],
    ids=repr,
)
def test_masks_move_as_their_pictures(rng, choice):
    images = rng.integers(0, 200, (40, 7, 7, 1)).astype(np.uint8)
    augment = pipeline.Compose([choice])
    pictures, masks = augment(images, KEYS[:40], masks=images)
    np.testing.assert_allclose(pictures, masks, atol=0.1)
    turned = [np.rot90(images, turns, axes=(1, 2)) for turns in (1, 2)]
    which = [
        [np.array_equal(mask, way[n]) for way in turned]
        for n, mask in enumerate(masks.numpy())
    ]
    assert np.all(np.sum(which, axis=1) == 1)
    assert 5 < np.sum(which, axis=0)[0] < 35


def test_masks_have_to_be_able_to_follow_every_transform(rng):
    choice = pipeline.OneOf([pipeline.Apply(abs), pipeline.Rescale(1)])
    images = np.zeros((2, 3, 3, 1), np.uint8)
    with pytest.raises(ValueError, match="Expected Apply to define"):
        pipeline.Compose([choice])(images, KEYS[:2], masks=images)
