"""Compose: keys, masks, structures, dtypes, and the same bits anywhere."""

import dataclasses
import pickle
import re
import warnings

import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline

RECIPE = pipeline.Compose(
    [
        pipeline.RandomAffine(
            rotation=25, width_shift=0.1, shear=5, zoom=0.2, fill_mode="wrap"
        ),
        pipeline.Rescale(1 / 255),
        pipeline.GaussianNoise(0.05),
    ]
)


def pictures(rng, count, shape=(14, 11, 3)):
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def in_batches(augment, images, keys, size):
    return np.concatenate(
        [
            augment(images[i : i + size], keys[i : i + size])
            for i in range(0, len(images), size)
        ]
    )


@pytest.mark.parametrize("shape", [(28, 28, 1), (14, 11, 3), (1, 1, 1)])
def test_bits_do_not_depend_on_the_batch(rng, shape):
    images = pictures(rng, 1000, shape)
    keys = pipeline.example_keys(1, 0, np.arange(1000))
    whole = RECIPE(images, keys).numpy()
    for size in (1, 7, 64):
        part = slice(0, 64 if size == 1 else 1000)
        batched = in_batches(RECIPE, images[part], keys[part], size)
        np.testing.assert_array_equal(batched, whole[part])
    np.testing.assert_array_equal(RECIPE(images[7], keys[7]), whole[7])
    turned = RECIPE(images[::-1], keys[::-1])
    np.testing.assert_array_equal(turned[::-1], whole)


@pytest.mark.parametrize("calls", [1, 8])
def test_bits_do_not_depend_on_tf_data(rng, calls):
    images = pictures(rng, 100)
    keys = pipeline.example_keys(1, 0, np.arange(100))
    dataset = tf.data.Dataset.from_tensor_slices((images, keys))
    dataset = dataset.batch(9).map(RECIPE, num_parallel_calls=calls)
    batches = np.concatenate([batch.numpy() for batch in dataset])
    np.testing.assert_array_equal(batches, RECIPE(images, keys))
    singly = tf.data.Dataset.from_tensor_slices((images, keys)).map(RECIPE)
    alone = np.stack([picture.numpy() for picture in singly.take(5)])
    np.testing.assert_array_equal(alone, batches[:5])


def test_bits_do_not_depend_on_a_callers_function(rng):
    images = pictures(rng, 20)
    keys = pipeline.example_keys(1, 0, np.arange(20))
    for jit in (False, True):
        function = tf.function(RECIPE, jit_compile=jit, autograph=False)
        np.testing.assert_array_equal(
            function(images, keys), RECIPE(images, keys)
        )


