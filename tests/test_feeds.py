"""tf.data around the stream: the same pictures by every road."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline

AUGMENT = pipeline.Compose(
    [
        pipeline.RandomAffine(rotation=20, width_shift=0.1),
        pipeline.Rescale(1 / 255),
        pipeline.GaussianNoise(0.05),
    ]
)
COUNT = 50


@pytest.fixture
def examples(rng):
    images = rng.integers(0, 256, (COUNT, 10, 9, 1)).astype(np.uint8)
    return images, np.arange(COUNT)


def collect(dataset):
    batches = list(dataset.as_numpy_iterator())
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


@pytest.mark.parametrize("batch_size", [1, 7, 25, 64])
def test_host_batches_are_keyed_by_example(examples, batch_size):
    images, labels = examples
    stream = pipeline.Stream(COUNT, batch_size, seed=2)
    steps = stream.steps_per_epoch
    dataset = pipeline.host_dataset(
        images, labels, stream, AUGMENT, start=steps, stop=2 * steps
    )
    pictures, seen = collect(dataset)
    assert sorted(seen) == list(range(COUNT))
    keys = pipeline.example_keys(2, 1, seen)  # the second epoch's
    np.testing.assert_array_equal(pictures, AUGMENT(images[seen], keys))


def test_resuming_at_any_step_gives_the_rest(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 8, seed=2)
    stop = 3 * stream.steps_per_epoch

    def batches(start):
        dataset = pipeline.host_dataset(
            images, labels, stream, AUGMENT, start=start, stop=stop
        )
        return list(dataset.as_numpy_iterator())

    whole = batches(0)
    assert len(whole) == stop
    for start in range(1, stop + 1):
        rest = batches(start)
        assert len(rest) == stop - start
        for one, other in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])


def test_shards_share_out_the_batches(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 8, seed=2)

    def batches(shard):
        dataset = pipeline.host_dataset(
            images, labels, stream, AUGMENT, stop=20, shard=shard
        )
        return list(dataset.as_numpy_iterator())

    whole = batches((0, 1))
    for place in range(3):
        for one, other in zip(
            batches((place, 3)), whole[place::3], strict=True
        ):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])


def test_threads_change_nothing(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 7, seed=2)
    results = []
    for threads in (1, 4):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        dataset = pipeline.host_dataset(images, labels, stream, AUGMENT, stop=8)
        results.append(collect(dataset.with_options(options)))
    np.testing.assert_array_equal(results[0][0], results[1][0])


def test_device_batches_name_the_same_examples(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 8, seed=2)
    host = pipeline.host_dataset(images, labels, stream, AUGMENT, stop=9)
    device = pipeline.device_dataset(labels, stream, stop=9)
    for (pictures, seen), ((index, key), targets) in zip(
        host, device, strict=True
    ):
        np.testing.assert_array_equal(seen, targets)
        np.testing.assert_array_equal(index, targets)
        np.testing.assert_array_equal(
            AUGMENT(tf.gather(images, index), key), pictures
        )


def test_targets_may_be_a_structure(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 8)
    targets = {"label": labels, "weight": labels / 2}
    dataset = pipeline.host_dataset(images, targets, stream, AUGMENT, stop=3)
    for _, batch in dataset:
        np.testing.assert_array_equal(batch["label"] / 2, batch["weight"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": -1}, "start=-1"),
        ({"start": 5, "stop": 4}, "start=5, stop=4"),
        ({"shard": (2, 2)}, r"\(i, n\) with 0 <= i < n. Received: \(2, 2\)"),
    ],
)
def test_bad_steps(examples, arguments, message):
    stream = pipeline.Stream(COUNT, 8)
    with pytest.raises(ValueError, match=message):
        pipeline.host_dataset(*examples, stream, AUGMENT, **arguments)


def test_a_feed_without_end_never_repeats_itself(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 25, seed=2)
    dataset = pipeline.host_dataset(
        images, labels, stream, AUGMENT, epochs=None
    )
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    batches = [pictures.numpy() for pictures, _ in dataset.take(6)]
    again = next(iter(dataset))[0].numpy()
    for n, one in enumerate([*batches, again]):
        assert not any(np.array_equal(one, other) for other in batches[:n])


def passes(dataset, count):
    return [collect(dataset) for _ in range(count)]


def assert_epochs(seen, images, numbers):
    """Each pass shows every example once, by the keys of its epoch."""
    for (pictures, labels), number in zip(seen, numbers, strict=True):
        assert sorted(labels) == list(range(COUNT))
        keys = pipeline.example_keys(2, number, labels)
        np.testing.assert_array_equal(pictures, AUGMENT(images[labels], keys))


@pytest.mark.parametrize("arguments", [{}, {"stop": 7}])
def test_a_pass_is_an_epoch_and_the_next_pass_is_the_next(examples, arguments):
    stream = pipeline.Stream(COUNT, 8, seed=2)
    feed = pipeline.host_dataset(*examples, stream, AUGMENT, **arguments)
    assert len(feed) == stream.steps_per_epoch == 7
    assert_epochs(passes(feed, 3), examples[0], [0, 1, 2])


def test_a_frozen_feed_repeats_its_pass(examples):
    stream = pipeline.Stream(COUNT, 8, seed=2)
    feed = pipeline.host_dataset(*examples, stream, AUGMENT, frozen=True)
    assert_epochs(passes(feed, 2), examples[0], [0, 0])


def test_a_resumed_feed_first_ends_its_epoch(examples):
    stream = pipeline.Stream(COUNT, 8, seed=2)
    whole = pipeline.host_dataset(*examples, stream, AUGMENT, epochs=3)
    assert len(whole) == 21
    (all_pictures, all_labels) = collect(whole)
    feed = pipeline.host_dataset(*examples, stream, AUGMENT, start=9)
    seen = passes(feed, 2)
    assert [len(labels) for _, labels in seen] == [2 * COUNT - 66, COUNT]
    for column, wanted in enumerate((all_pictures, all_labels)):
        rest = np.concatenate([one[column] for one in seen])
        np.testing.assert_array_equal(rest, wanted[66:])


def test_device_passes_are_the_hosts(examples):
    stream = pipeline.Stream(COUNT, 8, seed=2)
    feed = pipeline.device_dataset(examples[1], stream)
    for number in range(2):
        for (index, key), labels in feed:
            np.testing.assert_array_equal(index, labels)
            wanted = pipeline.example_keys(2, number, labels)
            np.testing.assert_array_equal(key, wanted)


class Recorder(keras.Model):
    """Counts nothing, trains nothing, and remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.seen = []

    def call(self, pictures):
        tf.numpy_function(lambda p: self.seen.append(p.copy()), [pictures], [])
        return self.dense(tf.reshape(pictures, [-1, 90]))


