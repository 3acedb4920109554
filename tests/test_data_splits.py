"""Stratified splits: shares, determinism, impossible sizes."""

import hashlib

import numpy as np
import pytest

from mnistpipe import data

# Uneven on purpose: 500, 120, 60, 13, 7 of the classes 0 to 4, mixed.
COUNTS = np.array([500, 120, 60, 13, 7])
LABELS = np.random.default_rng(3).permutation(np.repeat(np.arange(5), COUNTS))


@pytest.mark.parametrize("size", [5, 10, 70, 333, 650, 695])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_keeps_its_share(size, seed):
    rest, chosen = data.stratified_split(LABELS, size, seed)
    share = COUNTS * size / len(LABELS)
    got = np.bincount(LABELS[chosen], minlength=5)
    assert got.sum() == size
    assert np.all(np.abs(got - share) < 1)
    both = np.concatenate([rest, chosen])
    assert np.array_equal(np.sort(both), np.arange(len(LABELS)))
    for part in (rest, chosen):
        assert part.dtype == np.int64
        assert np.all(np.diff(part) > 0)


def test_mnist_validation_part():
    labels = data.load().train.labels
    rest, chosen = data.stratified_split(labels, 5_000, 1)
    assert (len(rest), len(chosen)) == (55_000, 5_000)
    share = np.bincount(labels) / 12
    assert np.all(np.abs(np.bincount(labels[chosen]) - share) < 1)


def test_same_seed_same_split_whatever_the_global_state():
    first = data.stratified_split(LABELS, 100, 5)
    np.random.seed(99)
    state = np.random.get_state()[1].copy()
    second = data.stratified_split(LABELS, 100, 5)
    assert all(map(np.array_equal, first, second))
    assert np.array_equal(np.random.get_state()[1], state)


def test_seeds_differ_in_all_of_their_64_bits():
    seeds = [0, 1, 2**32, 2**32 + 1, 2**63, -1]
    chosen = {
        data.stratified_split(LABELS, 100, seed)[1].tobytes() for seed in seeds
    }
    assert len(chosen) == len(seeds)
    _, minus = data.stratified_split(LABELS, 100, -1)
    _, wrapped = data.stratified_split(LABELS, 100, 2**64 - 1)
    assert np.array_equal(minus, wrapped)


def test_chosen_places_look_uniform():
    """Over many seeds, each example of a class is chosen equally often."""
    times = np.zeros(len(LABELS))
    for seed in range(400):
        times[data.stratified_split(LABELS, 140, seed)[1]] += 1
    # Class 0: 100 of 500 each time; a binomial's deviation is 8 around 80.
    of_zero = times[LABELS == 0]
    assert of_zero.mean() == pytest.approx(80, abs=0.5)
    assert np.all(np.abs(of_zero - 80) < 5 * 8)
    assert of_zero.std() == pytest.approx(8, rel=0.2)


def test_golden_split():
    """Holds in every version of the stack: runs are resumed with it."""
    labels = np.arange(60) % 3
    _, chosen = data.stratified_split(labels, 9, 1)
    assert chosen.tolist() == [12, 16, 23, 35, 36, 41, 46, 52, 54]
    _, chosen = data.stratified_split(data.load().train.labels, 5_000, 1)
    digest = hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()
    assert digest == (
        "f35507760f5ea3c17bcbcf5f7f9fa81162a8d2fb3678c566cb45c539f51d5f96"
    )


def test_subset():
    examples = data.Examples(
        np.arange(len(LABELS), dtype=np.uint8).reshape(-1, 1, 1, 1), LABELS
    )
    subset = data.stratified_subset(examples, 70, 3)
    _, chosen = data.stratified_split(LABELS, 70, 3)
    assert np.array_equal(subset.labels, LABELS[chosen])
    assert np.array_equal(subset.images, examples.images[chosen])
    assert not subset.images.flags.writeable
    assert data.stratified_subset(examples, len(LABELS), 3) is examples


@pytest.mark.parametrize(
    ("labels", "size", "words"),
    [
        (LABELS, 0, "expected 5 to 695"),
        (LABELS, -1, "got -1"),
        (LABELS, 4, "got 4"),
        (LABELS, 696, "got 696"),
        (LABELS, 700, "got 700"),
        (LABELS, 10**9, "got 1000000000"),
        ([0] * 9 + [1], 3, "1 of class 1"),
        ([0, 1], 1, "got 1"),
        ([], 1, "of the 0 examples"),
    ],
)
def test_impossible_sizes(labels, size, words):
    labels = np.array(labels, np.int64)
    with pytest.raises(data.DataError) as caught:
        data.stratified_split(labels, size, 1)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    examples = data.Examples(np.zeros((len(labels), 1, 1, 1)), labels)
    if size != len(labels):
        with pytest.raises(data.DataError):
            data.stratified_subset(examples, size, 1)


@pytest.mark.parametrize("size", [0.1, "5", None])
def test_a_size_is_a_count(size):
    """scikit-learn would take 0.1 for a share."""
    with pytest.raises(TypeError):
        data.stratified_split(LABELS, size, 1)
