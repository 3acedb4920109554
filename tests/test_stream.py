"""Order and keys by position: complete, clean, and the same for ever."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline


def epoch_order(stream: pipeline.Stream, epoch: int) -> np.ndarray:
    return stream.order(epoch, tf.range(stream.examples)).numpy()


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


@pytest.mark.parametrize(
    ("examples", "batch_size"),
    [(100, 7), (100, 10), (100, 100), (100, 130), (1, 1), (1, 3), (1000, 64)],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_example_once_per_epoch(examples, batch_size, shuffle):
    stream = pipeline.Stream(examples, batch_size, seed=3, shuffle=shuffle)
    steps = stream.steps_per_epoch
    assert steps == int(np.ceil(examples / batch_size))
    for epoch in (0, 1):
        batches = [
            stream.batch(step)[0].numpy()
            for step in range(epoch * steps, (epoch + 1) * steps)
        ]
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (
            steps - 1
        )
        indices = np.concatenate(batches)
        assert sorted(indices) == list(range(examples))
        if not shuffle:
            assert indices.tolist() == list(range(examples))


def test_drop_remainder_leaves_the_last_batch_out():
    stream = pipeline.Stream(100, 30, drop_remainder=True)
    assert stream.steps_per_epoch == 3
    assert stream.batch(2)[0].shape == (30,)
    # The fourth step is the next epoch's first.
    key = pipeline.example_keys(0, 1, stream.batch(3)[0])
    np.testing.assert_array_equal(stream.batch(3)[1], key)


def test_orders_are_uncorrelated():
    """Where index_shuffle's four rounds give 0.89, −0.62 and 0.09."""
    count = 60_000
    bound = 5 / np.sqrt(count)
    one = pipeline.Stream(count, 64, seed=1)
    first, second = epoch_order(one, 0), epoch_order(one, 1)
    other = epoch_order(pipeline.Stream(count, 64, seed=2), 0)
    positions = np.arange(count)
    assert abs(correlation(first, second)) < bound
    assert abs(correlation(first, other)) < bound
    assert abs(correlation(first[:-1], first[1:])) < bound
    assert abs(correlation(first, positions)) < bound
    steps = np.abs(np.diff(first))  # of a random order: a third of the range
    assert abs(steps.mean() / count - 1 / 3) < 5 / np.sqrt(18 * count)


def test_golden_order():
    """The same in every version of TensorFlow, for ever."""
    stream = pipeline.Stream(1000, 8, seed=7)
    assert stream.batch(0)[0].numpy().tolist() == [
        68, 951, 311, 115, 114, 711, 262, 86,
    ]  # fmt: skip
    index, key = stream.batch(130)  # the sixth step of the second epoch
    assert index.numpy().tolist() == [
        968, 149, 508, 965, 501, 696, 614, 502,
    ]  # fmt: skip
    assert key.numpy()[0].tolist() == [365234898, 347377448]


def test_a_key_belongs_to_the_example_not_to_the_batch():
    keys = {}
    for batch_size in (1, 7, 64):
        stream = pipeline.Stream(128, batch_size, seed=9)
        for step in range(stream.steps_per_epoch):
            index, key = stream.batch(step)
            for i, k in zip(index.numpy(), key.numpy().tolist(), strict=True):
                assert keys.setdefault(int(i), k) == k
    assert len(keys) == 128


def test_a_hundred_million_positions_cost_no_memory():
    """In a process of its own, whose peak no other test has raised."""
    code = """
import resource
import tensorflow as tf
from mnistpipe import pipeline

def peak(examples):
    stream = pipeline.Stream(examples, 64, seed=1)
    first = 10**12
    for _ in tf.data.Dataset.range(first, first + 200).map(stream.batch):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

print(peak(60_000), peak(100_000_000))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    small, large = map(int, done.stdout.split())
    assert large - small < 50 * 1024  # KiB; an order alone were 800 MB


def test_large_positions_are_still_a_permutation():
    stream = pipeline.Stream(2**40, 1000, seed=1)
    index = np.concatenate([stream.batch(s)[0].numpy() for s in range(20)])
    assert len(np.unique(index)) == 20_000
    assert index.min() >= 0
    assert index.max() < 2**40


def test_numpys_integers_are_integers():
    stream = pipeline.Stream(np.int64(10), np.uint8(4))
    assert stream == pipeline.Stream(10, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": 0, "batch_size": 1}, "examples .* at least 1"),
        ({"examples": 2.5, "batch_size": 1}, "examples .* integer"),
        ({"examples": 5, "batch_size": np.float32(2)}, "batch_size"),
        ({"examples": 5, "batch_size": 0}, "batch_size .* at least 1"),
        ({"examples": 5, "batch_size": True}, "batch_size .* integer"),
        ({"examples": 5, "batch_size": 2, "seed": -1}, "seed"),
        (
            {"examples": 5, "batch_size": 6, "drop_remainder": True},
            r"batch_size of at most .*\(5\).* Received: 6",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        pipeline.Stream(**arguments)
    assert "\n" not in str(error.value)
