"""MixUp and CutMix: the formulas, and the same bits in any batch."""

import pickle

import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline

COUNT = 40
AUGMENT = pipeline.Compose(
    [pipeline.ChannelShift(20), pipeline.Rescale(1 / 255)]
)
MIXES = pytest.mark.parametrize(
    "mix",
    [pipeline.MixUp(0.4, classes=5), pipeline.CutMix(classes=5)],
    ids=["MixUp", "CutMix"],
)


def data(rng, count=COUNT):
    images = rng.integers(0, 256, (count, 12, 10, 3)).astype(np.uint8)
    return images, rng.integers(0, 5, count)


def keys(count=4000):
    return pipeline.example_keys(3, 0, np.arange(count))


def by_index(dataset, stream):
    """What an epoch shows, in the order of the data."""
    batches = [tf.nest.map_structure(np.asarray, batch) for batch in dataset]
    steps = len(batches)
    order = np.concatenate([stream.batch(step)[0] for step in range(steps)])
    members = [np.concatenate(member) for member in zip(*batches, strict=True)]
    return [member[np.argsort(order)] for member in members]


@MIXES
def test_same_bits_in_any_batch_order_and_shard(rng, mix):
    images, labels = data(rng)
    weights = rng.random(COUNT).astype(np.float32)

    def epoch(batch_size, **fields):
        stream = pipeline.Stream(COUNT, batch_size, seed=2, **fields)
        dataset = pipeline.host_dataset(
            images, labels, stream, AUGMENT, sample_weight=weights, mix=mix
        )
        return by_index(dataset, stream)

    wanted = epoch(40)
    assert wanted[1].shape == (COUNT, 5)
    for other in (epoch(1), epoch(7), epoch(64), epoch(7, shuffle=False)):
        for given, member in zip(other, wanted, strict=True):
            np.testing.assert_array_equal(given, member)
    stream = pipeline.Stream(COUNT, 7, seed=2)
    parts = [
        list(
            pipeline.host_dataset(
                images, labels, stream, AUGMENT, shard=(i, 2), mix=mix
            )
        )
        for i in range(2)
    ]
    index = stream.batch(3)[0]
    np.testing.assert_array_equal(parts[1][1][0], wanted[0][index])


@MIXES
def test_partners_are_of_the_same_epoch(rng, mix):
    """Each mixed picture, computed again in NumPy from both pictures."""
    images, labels = data(rng)
    stream = pipeline.Stream(COUNT, COUNT, seed=2, shuffle=False)
    dataset = pipeline.host_dataset(images, labels, stream, AUGMENT, mix=mix)
    first_pass, second_pass = (
        [member.numpy() for member in next(iter(dataset))] for _ in range(2)
    )
    assert np.abs(first_pass[0] - second_pass[0]).mean() > 0.01
    index, key = stream.batch(0)
    index = index.numpy()
    plain = AUGMENT(images, key).numpy()
    partner = mix.partners(key, index, COUNT).numpy()
    assert (partner != index).all()
    drawn = mix.draw(key, (12, 10, 3))
    part = drawn["part"].numpy()
    wanted = plain.copy()
    for i in range(COUNT):
        if isinstance(mix, pipeline.MixUp):
            p = np.float64(part[i])
            wanted[i] = p * plain[i] + (1 - p) * plain[partner[i]]
        else:
            top, left, height, width = (
                int(drawn[name][i])
                for name in ("top", "left", "height", "width")
            )
            box = np.s_[top : top + height, left : left + width]
            wanted[i][box] = plain[partner[i]][box]
            assert part[i] == pytest.approx(1 - height * width / 120)
    np.testing.assert_allclose(first_pass[0], wanted, rtol=0, atol=1e-6)
    hot = np.eye(5)[labels]
    soft = part[:, None] * hot + (1 - part[:, None]) * hot[partner]
    np.testing.assert_allclose(first_pass[1], soft, rtol=0, atol=1e-6)


def test_weights_make_the_loss_the_mix_of_both_losses(rng):
    images, labels = data(rng)
    weights = rng.random(COUNT).astype(np.float32)
    weights[:5] = 0
    mix = pipeline.MixUp(1.0)
    hot = np.eye(5, dtype=np.float32)[labels]
    stream = pipeline.Stream(COUNT, COUNT, seed=2, shuffle=False)
    dataset = pipeline.host_dataset(
        images, hot, stream, AUGMENT, sample_weight=weights, mix=mix
    )
    _, soft, mixed = (member.numpy() for member in next(iter(dataset)))
    index, key = stream.batch(0)
    partner = mix.partners(key, index, COUNT).numpy()
    part = mix.draw(key, (12, 10, 3))["part"].numpy()
    logits = rng.normal(size=(COUNT, 5))
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))

    def loss(label):
        return -(label * logs).sum(1)

    wanted = part * weights * loss(hot)
    wanted += (1 - part) * weights[partner] * loss(hot[partner])
    np.testing.assert_allclose(mixed * loss(soft), wanted, atol=1e-5)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-5)