def test_drawn_parameters_can_be_replayed(rng):
    images = pictures(rng, 20)
    keys = pipeline.example_keys(1, 0, np.arange(20))
    drawn = RECIPE.draw(keys, images.shape[1:])
    assert drawn[0]["rotation"].shape == (20,)
    assert np.abs(drawn[0]["rotation"]).max() <= 25
    assert drawn[1] == {}
    assert drawn[2]["noise"].shape == images.shape
    replayed = RECIPE.apply(tf.constant(images), drawn)
    np.testing.assert_allclose(
        replayed, RECIPE(images, keys), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool"])
def test_a_mask_moves_with_its_picture(rng, dtype):
    """A mask of coarse blocks: what is 0 or 200 in the picture, and known."""
    blocks = rng.integers(0, 2, (30, 4, 4, 1))
    mask = np.kron(blocks, np.ones((1, 8, 8, 1))).astype(dtype)
    images = (mask.astype(np.float32) * 200)[..., [0, 0, 0]]
    augment = pipeline.Compose(
        [
            pipeline.RandomAffine(rotation=30, zoom=0.2, horizontal_flip=True),
            pipeline.GaussianNoise(1.0),
        ]
    )
    keys = pipeline.example_keys(1, 0, np.arange(30))
    moved_images, moved = augment(images, keys, masks=mask)
    assert moved.dtype == dtype
    bright = moved_images.numpy()[..., :1] > 100
    # They part only where bilinear and nearest do, on the blocks' edges.
    assert np.mean(bright == moved.numpy().astype(bool)) > 0.99
    assert np.mean(moved.numpy() == mask) < 0.9
    _, flat = augment(images, keys, masks=mask[..., 0])
    np.testing.assert_array_equal(flat, moved[..., 0])


def test_a_structure_moves_by_one_draw(rng):
    left, mask = pictures(rng, 6, (8, 8, 3)), pictures(rng, 6, (8, 8, 1))
    move = pipeline.Compose([pipeline.RandomAffine(rotation=40)])
    keys = pipeline.example_keys(1, 0, np.arange(6))
    pair, masks = move(
        {"left": left, "right": left + 1}, keys, masks=(mask, mask)
    )
    np.testing.assert_array_equal(pair["left"], move(left, keys))
    np.testing.assert_array_equal(pair["right"], move(left + 1, keys))
    np.testing.assert_array_equal(masks[0], masks[1])


def test_probability_is_per_example(rng):
    images = pictures(rng, 2000, (4, 4, 1))
    keys = pipeline.example_keys(1, 0, np.arange(2000))
    augment = pipeline.Compose(
        [
            pipeline.GaussianNoise(1.0, probability=0.3),
            pipeline.RandomAffine(horizontal_flip=True, probability=0.0),
        ]
    )
    changed, masks = augment(images, keys, masks=images)
    share = np.mean(np.any(changed.numpy() != images, axis=(1, 2, 3)))
    assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 2000)
    np.testing.assert_array_equal(masks, images)


def test_an_integer_result_rounds_and_saturates():
    images = np.full((1, 2, 2, 1), 100, np.uint8)
    for scale, expected in [(1.004, 100), (1.006, 101), (9, 255), (-1, 0)]:
        rescale = pipeline.Compose([pipeline.Rescale(scale)], dtype="uint8")
        result = rescale(images)
        assert result.dtype == tf.uint8
        assert np.all(result.numpy() == expected)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "uint16"])
def test_other_dtypes_become_float32(rng, dtype):
    images = pictures(rng, 3)
    keys = pipeline.example_keys(1, 0, np.arange(3))
    result = RECIPE(images.astype(dtype), keys)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, RECIPE(images, keys), atol=1e-6)


def test_deterministic_keeps_what_draws_nothing(rng):
    evaluate = RECIPE.deterministic()
    assert evaluate.transforms == (pipeline.Rescale(1 / 255),)
    images = pictures(rng, 3)
    expected = images.astype(np.float32) * np.float32(1 / 255)
    np.testing.assert_array_equal(evaluate(images), expected)


def test_an_empty_batch_stays_empty():
    keys = pipeline.example_keys(1, 0, np.arange(0))
    assert RECIPE(np.zeros((0, 5, 4, 3), np.uint8), keys).shape == (0, 5, 4, 3)


def test_printing_shows_the_recipe():
    nested = pipeline.Compose(
        [
            pipeline.Compose([pipeline.RandomAffine(rotation=10)]),
            pipeline.GaussianNoise(0.05, probability=0.5),
        ]
    )
    assert repr(nested) == (
        "Compose([\n"
        "    RandomAffine(rotation=10),\n"
        "    GaussianNoise(stddev=0.05, probability=0.5),\n"
        "])"
    )
    names = {name: getattr(pipeline, name) for name in pipeline.__all__}
    assert eval(repr(nested), names) == nested


def test_pickling_keeps_the_pictures(rng):
    images = pictures(rng, 3)
    keys = pipeline.example_keys(1, 0, np.arange(3))
    expected = RECIPE(images, keys)
    copy = pickle.loads(pickle.dumps(RECIPE))
    assert copy == RECIPE
    np.testing.assert_array_equal(copy(images, keys), expected)


