"""The drop-in ImageDataGenerator against the class that it replaces."""

import inspect
import warnings

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from replayed_keras import Real

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.generator import ImageDataGenerator

SHAPES = [(28, 28), (20, 33), (33, 20), (7, 9), (1, 1), (64, 48)]
FILL_MODES = ["nearest", "constant", "reflect", "wrap"]
SHIFTS = [0.3, 3, 2.5, [1, 2, 3], (0.1, -0.2), 1, 0.0, np.float32(0.2), [-2.0]]
# Within 1e-3 of the range of values, but for points at a discontinuity.
CLOSE, EXCEPTED = 1e-3, 1e-3

pytestmark = pytest.mark.filterwarnings(
    "ignore:Please import `affine_transform`:DeprecationWarning"
)


def pair(**arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the implied settings, seen below
        return ImageDataGenerator(**arguments), Real(**arguments)


def random_arguments(rng):
    """Every argument that draws, each in about half of the generators."""
    reach = rng.uniform(1, 60)
    every = {
        "rotation_range": 3 * reach,
        "width_shift_range": SHIFTS[rng.integers(len(SHIFTS))],
        "height_shift_range": SHIFTS[rng.integers(len(SHIFTS))],
        "shear_range": reach,
        "zoom_range": [0.3, (0.5, 2.0), 1.2, 0][rng.integers(4)],
        "channel_shift_range": 40.0,
        "horizontal_flip": True,
        "vertical_flip": True,
        "brightness_range": (0.3, 1.8),
    }
    return {name: v for name, v in every.items() if rng.random() < 0.5}


def random_picture(rng, shape):
    low, high = [(0, 255), (0, 1), (-1, 1), (-40, 300)][rng.integers(4)]
    return rng.uniform(low, high, shape).astype(np.float32)


def far(ours, theirs, picture):
    """Which values differ by more than CLOSE of the range of values."""
    span = max(np.ptp(picture), np.ptp(theirs), 1e-6)
    return np.abs(ours.astype(np.float64) - theirs) > CLOSE * span


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("fill_mode", FILL_MODES)
def test_the_same_parameters_give_the_same_picture(rng, fill_mode, order):
    differing, points = 0, 0
    for round_ in range(60):
        shape = (*SHAPES[round_ % 6], [1, 3][round_ // 6 % 2])
        arguments = random_arguments(rng)
        ours, theirs = pair(
            fill_mode=fill_mode,
            interpolation_order=order,
            cval=float(rng.uniform(-50, 300)),
            **arguments,
        )
        picture = random_picture(rng, shape)
        drawing = [ours, theirs][round_ // 12 % 2]
        drawn = drawing.get_random_transform(shape, seed=round_)
        result = ours.apply_transform(picture, drawn)
        expected = theirs.apply_transform(picture.copy(), drawn)
        assert result.shape == expected.shape == shape
        assert result.dtype == np.float32
        wrong = far(result, expected, picture)
        assert np.mean(wrong) < 0.1, (shape, arguments, drawn)
        differing += wrong.sum()
        points += wrong.size
    print(f"{differing} of {points} points differ")
    assert differing <= EXCEPTED * points


@pytest.mark.parametrize("dtype", ["float64", "uint8", "int16"])
def test_other_dtypes_give_the_same_picture(rng, dtype):
    for round_ in range(20):
        ours, theirs = pair(rotation_range=40, zoom_range=0.3, dtype=dtype)
        picture = rng.integers(0, 256, (15, 11, 3)).astype(dtype)
        drawn = theirs.get_random_transform(picture.shape, seed=round_)
        result = ours.apply_transform(picture, drawn)
        expected = theirs.apply_transform(picture.copy(), drawn)
        assert result.dtype == expected.dtype == dtype
        assert np.abs(result.astype(float) - expected).max() <= (
            0.26 if dtype == "float64" else 1
        )
        assert np.mean(result != expected) < 0.01 or dtype == "float64"


def test_channels_first_gives_the_same_picture(rng):
    differing, points = 0, 0
    for round_ in range(40):
        arguments = random_arguments(rng)
        arguments.pop("brightness_range", None)  # theirs fails on it
        ours, theirs = pair(data_format="channels_first", **arguments)
        picture = random_picture(rng, (3, 18, 25))
        drawn = ours.get_random_transform(picture.shape, seed=round_)
        result = ours.apply_transform(picture, drawn)
        wrong = far(result, theirs.apply_transform(picture, drawn), picture)
        differing += wrong.sum()
        points += wrong.size
    assert differing <= EXCEPTED * points


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bounds", [(0, 255), (0, 1), (-1, 1), (-40, 300)])
def test_brightness_is_pillows(rng, channels, bounds):
    ours, theirs = pair()
    differing, points = 0, 0
    for factor in (-0.5, 0.0, 0.3, 1.0, 1.7, 4.0, *rng.uniform(0, 3, 20)):
        picture = rng.uniform(*bounds, (9, 8, channels)).astype(np.float32)
        parameters = {"brightness": factor}
        result = ours.apply_transform(picture, parameters)
        expected = theirs.apply_transform(picture.copy(), parameters)
        differing += far(result, expected, picture).sum()
        points += expected.size
    # One that is stretched to [0, 255] is cut to integers there.
    assert differing <= (EXCEPTED * points if bounds[0] < 0 else 0)


def test_a_picture_of_one_value_keeps_brightness_finite():
    ours, theirs = pair()
    for value in (-3.0, 0.0, 300.0):
        picture = np.full((4, 4, 1), value, np.float32)
        np.testing.assert_allclose(
            ours.apply_transform(picture, {"brightness": 1.5}),
            theirs.apply_transform(picture.copy(), {"brightness": 1.5}),
        )


# -- draws ------------------------------------------------------------------

DRAWN = {
    "rotation_range": 20,
    "width_shift_range": 0.2,
    "height_shift_range": 3.5,
    "shear_range": 10,
    "zoom_range": (0.7, 1.6),
    "channel_shift_range": 30.0,
    "brightness_range": (0.2, 1.5),
    "horizontal_flip": True,
    "vertical_flip": True,
}


def our_draws(generator, shape, count):
    """As the iterators draw: by keys, all at once."""
    keys = draws.example_keys(3, 1, np.arange(count))
    drawn = generator.augmentation().draw(draws.Draws(keys, 0), shape)
    return {name: value.numpy() for name, value in drawn.items()}


def test_draws_have_the_distributions_of_keras(rng):
    count, shape = 20_000, (30, 50, 1)
    ours, theirs = pair(**DRAWN)
    mine = our_draws(ours, shape, count)
    seed = int(rng.integers(2**31))
    np.random.seed(seed)
    real = [theirs.get_random_transform(shape) for _ in range(count)]
    real = {name: np.array([d[name] for d in real], float) for name in real[0]}
    assert set(mine) == set(real)
    for name, values in mine.items():
        test = scipy.stats.ks_2samp(values.astype(float), real[name])
        assert test.pvalue > 1e-4, (name, test)
        spread = np.ptp(real[name])
        assert abs(values.min() - real[name].min()) < 0.01 * spread, name
        assert abs(values.max() - real[name].max()) < 0.01 * spread, name
    table = np.stack([values.astype(float) for values in mine.values()])
    correlation = np.corrcoef(table) - np.eye(len(table))
    assert np.abs(correlation).max() < 5 / np.sqrt(count)
    neighbours = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in table]
    assert np.abs(neighbours).max() < 5 / np.sqrt(count)


@pytest.mark.parametrize("shift", SHIFTS, ids=repr)
def test_shifts_have_keras_units(shift):
    shape, count = (20, 35, 1), 4000
    ours, theirs = pair(width_shift_range=shift, height_shift_range=shift)
    mine = our_draws(ours, shape, count)
    np.random.seed(1)
    real = [theirs.get_random_transform(shape) for _ in range(count)]
    for name in ("tx", "ty"):
        expected = np.array([d[name] for d in real], float)
        values = mine.get(name, np.zeros(count)).astype(float)
        if len(set(expected)) < 20:  # a choice among few
            np.testing.assert_allclose(
                np.unique(values.round(4)), np.unique(expected.round(4))
            )
        test = scipy.stats.ks_2samp(values.round(4), expected.round(4))
        assert test.pvalue > 1e-4, (name, test)


def test_one_draw_is_as_the_iterators_draws():
    ours, _ = pair(**DRAWN)
    keys = draws.example_keys(5, 0, np.arange(1))
    batch = ours.augmentation().draw(draws.Draws(keys, 0), (30, 50, 1))
    one = ours.get_random_transform((30, 50, 1), seed=5)
    for name, value in batch.items():
        np.testing.assert_allclose(one[name], value.numpy()[0], rtol=1e-6)


def test_what_is_not_asked_for_is_neutral():
    ours, theirs = pair()
    shape = (5, 6, 3)
    assert ours.get_random_transform(shape) == theirs.get_random_transform(
        shape
    )


def test_a_parameter_does_not_depend_on_the_others():
    some = {"rotation_range": 20, "zoom_range": (0.7, 1.6)}
    shape = (30, 50, 1)
    every = ImageDataGenerator(**DRAWN).get_random_transform(shape, seed=2)
    few = ImageDataGenerator(**some).get_random_transform(shape, seed=2)
    assert few["theta"] == every["theta"] and few["zx"] == every["zx"]


def test_numpys_seed_repeats_a_script():
    ours, _ = pair(rotation_range=20)
    picture = np.arange(64.0).reshape(8, 8, 1)
    state = np.random.get_state()
    results = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        flow = ours.flow(picture[None], batch_size=1)
        results.append((next(flow), ours.random_transform(picture)))
    np.random.set_state(state)
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert np.any(results[0][0] != results[2][0])


def test_documented_axes():
    shape = (20, 30, 1)
    shift = {"width_shift_range": [3], "height_shift_range": [0.25]}
    keras_way = ImageDataGenerator(**shift).get_random_transform(shape)
    assert abs(keras_way["tx"]) == 5 and abs(keras_way["ty"]) == 3
    ours = ImageDataGenerator(**shift, axes="documented")
    drawn = ours.get_random_transform(shape)
    assert abs(drawn["tx"]) == 3 and abs(drawn["ty"]) == 5
    picture = np.zeros(shape, np.float32)
    picture[10, 15] = 1
    moved = ours.apply_transform(picture, drawn)
    at = (10 - drawn["ty"], 15 - drawn["tx"], 0)
    assert np.unravel_index(np.argmax(moved), shape) == at
    # Only about the true centre does half a turn reverse both axes.
    turned = ours.apply_transform(picture, {"theta": 180})
    np.testing.assert_allclose(turned, picture[::-1, ::-1], atol=1e-4)


# -- what iterators yield -----------------------------------------------------


def twice_minus_one(picture):
    assert picture.ndim == 3 and picture.dtype == np.float32
    return picture * 2 - 1


PIPELINES = {
    "samplewise": {
        **DRAWN,
        "samplewise_center": True,
        "samplewise_std_normalization": True,
    },
    "featurewise": {
        "rotation_range": 20,
        "rescale": 1 / 255,
        "featurewise_center": True,
        "featurewise_std_normalization": True,
    },
    "zca": {
        "zoom_range": 0.2,
        "rescale": 1 / 255,
        "zca_whitening": True,
        "zca_epsilon": 0.1,
    },
    "function": {
        "horizontal_flip": True,
        "preprocessing_function": twice_minus_one,
        "rescale": 1 / 255,
        "samplewise_center": True,
    },
    "all": {
        **DRAWN,
        "preprocessing_function": twice_minus_one,
        "rescale": 0.1,
        "samplewise_std_normalization": True,
        "featurewise_std_normalization": True,
    },
}


@pytest.mark.parametrize("name", PIPELINES)
def test_flow_is_keras_applied_to_our_draws(rng, name):
    shape, batch_size = (14, 10, 3), 12
    # Smooth, so that what fit measures is not noise.
    images = rng.uniform(0, 255, (60, *shape)).astype(np.float32)
    ours, theirs = pair(**PIPELINES[name])
    for generator in (ours, theirs):
        generator.fit(images)
    flow = ours.flow(images, batch_size=batch_size, seed=4)
    for _ in range(2):
        order = flow.index_array[:batch_size]
        keys = draws.example_keys(4, flow.epoch, order)
        drawn = ours.augmentation().draw(draws.Draws(keys, 0), shape)
        expected = []
        for place, index in enumerate(order):
            parameters = {k: v.numpy()[place] for k, v in drawn.items()}
            moved = theirs.apply_transform(images[index].copy(), parameters)
            expected.append(theirs.standardize(moved))
        wrong = far(flow[0], np.array(expected), np.array(expected))
        print(f"{wrong.mean():.1e} of the points differ")
        assert wrong.mean() <= EXCEPTED
        flow.on_epoch_end()


def test_fit_measures_what_keras_does(rng):
    images = rng.uniform(0, 255, (80, 6, 5, 3)).astype(np.float32)
    ours, theirs = pair(
        featurewise_center=True,
        zca_whitening=True,
        zca_epsilon=0.01,
        rescale=1 / 255,
    )
    deviations = pair(featurewise_std_normalization=True)
    for generator in (ours, theirs, *deviations):
        generator.fit(images)
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-5)
    np.testing.assert_allclose(
        ours.zca_whitening_matrix, theirs.zca_whitening_matrix, atol=1e-2
    )
    np.testing.assert_allclose(deviations[0].std, deviations[1].std, rtol=1e-5)
    assert ours.mean.shape == theirs.mean.shape == (1, 1, 3)
    white = ours.standardize(images.copy())
    expected = theirs.standardize(images.copy())
    assert not far(white, expected, expected).any()


def test_fit_on_augmented_pictures(rng):
    images = rng.uniform(0, 255, (300, 8, 8, 1)).astype(np.float32)
    arguments = {"featurewise_std_normalization": True, "zoom_range": 0.5}
    ours, theirs = pair(**arguments)
    ours.fit(images, augment=True, rounds=3, seed=1)
    theirs.fit(images, augment=True, rounds=3, seed=1)
    # Other draws: as near as the means of 900 pictures are.
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=3)
    np.testing.assert_allclose(ours.std, theirs.std, atol=3)
    plain = ImageDataGenerator(featurewise_center=True)
    plain.fit(images)
    again = ImageDataGenerator(**arguments | {"featurewise_center": True})
    again.fit(images, augment=True, rounds=3, seed=1)
    np.testing.assert_array_equal(again.mean, ours.mean)


def test_standardize_works_in_place_as_keras_does(rng):
    ours, theirs = pair(rescale=1 / 255, samplewise_std_normalization=True)
    batch = rng.uniform(0, 255, (4, 6, 5, 3)).astype(np.float32)
    mine, real = batch.copy(), batch.copy()
    assert ours.standardize(mine) is mine
    np.testing.assert_allclose(mine, theirs.standardize(real), rtol=1e-5)


# -- arguments ----------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        "__init__",
        "fit",
        "flow",
        "flow_from_directory",
        "flow_from_dataframe",
        "standardize",
        "get_random_transform",
        "apply_transform",
        "random_transform",
    ],
)
def test_every_argument_of_keras_is_there(method):
    ours = inspect.signature(getattr(ImageDataGenerator, method)).parameters
    theirs = inspect.signature(getattr(Real, method)).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
    assert set(list(ours)[len(theirs) :]) <= {"axes"}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"zca_whitening": True},
        {"zca_whitening": True, "featurewise_std_normalization": True},
        {"featurewise_std_normalization": True},
        {"samplewise_std_normalization": True},
        {"zoom_range": 0.3, "data_format": "channels_first"},
        {"zoom_range": (0.5, 2), "validation_split": 0.2, "dtype": "float64"},
    ],
    ids=repr,
)
def test_attributes_and_warnings_are_those_of_keras(arguments):
    with warnings.catch_warnings(record=True) as ours_warned:
        warnings.simplefilter("always")
        ours = ImageDataGenerator(**arguments)
    with warnings.catch_warnings(record=True) as theirs_warned:
        warnings.simplefilter("always")
        theirs = Real(**arguments)
    assert bool(ours_warned) == bool(theirs_warned)
    for name, value in vars(theirs).items():
        assert getattr(ours, name) == value, name


