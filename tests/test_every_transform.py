"""What holds for every transform that the package exports."""

import dataclasses
import functools
import inspect
import pathlib
import pickle
import re

import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline.transforms import exact

SHAPE = (9, 7, 3)
FITTED = np.random.default_rng(0).integers(0, 256, (400, *SHAPE))
EXAMPLES = [
    pipeline.RandomAffine(rotation=20, zoom=0.2, horizontal_flip=True),
    pipeline.GaussianNoise(5.0),
    pipeline.ChannelShift(40),
    pipeline.ChannelShift((10, 30), per_channel=True),
    pipeline.Brightness(0.5, delta=0.1),
    pipeline.Contrast((0.5, 2.0)),
    pipeline.RandomErasing(),
    pipeline.RandomErasing(fill="noise", mask_fill=1),
    pipeline.ElasticDistortion(alpha=8, sigma=1.5),
    pipeline.Grayscale(),
    pipeline.Saturation(0.5),
    pipeline.Hue(0.2),
    pipeline.ColorJitter(0.4, 0.4, 0.4, 0.1),
    pipeline.Gamma((0.5, 2.0)),
    pipeline.Invert(),
    pipeline.Solarize((50, 200)),
    pipeline.Posterize((2, 6)),
    pipeline.AutoContrast(),
    pipeline.Equalize(),
    pipeline.Sharpness((0.0, 3.0)),
    pipeline.GaussianBlur(),
    pipeline.StrokeThickness(2.5),
    pipeline.RandAugment(n=3, magnitude=20),
    pipeline.TrivialAugmentWide(),
    pipeline.AugMix(),
    pipeline.Rescale(1 / 255, offset=-0.5),
    pipeline.SamplewiseNormalize(),
    pipeline.FeaturewiseNormalize.fit(FITTED),
    pipeline.ZCAWhitening.fit(FITTED),
    pipeline.Apply(tf.math.sin),
    pipeline.Resize((5, 8)),
    pipeline.CenterCrop((6, 5)),
    pipeline.RandomCrop((6, 5)),
    pipeline.RandomResizedCrop((6, 5)),
    pipeline.Pad((1, 0, 2, 3), "reflect"),
    pipeline.RandomPerspective(),
    pipeline.GridDistortion(),
    pipeline.OneOf(
        [pipeline.GaussianNoise(5.0), pipeline.RandomAffine(rotation=20)],
        weights=(1, 2),
    ),
    pipeline.SomeOf(
        [pipeline.ChannelShift(40), pipeline.RandomAffine(rotation=20)],
        count=(0, 2),
    ),
]
FITTED_TO_A_SHAPE = (pipeline.ZCAWhitening,)
NEEDS_ROOM = (pipeline.CenterCrop, pipeline.RandomCrop)
FOR_THREE_CHANNELS = (
    pipeline.FeaturewiseNormalize,
    pipeline.Grayscale,
    pipeline.Saturation,
    pipeline.Hue,
    pipeline.ColorJitter,
    pipeline.RandAugment,
    pipeline.TrivialAugmentWide,
    pipeline.AugMix,
)
SMALL_SHAPES = ((1, 1, 3), (2, 13, 3))

# One of each kind: moves pixels, per channel, a field of draws, none, a
# branch for each picture.
KINDS = [
    example
    for example in EXAMPLES
    if isinstance(
        example,
        pipeline.RandomAffine
        | pipeline.ElasticDistortion
        | pipeline.Rescale
        | pipeline.RandAugment,
    )
    or example
    in (
        pipeline.ChannelShift((10, 30), per_channel=True),
        pipeline.RandomErasing(fill="noise", mask_fill=1),
    )
]
one_of_each_kind = pytest.mark.parametrize("transform", KINDS, ids=repr)
every_transform = pytest.mark.parametrize("transform", EXAMPLES, ids=repr)
# For tests that compile several programs: other transforms are marked slow.
every_transform_slowly = pytest.mark.parametrize(
    "transform",
    [
        pytest.param(
            example,
            marks=[] if example in KINDS else pytest.mark.slow,
            id=repr(example),
        )
        for example in EXAMPLES
    ],
)


