"""The iterators of the drop-in, used the ways that scripts use Keras'."""

import multiprocessing
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from replayed_keras import Real

from mnistpipe.pipeline.generator import (
    ImageDataGenerator,
    NumpyArrayIterator,
)

IS_KERAS_2 = keras.__version__.startswith("2.")

COUNT, BATCH = 50, 12  # the last batch has 2


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (COUNT, 9, 8, 1)).astype(np.uint8)


@pytest.fixture
def labels():
    return np.eye(5, dtype=np.float32)[np.arange(COUNT) % 5]


def moving(**arguments):
    return ImageDataGenerator(
        rotation_range=20, width_shift_range=0.1, **arguments
    )


@pytest.fixture(scope="module")
def model():
    """One for all tests, since every network is compiled anew."""
    model = keras.Sequential(
        [
            keras.Input((9, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="softmax"),
        ]
    )
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    return model


def same(first, second):
    first, second = tf.nest.flatten(first), tf.nest.flatten(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


# -- an iterator's life -------------------------------------------------------


def test_attributes_and_batches_look_as_in_keras(images, labels):
    weights = np.arange(COUNT) / COUNT
    for arguments in (
        {},
        {"y": labels},
        {"y": labels, "sample_weight": weights},
    ):
        ours = ImageDataGenerator().flow(
            images, batch_size=BATCH, shuffle=False, **arguments
        )
        theirs = Real().flow(
            images, batch_size=BATCH, shuffle=False, **arguments
        )
        assert len(ours) == len(theirs) == 5
        for name in ("n", "batch_size", "shuffle", "seed", "batch_index"):
            assert getattr(ours, name) == getattr(theirs, name), name
        for name in ("dtype", "data_format", "save_to_dir", "save_format"):
            assert getattr(ours, name) == getattr(theirs, name), name
        for _ in range(7):
            mine, real = next(ours), next(theirs)
            assert type(mine) is type(real)
            same(mine, real)
            for a, b in zip(
                tf.nest.flatten(mine), tf.nest.flatten(real), strict=True
            ):
                assert a.dtype == b.dtype
            assert ours.batch_index == theirs.batch_index
            assert ours.total_batches_seen == theirs.total_batches_seen
        same(ours[4], theirs[4])
        same(ours.x, theirs.x)
        same(ours.index_array, theirs.index_array)
        ours.reset()
        theirs.reset()
        assert ours.batch_index == theirs.batch_index == 0
        same(next(ours), next(theirs))


def test_every_epoch_shows_each_picture_once_and_anew(images):
    flow = moving().flow(images, np.arange(COUNT), batch_size=BATCH, seed=1)
    epochs = []
    for _ in range(3):
        batches = [next(flow) for _ in range(len(flow))]
        pictures, order = (
            np.concatenate(part) for part in zip(*batches, strict=True)
        )
        assert sorted(order) == list(range(COUNT))
        epochs.append((order, pictures[np.argsort(order)]))
    assert np.any(epochs[0][0] != epochs[1][0])
    for index in range(COUNT):
        assert np.any(epochs[0][1][index] != epochs[1][1][index])


def test_indexing_repeats_until_the_epoch_ends(images, labels):
    flow = moving().flow(images, labels, batch_size=BATCH, seed=1)
    batches = [flow[i] for i in range(len(flow))]
    same(flow[3], batches[3])
    same(flow[-1], batches[-1])
    same(next(flow), batches[0])
    flow.on_epoch_end()
    assert np.any(flow[3][0] != batches[3][0])
    for beyond in (5, -6):
        with pytest.raises(ValueError, match="below 5"):
            flow[beyond]


def test_reset_starts_over_with_new_pictures(images):
    flow = moving().flow(images, batch_size=BATCH, shuffle=False, seed=1)
    first = next(flow)
    flow.reset()
    assert flow.batch_index == 0
    again = next(flow)
    assert again.shape == first.shape and np.any(again != first)
    plain = ImageDataGenerator().flow(images, shuffle=False)
    first = next(plain)
    plain.reset()
    same(next(plain), first)


def test_a_loop_is_endless(images, labels):
    seen = 0
    for n, (x, y) in enumerate(moving().flow(images, labels, batch_size=BATCH)):
        assert len(x) == len(y)
        seen += len(x)
        if n >= 2 * COUNT // BATCH + 2:
            break
    assert seen > 2 * COUNT


def test_pictures_depend_neither_on_the_batch_nor_on_the_order(images):
    generator = moving(
        samplewise_center=True, brightness_range=(0.5, 1.5), zca_whitening=True
    )
    generator.fit(images)

    def epoch(**arguments):
        flow = generator.flow(images, np.arange(COUNT), seed=3, **arguments)
        batches = [flow[i] for i in range(len(flow))]
        pictures, order = (
            np.concatenate(part) for part in zip(*batches, strict=True)
        )
        return pictures[np.argsort(order)]

    expected = epoch(batch_size=COUNT, shuffle=False)
    for batch_size in (1, 7, 1000):
        same(epoch(batch_size=batch_size), expected)


def test_images_and_masks_move_alike(images):
    masks = (images > 127).astype(np.uint8)
    of_images = moving(
        brightness_range=(0.5, 1.5), channel_shift_range=9.0, cval=3
    ).flow(images, batch_size=BATCH, seed=7)
    drawn = {"interpolation_order": 0, "fill_mode": "nearest"}
    of_masks = moving(**drawn).flow(masks, batch_size=BATCH, seed=7)
    # The pictures as masks would be moved: what the masks must equal.
    of_both = moving(**drawn).flow(images, batch_size=BATCH, seed=7)
    batches = zip(of_images, of_masks, of_both, strict=False)
    for n, (image, mask, moved) in enumerate(batches):
        assert image.shape == mask.shape
        same(mask, (moved > 127).astype(np.float32))
        if n > 6:
            break
    params = {"seed": 4}
    picture, mask = images[0].astype("float32"), images[0].astype("float32")
    same(
        moving().random_transform(picture, **params),
        moving().random_transform(mask, **params),
    )


def test_attributes_may_change_later(images):
    generator = ImageDataGenerator(featurewise_center=True, rotation_range=40)
    flow = generator.flow(images, shuffle=False, batch_size=BATCH)
    generator.fit(images)  # after flow: batches read it when they are made
    turned = flow[0]
    generator.rotation_range = 0
    np.testing.assert_allclose(
        flow[0], images[:BATCH] - generator.mean, atol=1e-4
    )
    assert np.any(turned != flow[0])
    generator.mean = np.float32([[[100.0]]])
    np.testing.assert_allclose(flow[0], images[:BATCH] - 100.0, atol=1e-4)
    flow.batch_size = 10
    assert len(flow) == 5 and len(flow[4]) == 10


def test_a_subclass_that_overrides_a_method(images):
    class Cropped(ImageDataGenerator):
        def get_random_transform(self, img_shape, seed=None):
            drawn = super().get_random_transform(img_shape, seed)
            return drawn | {"corner": np.random.randint(3)}

        def apply_transform(self, x, transform_parameters):
            x = super().apply_transform(x, transform_parameters)
            x[: transform_parameters["corner"]] = -1
            return x

    generator = Cropped(rotation_range=20, rescale=2.0)
    flow = generator.flow(images, batch_size=BATCH, seed=1)
    batch = flow[1]
    rows = {int(np.sum(picture[:, 0, 0] == -2)) for picture in batch}
    assert rows == {0, 1, 2}
    same(flow[1], batch)
    same(list(flow.dataset(1).as_numpy_iterator())[1], batch)


def negative(self, x):
    return -x


def test_methods_replaced_on_an_instance_or_a_class(images, monkeypatch):
    arguments = {"batch_size": BATCH, "seed": 1}
    expected = next(moving().flow(images, **arguments))
    replaced = moving()
    replaced.standardize = lambda x: -x
    results = [next(replaced.flow(images, **arguments))]

    class Subclass(ImageDataGenerator):
        standardize = negative

    subclass = Subclass(rotation_range=20, width_shift_range=0.1)
    results.append(next(subclass.flow(images, **arguments)))
    with monkeypatch.context() as patching:
        patching.setattr(ImageDataGenerator, "standardize", negative)
        results.append(next(moving().flow(images, **arguments)))
    for result in results:  # the same draws, whatever is overridden
        np.testing.assert_allclose(result, -expected, atol=0.3)
    same(next(moving().flow(images, **arguments)), expected)


def test_batch_methods_replaced_on_an_instance(images, labels):
    def replaced(index_array):
        noise = np.random.uniform(size=(len(index_array), 2))
        return images[index_array], noise

    flow, again = (
        moving().flow(images, labels, batch_size=BATCH, seed=1)
        for _ in range(2)
    )
    for one in (flow, again):
        one._get_batches_of_transformed_samples = replaced
    state = np.random.get_state()[1].copy()
    x, noise = next(flow)
    assert x.dtype == np.uint8 and x.shape == (BATCH, 9, 8, 1)
    same((x, noise), again[0])  # NumPy is seeded for the method
    same(again[1], again[1])
    assert np.any(noise != again[1][1])
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    with pytest.raises(ValueError, match="_get_batches_of_transformed_samples"):
        flow.dataset()


@pytest.mark.parametrize("name", ["_set_index_array", "next"])
def test_a_dataset_of_an_iterator_with_its_own_order_is_refused(images, name):
    flow = moving().flow(images)
    setattr(flow, name, lambda: None)
    with pytest.raises(ValueError, match=f"overrides {name}"):
        flow.dataset()


def test_an_order_of_ones_own_is_new_every_epoch(images):
    class Random(NumpyArrayIterator):
        def _set_index_array(self):
            self.index_array = np.random.permutation(self.n)[:20]

    flows = [
        Random(images, np.arange(COUNT), ImageDataGenerator(), 10, seed=1)
        for _ in range(2)
    ]
    orders = []
    for flow in flows:
        flow.n = 20
        orders.append([next(flow)[1] for _ in range(4)])
    same(*orders)
    assert set(orders[0][0]) != set(orders[0][2])


def test_pictures_of_an_iterator_may_be_replaced(images):
    flow = ImageDataGenerator().flow(images, shuffle=False)
    assert flow.x.dtype == np.float32 and flow.x is flow.x
    first = next(flow)
    flow.x = images[::-1]
    same(flow[0], images[::-1][: len(first)])
    same(flow.x, images[::-1])


def test_fit_measures_with_methods_of_ones_own(images):
    class Dark(ImageDataGenerator):
        def random_transform(self, x, seed=None):
            return np.full_like(x, np.random.randint(2, 4))

    generator = Dark(featurewise_center=True)
    generator.fit(images, augment=True, seed=1)
    assert 2 < generator.mean.item() < 3
    again = Dark(featurewise_center=True)
    again.fit(images, augment=True, seed=1)
    same(again.mean, generator.mean)


def test_functions_that_draw_from_numpy_repeat(images):
    """As with seed= in Keras, but for any batch size and order."""

    def noisy(picture):
        return picture + np.random.uniform(size=picture.shape)

    generator = ImageDataGenerator(preprocessing_function=noisy)
    flow = generator.flow(images, batch_size=BATCH, seed=1)
    same(flow[1], flow[1])
    whole = generator.flow(images, batch_size=COUNT, shuffle=False, seed=1)[0]
    same(flow[1], whole[flow.index_array[BATCH : 2 * BATCH]])
    assert np.any(flow[0] != next(iter(flow.dataset(1, start=1))))


def test_the_users_function_sees_each_picture_once(images):
    seen = []

    def function(picture):
        seen.append(picture.shape)
        picture /= 2  # in place, as Keras allows
        return picture

    generator = ImageDataGenerator(preprocessing_function=function)
    batch = next(generator.flow(images, shuffle=False, batch_size=BATCH))
    np.testing.assert_allclose(batch, images[:BATCH] / 2)
    assert seen == [(9, 8, 1)] * BATCH


# -- arguments of flow --------------------------------------------------------


def test_subsets_are_those_of_keras(images):
    labels = np.arange(COUNT) % 5
    arguments = {"batch_size": COUNT, "shuffle": False}
    for subset in ("training", "validation", None):
        ours, theirs = (
            kind(validation_split=0.3).flow(
                images, labels, subset=subset, **arguments
            )
            for kind in (ImageDataGenerator, Real)
        )
        assert ours.n == theirs.n
        same(next(ours), next(theirs))
    flow = ImageDataGenerator(validation_split=0.3).flow(
        images, labels, sample_weight=labels, subset="training", **arguments
    )
    _, y, weight = next(flow)
    same(y, weight)  # Keras' class takes the weights of other examples


def test_sorted_labels_are_told_to_shuffle(images):
    labels = np.sort(np.arange(COUNT) % 5)
    generator = ImageDataGenerator(validation_split=0.3)
    with pytest.raises(ValueError, match="ignore_class_split=True"):
        generator.flow(images, labels, subset="training")
    flow = generator.flow(
        images, labels, subset="training", ignore_class_split=True
    )
    assert flow.n == 35


def test_other_inputs_pass_unchanged(images, labels):
    other = [np.arange(COUNT), np.arange(2 * COUNT).reshape(COUNT, 2)]
    arguments = {"batch_size": BATCH, "shuffle": False}
    for misc in (other, other[0]):
        ours = ImageDataGenerator().flow((images, misc), labels, **arguments)
        theirs = Real().flow((images, misc), labels, **arguments)
        mine, real = next(ours), next(theirs)
        assert isinstance(mine[0], list)
        same(mine, real)
        for a, b in zip(ours.dataset(1), range(5), strict=True):
            same(a, ours[b])


def test_pictures_are_saved(images, tmp_path):
    flow = moving().flow(
        images[:3],
        batch_size=3,
        shuffle=False,
        save_to_dir=str(tmp_path),
        save_prefix="seen",
        save_format="png",
    )
    batch = next(flow)
    next(flow)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 6  # another epoch does not write over it
    assert {path.name.split("_")[:2][1] for path in paths} == {"0", "1", "2"}
    saved = [np.asarray(Image.open(path)) for path in paths]
    scaled = (batch[0, ..., 0] - batch[0].min()) / np.ptp(batch[0]) * 255
    assert any(np.abs(one - scaled).max() <= 1 for one in saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((4, 5, 5))}, "images of rank 4"),
        ({"y": np.zeros(3)}, "`x` .* and `y` .* same length: .* 4, got 3"),
        ({"sample_weight": [1]}, "`x` .* and `sample_weight` .* got 1"),
        ({"x": (np.zeros((4, 5, 5, 1)), np.zeros(3))}, r"got 3 in x\[1\]\[0\]"),
        ({"subset": "test"}, "training, validation, None, got 'test'"),
        ({"batch_size": 0}, "Expected batch_size"),
        ({"seed": -1}, "Expected a seed"),
    ],
)
def test_a_bad_argument_is_one_line(arguments, message):
    arguments = {"x": np.zeros((4, 5, 5, 1)), **arguments}
    with pytest.raises(ValueError, match=message) as e:
        ImageDataGenerator().flow(**arguments)
    assert "\n" not in str(e.value)