def test_fit_sees_new_pictures_in_every_epoch(examples):
    """The trap was stop=steps_per_epoch: the same pictures in each epoch."""
    images, labels = examples
    stream = pipeline.Stream(COUNT, 25, seed=2)
    feed = pipeline.host_dataset(
        images, labels, stream, AUGMENT, stop=stream.steps_per_epoch
    )
    model = Recorder()
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(feed, epochs=3, verbose=0, shuffle=False)
    seen = [p for p in model.seen if p.shape[0] == 25][-6:]
    for n, one in enumerate(seen):
        assert not any(np.array_equal(one, other) for other in seen[:n])


# What fit takes


def test_pictures_alone_and_pictures_in_a_dict(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 8, seed=2)
    wanted = collect(pipeline.host_dataset(images, labels, stream, AUGMENT))[0]
    alone = pipeline.host_dataset(images, None, stream, AUGMENT)
    np.testing.assert_array_equal(np.concatenate(list(alone)), wanted)
    pair = {"left": images, "right": images}
    for batch, seen in pipeline.host_dataset(pair, labels, stream, AUGMENT):
        keys = pipeline.example_keys(2, 0, seen)
        for side in ("left", "right"):
            np.testing.assert_array_equal(
                batch[side], AUGMENT(images[seen], keys)
            )