def pictures(rng, count, shape=SHAPE, dtype=np.uint8):
    return rng.integers(0, 256, (count, *shape)).astype(dtype)


def keys(count):
    return pipeline.example_keys(7, 0, np.arange(count))


@functools.cache
def compose(transform):
    """One for all tests, so that each program is compiled once."""
    return pipeline.Compose([transform])


def uncompiled(augment, images, key):
    """Draws and applies without XLA."""
    drawn = augment.draw(key, images.shape[1:])
    return augment.apply(tf.constant(images), drawn).numpy()


def test_no_transform_is_missing_here():
    exported = {
        thing
        for thing in vars(pipeline).values()
        if inspect.isclass(thing) and issubclass(thing, pipeline.Transform)
    }
    assert exported - {pipeline.Transform} == {type(x) for x in EXAMPLES}


def test_the_packages_help_names_everything():
    index = [line.split() for line in pipeline.__doc__.splitlines()]
    named = {words[0] for words in index if len(words) > 1}
    assert set(pipeline.__all__) <= named


def test_the_guide_names_what_there_is():
    guide = pathlib.Path(__file__).parents[1] / "docs" / "transforms.md"
    rows = re.findall(r"^\|.*\| (.*) \|$", guide.read_text("utf-8"), re.M)
    named = set(re.findall(r"`(\w+)[(`]", " ".join(rows)))
    assert len(named) > 25
    assert named <= set(pipeline.__all__)


@every_transform_slowly
def test_bits_do_not_depend_on_the_batch(rng, transform):
    shape = SHAPE if isinstance(transform, FITTED_TO_A_SHAPE) else (17, 33, 4)
    if isinstance(transform, FOR_THREE_CHANNELS):
        shape = (17, 33, 3)
    augment = compose(transform)
    images, key = pictures(rng, 64, shape), keys(64)
    whole = augment(images, key).numpy()
    for size in (1, 7):
        for start in range(0, 21, size):
            part = slice(start, start + size)
            np.testing.assert_array_equal(
                augment(images[part], key[part]), whole[part]
            )
    np.testing.assert_array_equal(augment(images[::-1], key[::-1])[::-1], whole)
    np.testing.assert_array_equal(augment(images[5], key[5]), whole[5])