def test_odd_channels_warn_and_none_at_all_is_an_error():
    with pytest.warns(UserWarning, match="1, 3 or 4 channels"):
        flow = moving().flow(np.zeros((4, 5, 5, 2)))
    assert next(flow).shape == (4, 5, 5, 2)
    flow = moving().flow(np.zeros((0, 5, 5, 1)))
    assert len(flow) == 0
    with pytest.raises(ValueError, match="at least one image"):
        next(flow)


def test_channels_first_batches(images):
    arguments = {"rotation_range": 20, "brightness_range": (0.5, 1.5)}
    last = ImageDataGenerator(**arguments).flow(images, seed=1)
    first = ImageDataGenerator(**arguments, data_format="channels_first").flow(
        images.transpose(0, 3, 1, 2), seed=1
    )
    same(next(first), next(last).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8"])
def test_dtypes_of_batches(images, dtype):
    flow = ImageDataGenerator(horizontal_flip=True, dtype=dtype).flow(
        images, shuffle=False, batch_size=COUNT
    )
    batch = next(flow)
    assert batch.dtype == dtype
    for picture, original in zip(batch, images, strict=True):
        same(picture, original) if picture[0, 0] == original[0, 0] else same(
            picture, original[:, ::-1]
        )


# -- as a tf.data stream ------------------------------------------------------


def halved(picture):
    return picture / 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"preprocessing_function": halved, "samplewise_center": True},
        {"zca_whitening": True, "rescale": 1 / 255, "dtype": "float64"},
    ],
)
def test_the_dataset_has_the_same_bits(images, labels, arguments):
    generator = moving(channel_shift_range=20.0, **arguments)
    generator.fit(images)
    flow = generator.flow(images, labels, batch_size=BATCH, seed=2)
    batches = list(flow.dataset(2).as_numpy_iterator())
    assert len(batches) == 2 * len(flow)
    for batch in batches:
        same(batch, next(flow))
    (batch,) = flow.dataset(2, start=1).take(1).as_numpy_iterator()
    same(batch, batches[len(flow)])
    x, y = flow.dataset().element_spec
    assert x.shape.as_list() == [None, 9, 8, 1] and y.shape[1] == 5