@pytest.mark.parametrize(
    "arguments",
    [
        {"rotation_range": "much"},
        {"rotation_range": float("nan")},
        {"rotation_range": [10, 20]},
        {"width_shift_range": -3},
        {"width_shift_range": "a"},
        {"height_shift_range": [[1, 2]]},
        {"height_shift_range": float("inf")},
        {"shear_range": "x"},
        {"zoom_range": (1, 2, 3)},
        {"zoom_range": float("nan")},
        {"zoom_range": "ab"},
        {"brightness_range": 0.5},
        {"brightness_range": (0.5,)},
        {"channel_shift_range": "x"},
        {"fill_mode": "mirror"},
        {"cval": "black"},
        {"rescale": "1/255"},
        {"preprocessing_function": 3},
        {"data_format": "NHWC"},
        {"validation_split": 1.0},
        {"validation_split": -0.1},
        {"interpolation_order": 3},
        {"zca_epsilon": "small"},
        {"axes": "xy"},
    ],
    ids=repr,
)
def test_a_bad_argument_is_one_line_that_names_it(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} .*got ") as e:
        ImageDataGenerator(**arguments)
    assert "\n" not in str(e.value)


def test_integers_cannot_be_rescaled():
    generator = ImageDataGenerator(rescale=0.5, dtype="uint8")
    flow = generator.flow(np.zeros((2, 4, 4, 1), np.uint8))
    with pytest.raises(ValueError, match="Expected a floating dtype"):
        next(flow)


def test_normalisation_without_fit_warns(rng):
    images = rng.uniform(size=(4, 5, 5, 1)).astype(np.float32)
    for name in (
        "featurewise_center",
        "featurewise_std_normalization",
        "zca_whitening",
    ):
        ours, _ = pair(**{name: True})
        with pytest.warns(UserWarning, match=f"{name} .*fit"):
            batch = next(ours.flow(images, shuffle=False))
        np.testing.assert_allclose(batch, images, rtol=1e-6)


def test_tensors_and_lists_are_taken_for_arrays():
    generator = ImageDataGenerator(horizontal_flip=True)
    images = tf.reshape(tf.range(32.0), (2, 4, 4, 1))
    assert next(generator.flow(images, [0, 1]))[0].shape == (2, 4, 4, 1)