def test_a_transform_of_ones_own(rng):
    class Invert(pipeline.Transform):
        random = False
        moves_pixels = False

        def apply(self, images, drawn):
            return 255 - tf.cast(images, tf.float32)

    images = pictures(rng, 2)
    invert = pipeline.Compose([Invert()])
    np.testing.assert_array_equal(invert(images), 255.0 - images)
    _, masks = invert(images, masks=images)
    np.testing.assert_array_equal(masks, images)


class Flip(pipeline.Transform):
    """Moves pixels and says nothing of masks."""

    random = False

    def apply(self, images, drawn):
        return tf.cast(images[:, :, ::-1], tf.float32)


@pytest.mark.parametrize(
    "flip", [Flip(), pipeline.Apply(tf.image.flip_left_right)], ids=repr
)
def test_masks_do_not_stay_behind_in_silence(rng, flip):
    images = pictures(rng, 2)
    augment = pipeline.Compose([flip])
    np.testing.assert_array_equal(augment(images), images[:, :, ::-1])
    name = type(flip).__name__
    with pytest.raises(ValueError, match=f"Expected {name} .*apply_to_mask"):
        augment(images, masks=images)


def test_a_function_may_say_that_masks_stay(rng):
    images = pictures(rng, 2)
    invert = pipeline.Apply(lambda x: 255 - x, moves_pixels=False)
    _, masks = pipeline.Compose([invert])(images, masks=images)
    np.testing.assert_array_equal(masks, images)


def test_a_transform_without_apply_says_so(rng):
    with pytest.raises(NotImplementedError, match="Transform to define apply"):
        pipeline.Compose([pipeline.Transform()])(
            pictures(rng, 2), pipeline.example_keys(0, 0, [0, 1])
        )


class Uncompilable(pipeline.Transform):
    random = False

    def apply(self, images, drawn):
        images = tf.cast(images, tf.float32)
        identity = tf.constant([[1.0, 0, 0, 0, 1, 0, 0, 0]])
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=identity,
            output_shape=tf.shape(images)[1:3],
            interpolation="NEAREST",
            fill_mode="NEAREST",
            fill_value=0.0,
        )


def test_an_operation_that_xla_lacks_is_named(rng):
    """In a tf.data map too, before the first batch."""
    choice = pipeline.OneOf([pipeline.Rescale(1 / 255), Uncompilable()])
    augment = pipeline.Compose([pipeline.Rescale(1 / 255), choice])
    words = "Received: ImageProjectiveTransformV3 in Uncompilable$"
    with pytest.raises(ValueError, match=words) as error:
        augment(pictures(rng, 2), pipeline.example_keys(0, 0, [0, 1]))
    assert "\n" not in str(error.value)
    dataset = tf.data.Dataset.from_tensor_slices(pictures(rng, 8)).batch(4)
    with pytest.raises(ValueError) as error:
        keys = pipeline.example_keys(0, 0, [0, 1, 2, 3])
        dataset.map(lambda images: augment(images, keys))
    assert re.search(words, str(error.value).splitlines()[-1].strip())


BRIGHT = pipeline.Brightness(delta=0.1)
NOISE = pipeline.RandomErasing(fill="noise")