def test_fit_takes_weights_soft_labels_and_several_outputs(examples):
    images, labels = examples
    soft = np.full((COUNT, 4), 0.25, np.float32)
    stream = pipeline.Stream(COUNT, 25)
    feed = pipeline.host_dataset(
        images,
        (soft, labels.astype(np.float32)),
        stream,
        AUGMENT,
        sample_weight=(np.zeros(COUNT), np.ones(COUNT)),
    )
    inputs = keras.Input((10, 9, 1))
    flat = keras.layers.Flatten()(inputs)
    outputs = [
        keras.layers.Dense(4, "softmax", name="classes")(flat),
        keras.layers.Dense(1, name="number")(flat),
    ]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["categorical_crossentropy", "mse"])
    loss = model.fit(feed, verbose=0, shuffle=False).history
    assert loss["classes_loss"] == [0.0]
    assert loss["number_loss"][0] > 0
    weighted = pipeline.host_dataset(
        images, soft, stream, AUGMENT, sample_weight=np.zeros(COUNT)
    )
    single = keras.Model(inputs, outputs[0])
    single.compile("sgd", "categorical_crossentropy")
    history = single.fit(weighted, verbose=0, shuffle=False).history
    assert history["loss"] == [0.0]


def test_lists_are_arrays(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 10, seed=2)
    ours = pipeline.host_dataset(
        list(images), labels.tolist(), stream, AUGMENT, stop=1
    )
    expected = pipeline.host_dataset(images, labels, stream, AUGMENT, stop=1)
    for one, other in zip(next(iter(ours)), next(iter(expected)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_lists_and_transforms_are_taken_for_a_compose(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 10)
    rescale = pipeline.Rescale(0.5)
    wanted = images.astype(np.float32) * 0.5
    for augment in (rescale, [rescale], pipeline.Compose([rescale])):
        host = pipeline.host_dataset(images, labels, stream, augment)
        pictures, seen = collect(host)
        np.testing.assert_array_equal(pictures, wanted[seen])
        other = pipeline.augmented_dataset(
            as_dataset(examples), augment, batch_size=7
        )
        np.testing.assert_array_equal(collect(other)[0], wanted)
    for bad in ("flip", np.fliplr):
        with pytest.raises(TypeError, match=r"Expected a Compose, .* list"):
            pipeline.host_dataset(*examples, stream, bad)
        with pytest.raises(TypeError, match=r"Expected a Compose, .* list"):
            pipeline.augmented_dataset(as_dataset(examples), bad, batch_size=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((COUNT, 10, 9))}, r"images\[..., None\]"),
        ({"images": np.zeros(COUNT)}, r"channels\]. Received: \(50,\)"),
        ({"images": None}, "pictures in arrays"),
        ({"targets": 3}, "targets in arrays"),
        (
            {"targets": None, "sample_weight": np.ones(COUNT)},
            "targets, since there is a sample_weight",
        ),
        ({"sample_weight": np.ones(3)}, "50 examples. Received: .* 3"),
        ({"epochs": 0}, "epochs to be an integer of at least 1"),
        ({"epochs": 2, "stop": 9}, "either stop or epochs"),
    ],
)
def test_bad_arrays_and_passes_are_one_line(examples, change, message):
    images, labels = examples
    stream = pipeline.Stream(COUNT, 10)
    arguments = {"images": images, "targets": labels, **change}
    with pytest.raises(ValueError, match=message) as error:
        pipeline.host_dataset(stream=stream, augment=AUGMENT, **arguments)
    assert "\n" not in str(error.value)


def test_a_second_member_like_a_picture_has_to_be_named(examples):
    images, labels = examples
    flip = pipeline.Compose([pipeline.RandomAffine(horizontal_flip=True)])
    for mask in (images, images[..., 0]):
        pairs = as_dataset((images, mask))
        with pytest.raises(ValueError, match=r"masks=True .* masks=False"):
            pipeline.augmented_dataset(pairs, flip, batch_size=COUNT)
        left = pipeline.augmented_dataset(
            pairs, flip, batch_size=COUNT, masks=False
        )
        np.testing.assert_array_equal(next(iter(left))[1], mask)
    scores = np.zeros((COUNT, 10))
    for other in (labels, scores, np.zeros((COUNT, 4, 4, 1))):
        pairs = as_dataset((images, other))
        pipeline.augmented_dataset(pairs, flip, batch_size=COUNT)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (lambda x: tf.data.Dataset.from_tensor_slices(x).batch(5), "unbatch"),
        (
            lambda x: tf.data.Dataset.from_tensor_slices(x[..., 0]),
            r"picture\[..., None\]",
        ),
    ],
)
def test_other_ranks_are_refused(examples, dataset, message):
    with pytest.raises(ValueError, match=message) as error:
        pipeline.augmented_dataset(dataset(examples[0]), AUGMENT, batch_size=2)
    assert "\n" not in str(error.value)