@pytest.mark.parametrize("shape", [(28, 28, 1), (96, 96, 3), (40, 31, 2)])
def test_means_do_not_depend_on_the_batch(rng, shape):
    """XLA's own do, in TensorFlow 2.21 on 96×96×3."""
    augment = pipeline.Compose(
        [pipeline.Contrast((2, 3)), pipeline.SamplewiseNormalize()]
    )
    images, key = pictures(rng, 64, shape, np.float32), keys(64)
    whole = augment(images, key).numpy()
    for size in (1, 7):
        parts = [
            augment(images[i : i + size], key[i : i + size])
            for i in range(0, 7, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole[:7])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_exact_means_are_right(rng, scale):
    images = (rng.normal(3, 1, (5, 30, 20, 2)) * scale).astype(np.float32)
    for axes in ((1, 2), (1, 2, 3)):
        mean = exact.mean(tf.constant(images), axes)
        wanted = images.mean(axes, dtype=np.float64, keepdims=True)
        np.testing.assert_allclose(mean, wanted, rtol=1e-6)
    assert not np.any(exact.mean(tf.zeros((2, 3, 3, 1)), (1, 2, 3)))


@every_transform_slowly
def test_eager_and_tf_data_agree(rng, transform):
    augment = compose(transform)
    images, key = pictures(rng, 6), keys(6)
    wanted = augment(images, key).numpy()
    assert wanted.dtype == np.float32
    dataset = tf.data.Dataset.from_tensor_slices((images, key)).batch(6)
    (mapped,) = dataset.map(augment, num_parallel_calls=2)
    np.testing.assert_array_equal(mapped, wanted)
    # Uncompiled, as drawn parameters are replayed.
    np.testing.assert_allclose(
        uncompiled(augment, images, key),
        wanted,
        rtol=0,
        atol=1e-5 * max(1.0, np.abs(wanted).max()),
    )


@every_transform_slowly
def test_inside_a_function(rng, transform):
    augment = compose(transform)
    images, key = pictures(rng, 6), keys(6)
    function = tf.function(augment, autograph=False)
    np.testing.assert_array_equal(function(images, key), augment(images, key))


@every_transform_slowly
def test_unknown_sizes_make_no_difference(rng, transform):
    augment = compose(transform)
    images, key = pictures(rng, 6), keys(6)
    signature = [
        tf.TensorSpec([None] * 4, tf.uint8),
        tf.TensorSpec([None, 2], tf.uint32),
    ]
    function = tf.function(augment, autograph=False, input_signature=signature)
    np.testing.assert_array_equal(function(images, key), augment(images, key))


@every_transform
def test_any_dtype_and_shape_go_in(rng, transform):
    """Uncompiled, which takes a small part of the time."""
    augment = compose(transform)
    images, key = pictures(rng, 6), keys(6)
    wanted = uncompiled(augment, images, key)
    for dtype in (np.float32, np.float16):
        result = uncompiled(augment, images.astype(dtype), key)
        np.testing.assert_allclose(result, wanted, rtol=1e-6, atol=1e-4)
    empty = uncompiled(augment, pictures(rng, 0), keys(0))
    assert empty.shape == (0, *augment.output_shape(SHAPE))
    if isinstance(transform, FITTED_TO_A_SHAPE + NEEDS_ROOM):
        return
    for shape in SMALL_SHAPES:
        result = uncompiled(augment, pictures(rng, 2, shape), keys(2))
        assert result.shape == (2, *augment.output_shape(shape))
        assert np.isfinite(result).all()


@every_transform_slowly
def test_any_dtype_and_shape_compile(rng, transform):
    augment = compose(transform)
    images, key = pictures(rng, 6), keys(6)
    wanted = augment(images, key).numpy()
    for dtype in (np.float32, np.float16):
        result = augment(images.astype(dtype), key)
        np.testing.assert_allclose(result, wanted, rtol=1e-6, atol=1e-4)
    expected = augment.output_shape(SHAPE)
    assert augment(pictures(rng, 0), keys(0)).shape == (0, *expected)
    if isinstance(transform, FITTED_TO_A_SHAPE + NEEDS_ROOM):
        return
    for shape in SMALL_SHAPES:
        result = augment(pictures(rng, 2, shape), keys(2)).numpy()
        assert result.shape == (2, *augment.output_shape(shape))
        assert np.isfinite(result).all()


@one_of_each_kind
def test_a_probability_per_example(rng, transform):
    half = dataclasses.replace(transform, probability=0.5)
    images, key = pictures(rng, 100), keys(100)
    always = compose(transform)(images, key).numpy()
    result = pipeline.Compose([half])(images, key).numpy()
    as_given = (result == images).all(axis=(1, 2, 3))
    # Another program: the compiler may fuse a product and a sum otherwise.
    close = np.isclose(result, always, rtol=0, atol=1e-3)
    transformed = close.all(axis=(1, 2, 3))
    assert (as_given | transformed).all()
    assert 30 <= np.sum(transformed) <= 70
    assert half.needs_keys
    never = dataclasses.replace(transform, probability=0.0)
    np.testing.assert_array_equal(
        pipeline.Compose([never])(images, key), images
    )


@one_of_each_kind
def test_a_mask_keeps_its_dtype(rng, transform):
    mask = rng.integers(0, 5, (6, *SHAPE[:2])).astype(np.int16)
    augment = compose(transform)
    _, moved = augment(pictures(rng, 6), keys(6), masks=mask)
    assert moved.dtype == tf.int16
    assert set(np.unique(moved)) <= set(np.unique(mask)) | {1}


@pytest.mark.parametrize(
    "transform",
    [
        pipeline.RandomAffine(),
        pipeline.GaussianNoise(0.0),
        pipeline.ChannelShift(0.0),
        pipeline.ChannelShift(0.0, per_channel=True),
        pipeline.Brightness(),
        pipeline.Brightness(value_range=(-300.5, 300.25)),
        pipeline.Contrast(0.0, value_range=(0, 256)),
        pipeline.RandomErasing(area=0.0),
        pipeline.ElasticDistortion(alpha=0.0, sigma=3.0),
        pipeline.ElasticDistortion(alpha=0, sigma=0, fill_mode="constant"),
        pipeline.Saturation(0.0, value_range=(0, 256)),
        pipeline.Hue(0.0),
        pipeline.ColorJitter(value_range=(-0.5, 255)),
        pipeline.Gamma(0.0, value_range=(-0.5, 255)),
        pipeline.Solarize(256),
        pipeline.Posterize(8),
        pipeline.Sharpness(0.0),
        pipeline.GaussianBlur(sigma=0.0, kernel_size=5),
        pipeline.GaussianBlur(sigma=0.0),
        pipeline.StrokeThickness(0.0),
        pipeline.StrokeThickness((0.0, 0.0), stroke="dark"),
        pipeline.RandAugment(n=0, value_range=(-1, 300)),
        pipeline.AugMix(probability=0.0),
        pipeline.Rescale(1.0),
        pipeline.SamplewiseNormalize(center=False, std=False),
        pipeline.FeaturewiseNormalize(mean=None, std=None),
        pipeline.Resize(SHAPE[:2]),
        pipeline.RandomCrop(SHAPE[:2]),
        pipeline.Pad(0),
        pipeline.RandomPerspective(0.0),
        pipeline.GridDistortion(strength=0.0),
        pipeline.OneOf([pipeline.RandomAffine(), pipeline.Brightness()]),
        pipeline.SomeOf([pipeline.RandomAffine(), pipeline.Brightness()]),
    ],
    ids=repr,
)
def test_no_strength_changes_no_bit(rng, transform):
    images = (rng.random((6, *SHAPE)) * 255).astype(np.float32)
    result = pipeline.Compose([transform])(images, keys(6))
    np.testing.assert_array_equal(result, images)


@every_transform
def test_pickle_equality_hash_and_repr(transform):
    again = pickle.loads(pickle.dumps(transform))
    assert again == transform
    assert hash(again) == hash(transform)
    if transform.output_shape(SHAPE) == SHAPE:
        assert dataclasses.replace(transform, probability=0.5) != transform
    assert len(repr(transform)) < 250
    assert "\n" not in repr(transform)


NOISE = pipeline.GaussianNoise(1.0)
BAD = [
    (pipeline.OneOf, {"transforms": []}),
    (pipeline.OneOf, {"transforms": NOISE}),
    (pipeline.OneOf, {"transforms": ["noise"]}),
    (pipeline.OneOf, {"transforms": [NOISE], "weights": (1, 2)}),
    (pipeline.OneOf, {"transforms": [NOISE], "weights": (0,)}),
    (pipeline.SomeOf, {"transforms": [NOISE], "weights": "a"}),
    (pipeline.SomeOf, {"transforms": [NOISE], "count": 2}),
    (pipeline.SomeOf, {"transforms": [NOISE], "count": (1, 0)}),
    (pipeline.SomeOf, {"transforms": [NOISE], "count": 0.5}),
    (pipeline.GaussianNoise, {"stddev": -1}),
    (pipeline.GaussianNoise, {"stddev": float("nan")}),
    (pipeline.ChannelShift, {"shift": float("nan")}),
    (pipeline.ChannelShift, {"shift": (2, 1)}),
    (pipeline.ChannelShift, {"shift": "20"}),
    (pipeline.Brightness, {"factor": -0.1}),
    (pipeline.Brightness, {"factor": 1.5}),
    (pipeline.Brightness, {"factor": (-0.5, 1)}),
    (pipeline.Brightness, {"delta": 2}),
    (pipeline.Brightness, {"value_range": 255}),
    (pipeline.Brightness, {"value_range": (1, 1)}),
    (pipeline.Brightness, {"value_range": (0, float("inf"))}),
    (pipeline.Contrast, {"factor": float("inf")}),
    (pipeline.Contrast, {"factor": 0.5, "value_range": (255, 0)}),
    (pipeline.RandomErasing, {"area": 1.1}),
    (pipeline.RandomErasing, {"area": (0.2, 0.1)}),
    (pipeline.RandomErasing, {"aspect": 0}),
    (pipeline.RandomErasing, {"fill": "white"}),
    (pipeline.RandomErasing, {"fill": float("nan")}),
    (pipeline.RandomErasing, {"mask_fill": "0"}),
    (pipeline.ElasticDistortion, {"alpha": -1, "sigma": 1}),
    (pipeline.ElasticDistortion, {"alpha": 1, "sigma": float("nan")}),
    (pipeline.ElasticDistortion, {"alpha": 1, "sigma": 1, "fill_mode": "x"}),
    (pipeline.Rescale, {"scale": float("inf")}),
    (pipeline.FeaturewiseNormalize, {"mean": (), "std": None}),
    (pipeline.FeaturewiseNormalize, {"mean": None, "std": (-1.0,)}),
    (pipeline.FeaturewiseNormalize, {"mean": (np.nan,), "std": None}),
    (pipeline.FeaturewiseNormalize, {"mean": "grey", "std": None}),
    (pipeline.ZCAWhitening, {"matrix": np.ones((2, 3)), "mean": (0,)}),
    (pipeline.ZCAWhitening, {"matrix": [[np.nan]], "mean": (0,)}),
    (pipeline.ZCAWhitening, {"matrix": [[1.0]], "mean": None}),
    (pipeline.SamplewiseNormalize, {"probability": 1.5}),
    (pipeline.Saturation, {"factor": -1}),
    (pipeline.Saturation, {"factor": 0.5, "value_range": 1}),
    (pipeline.Hue, {"shift": 0.6}),
    (pipeline.Hue, {"shift": (0.2, 0.1)}),
    (pipeline.ColorJitter, {"contrast": 2}),
    (pipeline.ColorJitter, {"hue": 1}),
    (pipeline.Gamma, {"gamma": (-1, 1)}),
    (pipeline.Invert, {"value_range": (1, 0)}),
    (pipeline.Solarize, {"threshold": float("nan")}),
    (pipeline.Posterize, {"bits": 9}),
    (pipeline.Posterize, {"bits": 2.5}),
    (pipeline.Equalize, {"value_range": (0, 0)}),
    (pipeline.Sharpness, {"factor": "2"}),
    (pipeline.GaussianBlur, {"sigma": -1}),
    (pipeline.GaussianBlur, {"kernel_size": 4}),
    (pipeline.GaussianBlur, {"kernel_size": True}),
    (pipeline.StrokeThickness, {"thickness": 11}),
    (pipeline.StrokeThickness, {"thickness": 1, "stroke": "red"}),
    (pipeline.RandAugment, {"n": 1.5}),
    (pipeline.RandAugment, {"n": -1}),
    (pipeline.RandAugment, {"magnitude": 31}),
    (pipeline.RandAugment, {"interpolation": "cubic"}),
    (pipeline.TrivialAugmentWide, {"fill": float("inf")}),
    (pipeline.AugMix, {"severity": 0}),
    (pipeline.AugMix, {"depth": 0}),
    (pipeline.AugMix, {"alpha": 0}),
    (pipeline.AugMix, {"all_ops": 1}),
    (pipeline.SamplewiseNormalize, {"center": "yes"}),
    (pipeline.ChannelShift, {"shift": 1, "per_channel": 3}),
    (pipeline.Apply, {"function": "sin"}),
]


@pytest.mark.parametrize(("transform", "fields"), BAD)
def test_bad_fields_are_refused_in_one_line(transform, fields):
    with pytest.raises(ValueError, match=r"Expected .*\. Received: ") as error:
        transform(**fields)
    assert "\n" not in str(error.value)
    assert transform.__name__ in str(error.value)