@pytest.mark.parametrize("step", [BRIGHT, NOISE], ids=repr)
def test_a_value_range_beside_a_rescale_is_checked(step):
    name = type(step).__name__
    with pytest.warns(UserWarning, match=f"value_range of {name}"):
        pipeline.Compose([pipeline.Rescale(1 / 255), step])
    unit = dataclasses.replace(step, value_range=(0, 1))
    fill = pipeline.RandomErasing(fill=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline.Compose([step, pipeline.Rescale(1 / 255), unit, fill])
        pipeline.Compose([pipeline.Apply(tf.sin), unit])


def test_a_value_range_beside_the_pictures_is_checked(rng):
    keys = pipeline.example_keys(1, 0, np.arange(4))
    wide = pictures(rng, 4)
    unit = (wide / 255).astype(np.float32)
    narrow = pipeline.Brightness(delta=0.1, value_range=(0, 1))
    for step, images in [(BRIGHT, unit), (NOISE, unit), (narrow, wide)]:
        with pytest.warns(UserWarning, match="value_range"):
            pipeline.Compose([step])(images, keys)
    stream = pipeline.Stream(4, 2)
    with pytest.warns(UserWarning, match="value_range"):
        pipeline.host_dataset(unit, None, stream, BRIGHT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step, images in [(BRIGHT, wide), (narrow, unit)]:
            pipeline.Compose([step])(images, keys)
            pipeline.host_dataset(images, None, stream, step)


def test_numpy_pictures_replay_drawn_parameters(rng):
    images = pictures(rng, 5)
    keys = pipeline.example_keys(1, 0, np.arange(5))
    drawn = RECIPE.draw(keys, images.shape[1:])
    wanted = RECIPE.apply(tf.constant(images), drawn)
    np.testing.assert_array_equal(RECIPE.apply(images, drawn), wanted)
    moved = RECIPE.apply_to_mask(images, drawn)
    assert moved.dtype == tf.uint8


def test_many_composes_are_no_false_alarm_of_retracing(rng, caplog):
    images = pictures(rng, 2, (3, 3, 1))
    for place in range(12):
        pipeline.Compose([pipeline.Rescale(place)])(images)
    assert "retracing" not in caplog.text


def test_a_change_of_shape_is_refused(rng):
    class Grey(pipeline.Transform):
        random = False

        def apply(self, images, drawn):
            return tf.image.rgb_to_grayscale(tf.cast(images, tf.float32))

    with pytest.raises(ValueError, match=r"Grey to keep .* shape, \(2, 14"):
        pipeline.Compose([Grey()])(pictures(rng, 2))


def test_a_field_is_for_pictures_of_one_size(rng):
    elastic = pipeline.Compose([pipeline.ElasticDistortion(3.0, 2.0)])
    keys = pipeline.example_keys(1, 0, np.arange(2))
    images, masks = pictures(rng, 2), pictures(rng, 2, (7, 11, 1))
    with pytest.raises(ValueError, match="one height and width"):
        elastic(images, keys, masks=masks)


KEYS = np.zeros((2, 2), np.uint32)
IMAGES = np.zeros((2, 5, 5, 1), np.uint8)


@pytest.mark.parametrize(
    ("images", "keys", "message"),
    [
        (IMAGES, None, "RandomAffine, GaussianNoise .* example_keys"),
        (IMAGES, KEYS.astype(np.int64), "uint32 .* Received: int64"),
        (IMAGES, KEYS[0], r"shape \(2, 2\), .* Received: uint32 \(2,\)"),
        (
            IMAGES,
            KEYS[:1],
            r"shape \(2, 2\), one per picture. Received: uint32 \(1, 2\)",
        ),
        (IMAGES[0], KEYS, r"shape \(2,\)"),
        (IMAGES[0, 0], KEYS[0], r"\[batch, height, width, channels\]"),
        (IMAGES[..., 0], KEYS, r"\(2, 5, 5\); add .*pictures\[..., None\]"),
        (IMAGES[0, ..., 0], KEYS[0], r"\(5, 5\); add .*pictures\[..., None\]"),
        (IMAGES[None], KEYS, r"Received: \(1, 2, 5, 5, 1\)"),
    ],
)
def test_bad_calls_are_one_line(images, keys, message):
    with pytest.raises(ValueError, match=message) as error:
        RECIPE(images, keys)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [3, "flip", None, pipeline.Rescale])
def test_only_transforms_compose(bad):
    with pytest.raises(TypeError, match=r"Expected a list .*: RandomAffine"):
        pipeline.Compose(pipeline.RandomAffine())
    with pytest.raises(TypeError, match="Expected transforms"):
        pipeline.Compose([bad])