def test_too_few_examples(examples):
    images, labels = examples
    stream = pipeline.Stream(COUNT + 1, 8)
    with pytest.raises(ValueError, match=r"51 examples. Received: .* 50"):
        pipeline.host_dataset(images, labels, stream, AUGMENT)


def as_dataset(examples):
    return tf.data.Dataset.from_tensor_slices(examples)


def test_with_keys_advances_every_pass(examples):
    def passes():
        keyed = pipeline.with_keys(as_dataset(examples), seed=3)
        return [np.stack([key.numpy() for key, _ in keyed]) for _ in range(3)]

    first, second = passes(), passes()
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    everything = np.concatenate(first)
    assert len(np.unique(everything, axis=0)) == 3 * COUNT
    (_, (image, label)) = next(
        iter(pipeline.with_keys(as_dataset(examples), 3))
    )
    assert image.shape == (10, 9, 1)
    assert label == 0


def test_augmented_dataset_is_the_same_in_any_batch_and_order(examples):
    def by_label(**arguments):
        dataset = pipeline.augmented_dataset(
            as_dataset(examples), AUGMENT, seed=3, **arguments
        )
        pictures, labels = collect(dataset)
        return labels, pictures[np.argsort(labels)]

    order, expected = by_label(batch_size=COUNT)
    assert order.tolist() == list(range(COUNT))
    shuffled, pictures = by_label(batch_size=7, shuffle_buffer=COUNT)
    assert shuffled.tolist() != order.tolist()
    np.testing.assert_array_equal(pictures, expected)


def test_augmented_dataset_shows_new_pictures_every_pass(examples):
    images, _ = examples
    dataset = pipeline.augmented_dataset(
        tf.data.Dataset.from_tensor_slices(images), AUGMENT, batch_size=16
    )
    one, other = (
        np.concatenate([batch.numpy() for batch in dataset]) for _ in "ab"
    )
    assert one.shape == images.shape
    assert np.all(np.any(one != other, axis=(1, 2, 3)))


def test_passes_do_not_follow_tensorflows_global_seed(examples):
    def two_passes(global_seed):
        tf.random.set_seed(global_seed)
        keyed = pipeline.with_keys(as_dataset(examples), seed=3)
        return [[k.numpy().tolist() for k, _ in keyed] for _ in range(2)]

    assert two_passes(1) == two_passes(2)


def test_passes_are_counted_and_can_be_entered(examples):
    dataset = as_dataset(examples)
    keyed = pipeline.with_keys(dataset, seed=3)
    passes = [[k.numpy() for k, _ in keyed] for _ in range(3)]
    for number, keys in enumerate(passes):
        expected = pipeline.example_keys(3, number, np.arange(COUNT))
        np.testing.assert_array_equal(keys, expected)
    later = pipeline.with_keys(dataset, seed=3, first_pass=2)
    np.testing.assert_array_equal([k for k, _ in later], passes[2])
    assert keyed.cardinality() == COUNT
    batched = pipeline.augmented_dataset(dataset, AUGMENT, batch_size=16)
    assert len(batched) == 4


@pytest.mark.parametrize(
    ("elements", "masks"),
    [
        ({"image": np.zeros((4, 8, 8, 1)), "label": np.zeros(4)}, False),
        (np.zeros((4, 8, 8, 1)), True),
        ((np.zeros((4, 8, 8, 1)), {"mask": np.zeros((4, 8, 8, 1))}), True),
    ],
)
def test_elements_that_cannot_be_augmented(elements, masks):
    dataset = tf.data.Dataset.from_tensor_slices(elements)
    with pytest.raises(ValueError, match="Expected elements that") as error:
        pipeline.augmented_dataset(dataset, AUGMENT, batch_size=2, masks=masks)
    assert "\n" not in str(error.value)


def test_augmented_dataset_moves_masks(examples):
    images, labels = examples
    dataset = pipeline.augmented_dataset(
        as_dataset((images, images, labels)),
        pipeline.Compose([pipeline.RandomAffine(horizontal_flip=True)]),
        batch_size=COUNT,
        masks=True,
    )
    pictures, masks, seen = next(iter(dataset))
    assert masks.dtype == tf.uint8
    np.testing.assert_array_equal(pictures, masks)
    assert np.any(masks.numpy() != images)
    np.testing.assert_array_equal(seen, labels)