def test_partners_are_uniform_and_others():
    mix = pipeline.MixUp()
    index = tf.constant([2] * 4000, tf.int64)
    counts = np.bincount(mix.partners(keys(), index, 9), minlength=9)
    assert counts[2] == 0
    others = np.delete(counts, 2)
    # Chi square of 7 degrees of freedom: beyond 35 once in 90,000 times.
    assert np.sum((others - 500) ** 2 / 500) < 35
    far = mix.partners(keys(), tf.range(4000, dtype=tf.int64), 2**40).numpy()
    assert far.min() >= 0 and 2**39 < far.max() < 2**40
    alone = mix.partners(keys(1), tf.constant([0], tf.int64), 1)
    np.testing.assert_array_equal(alone, [0])


def test_draws():
    never = pipeline.MixUp(probability=0.0).draw(keys(), (4, 4, 1))
    assert set(never["part"].numpy()) == {1.0}
    half = pipeline.MixUp(1.0, probability=0.5).draw(keys(), (4, 4, 1))
    assert 0.45 < np.mean(half["part"] == 1.0) < 0.55
    drawn = pipeline.CutMix().draw(keys(), (40, 30, 3))
    for axis, start, length in ((40, "top", "height"), (30, "left", "width")):
        assert drawn[start].numpy().min() >= 0
        assert (drawn[start] + drawn[length]).numpy().max() <= axis
    # Without the cut at the border the mean area would be 1/2.
    assert 0.5 < drawn["part"].numpy().mean() < 0.75


@pytest.mark.parametrize("kind", [pipeline.MixUp, pipeline.CutMix])
def test_other_datasets_mix_within_the_batch(rng, kind):
    images, labels = data(rng, 12)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    mixed = pipeline.augmented_dataset(
        dataset, AUGMENT, batch_size=6, seed=4, mix=kind(classes=5)
    )
    again = pipeline.augmented_dataset(
        dataset, AUGMENT, batch_size=6, seed=4, mix=kind(classes=5)
    )
    for (pictures, soft), (same, _) in zip(mixed, again, strict=True):
        assert pictures.shape == (6, 12, 10, 3)
        np.testing.assert_allclose(tf.reduce_sum(soft, 1), 1, atol=1e-6)
        np.testing.assert_array_equal(pictures, same)


def test_masks_are_mixed_with_their_pictures(rng):
    mask = rng.integers(0, 3, (8, 12, 10)).astype(np.int16)
    images = mask[..., None].astype(np.uint8)
    dataset = tf.data.Dataset.from_tensor_slices((images, mask))
    fields = {"batch_size": 8, "masks": True, "seed": 1}
    move = pipeline.RandomAffine(rotation=9, interpolation="nearest")
    cut = pipeline.augmented_dataset(
        dataset, move, mix=pipeline.CutMix(), **fields
    )
    ((pictures, moved),) = cut
    assert moved.dtype == tf.int16
    np.testing.assert_array_equal(pictures[..., 0], moved)
    blended = pipeline.augmented_dataset(
        dataset, move, mix=pipeline.MixUp(1.0, classes=3), **fields
    )
    ((pictures, soft),) = blended
    assert soft.shape == (8, 12, 10, 3)
    labels = tf.reduce_sum(soft * [0.0, 1.0, 2.0], -1)
    np.testing.assert_allclose(pictures[..., 0], labels, atol=1e-6)


def test_what_cannot_be_mixed_is_refused(rng):
    images, labels = data(rng)
    stream = pipeline.Stream(COUNT, 8)
    with pytest.raises(ValueError, match=r"MixUp\(classes=...\).*int64"):
        pipeline.host_dataset(
            images, labels, stream, AUGMENT, mix=pipeline.MixUp()
        )
    for fields in ({"alpha": 0}, {"alpha": "1"}, {"probability": 2}):
        with pytest.raises(ValueError, match=r"CutMix\.\w+ to be a number"):
            pipeline.CutMix(**fields)
    with pytest.raises(ValueError, match=r"MixUp\.classes to be an integer"):
        pipeline.MixUp(classes=0)
    few = pipeline.MixUp(classes=3)
    words = (
        r"labels of 0 to 2 for MixUp\(classes=3\). Received: labels of 0 to 3"
    )
    with pytest.raises(ValueError, match=words):
        pipeline.host_dataset(
            images, np.arange(COUNT) % 4, stream, AUGMENT, mix=few
        )
    mix = pipeline.MixUp(0.3, classes=4)
    mix(keys(2), (images[:2], labels[:2]), (images[2:4], labels[2:4]))
    assert pickle.loads(pickle.dumps(mix)) == mix