def test_a_dataset_without_labels(images):
    flow = ImageDataGenerator(horizontal_flip=True).flow(
        images, batch_size=64, seed=2
    )
    same(next(flow.dataset(1).as_numpy_iterator()), next(flow))


# -- taken by Keras -----------------------------------------------------------


def test_fit_evaluate_and_predict(images, labels, model):
    train = moving(rescale=1 / 255).flow(images, labels, batch_size=BATCH)
    valid = ImageDataGenerator(rescale=1 / 255).flow(
        images, labels, batch_size=BATCH, shuffle=False
    )
    history = model.fit(train, epochs=2, validation_data=valid, verbose=0)
    assert len(history.history["val_loss"]) == 2
    predicted = model.predict(valid, verbose=0)
    expected = model.predict(images / np.float32(255), verbose=0)
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
    loss, _ = model.evaluate(valid, verbose=0)
    again, _ = model.evaluate(images / np.float32(255), labels, verbose=0)
    assert loss == pytest.approx(again, rel=1e-4)
    model.fit(train, steps_per_epoch=len(train), epochs=2, verbose=0)
    model.fit(train.dataset(1), verbose=0)


class _Steps(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps = []

    def on_epoch_begin(self, epoch, logs=None):
        self.steps.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.steps[-1] += 1


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("steps", [None, 3, 4, 5])
def test_fit_takes_as_many_steps_as_with_keras(images, labels, steps, model):
    taken = []
    for kind in (ImageDataGenerator, Real):
        callback = _Steps()
        flow = kind().flow(images, labels, batch_size=BATCH)
        model.fit(
            flow,
            steps_per_epoch=steps,
            epochs=3,
            verbose=0,
            callbacks=[callback],
        )
        taken.append(callback.steps)
    assert taken[0] == taken[1]


def test_fit_shows_new_pictures_every_epoch(images, model):
    seen = []

    class Recorder(ImageDataGenerator):
        def standardize(self, x):
            seen.append(x.copy())
            return super().standardize(x)

    flow = Recorder(rotation_range=30).flow(
        images[:4], np.eye(5)[:4], batch_size=4, shuffle=False, seed=1
    )
    model.fit(flow, epochs=3, verbose=0, shuffle=False)
    first = {picture.tobytes() for picture in seen if picture.size}
    assert len(first) >= 12  # four pictures, each in three epochs


def test_a_generator_of_image_and_mask(images):
    """The segmentation tutorial's zip; Keras 3 wants a generator of it."""
    model = keras.Sequential([keras.layers.Conv2D(1, 3, padding="same")])
    model.compile("sgd", "mse")
    arguments = {"batch_size": BATCH, "seed": 1}
    pairs = zip(
        moving(rescale=1 / 255).flow(images, **arguments),
        moving(rescale=1 / 255).flow(images, **arguments),
        strict=False,
    )
    same(*next(pairs))  # of one seed: mask and picture move alike
    data = pairs if IS_KERAS_2 else (pair for pair in pairs)
    losses = model.fit(
        data, steps_per_epoch=COUNT // BATCH, epochs=2, verbose=0
    ).history["loss"]
    assert len(losses) == 2 and np.isfinite(losses).all()


def test_threads_of_keras(images, labels, model):
    flow = moving().flow(images, labels, batch_size=BATCH)
    workers = {"workers": 3} if IS_KERAS_2 else {}
    if not IS_KERAS_2:
        flow.workers = 3
    history = model.fit(flow, verbose=0, **workers)
    assert np.all(np.isfinite(history.history["loss"]))


def _batch_in_child(flow, results):
    try:
        next(flow)
    except RuntimeError as error:
        results.put(str(error))


@pytest.mark.skipif(sys.platform != "linux", reason="there is no fork")
def test_a_forked_process_is_an_error_rather_than_a_hang(images):
    flow = moving().flow(images)
    next(flow)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_batch_in_child, args=(flow, results))
    child.start()
    assert "use_multiprocessing" in results.get(timeout=60)
    child.join()
