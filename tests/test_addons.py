"""The warp beside tensorflow-addons', an independent implementation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline import warp

if keras.__version__.startswith("3"):
    pytest.skip(
        "tensorflow-addons imports only beside Keras 2 (extra `addons`)",
        allow_module_level=True,
    )

import tensorflow_addons as tfa

# "constant" and "wrap" mean other things there: it blends the border with
# the fill value, and its wrap is none of SciPy's. What they fill apart, the
# four agree.
SHARED_MODES = ("nearest", "reflect")
SHAPES = [(28, 28, 1), (17, 30, 3), (31, 8, 4), (2, 3, 2)]
COUNT = 50


def as_projective(matrix, height, width):
    """[2, 3] on (row, column) from the centre → tfa's eight numbers.

    Those act on (x, y) from the first pixel.
    """
    (yy, yx, dy), (xy, xx, dx) = matrix
    x, y = (width - 1) / 2, (height - 1) / 2
    return [
        *(xx, xy, dx + x - xx * x - xy * y),
        *(yx, yy, dy + y - yx * x - yy * y),
        *(0, 0),
    ]


def random_matrices(rng):
    return np.concatenate(
        [
            np.eye(2) + rng.uniform(-0.4, 0.4, (COUNT, 2, 2)),
            rng.uniform(-6, 6, (COUNT, 2, 1)),
        ],
        axis=2,
    ).astype(np.float32)


def both(images, matrices, **settings):
    ours = warp.affine(tf.constant(images), tf.constant(matrices), **settings)
    size = images.shape[1:3]
    theirs = tfa.image.transform(
        tf.constant(images),
        [as_projective(matrix, *size) for matrix in matrices],
        **settings,
    )
    return ours.numpy(), theirs.numpy()


def check(ours, theirs, interpolation):
    difference = np.abs(ours - theirs)
    assert difference.size
    if interpolation == "bilinear":
        assert difference.max() < 1e-4
    else:  # a pixel may round to its other neighbour
        assert np.mean(difference > 1e-4) < 1e-3


@pytest.mark.parametrize("fill_mode", SHARED_MODES)
@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_affine_is_tensorflow_addons(rng, shape, interpolation, fill_mode):
    images = rng.uniform(0, 1, (COUNT, *shape)).astype(np.float32)
    settings = {"fill_mode": fill_mode, "interpolation": interpolation}
    check(*both(images, random_matrices(rng), **settings), interpolation)


def inside(matrices, height, width):
    """[B, H, W]: whether a pixel comes from within the picture."""
    row, column = np.mgrid[:height, :width].astype(np.float64)
    centre = np.array([[(height - 1) / 2], [(width - 1) / 2]])
    here = np.stack([row.ravel(), column.ravel()]) - centre
    there = matrices[:, :, :2] @ here + matrices[:, :, 2:] + centre
    last = np.array([[height - 1], [width - 1]])
    within = (there > 1e-3) & (there < last - 1e-3)
    return within.all(axis=1).reshape(-1, height, width)


@pytest.mark.parametrize("fill_mode", ["constant", "wrap"])
@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_filled_is_alike_in_the_others(
    rng, shape, interpolation, fill_mode
):
    images = rng.uniform(0, 1, (COUNT, *shape)).astype(np.float32)
    matrices = random_matrices(rng)
    matrices[:, :, 2] *= min(shape[:2]) / 28  # so that enough stays inside
    within = inside(matrices, *shape[:2])
    assert within.mean() > 0.2
    ours, theirs = both(
        images,
        matrices,
        fill_mode=fill_mode,
        interpolation=interpolation,
        fill_value=0.3,
    )
    check(ours[within], theirs[within], interpolation)


def test_far_outside_a_constant_is_a_constant(rng):
    images = rng.uniform(0, 1, (COUNT, 9, 7, 2)).astype(np.float32)
    matrices = np.tile(np.float32([[1, 0, 20], [0, 1, -30]]), (COUNT, 1, 1))
    settings = {"fill_mode": "constant", "fill_value": 0.3}
    ours, theirs = both(images, matrices, interpolation="bilinear", **settings)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(ours, np.full_like(ours, 0.3))


# The transform: what its parameters mean, by tensorflow-addons' own matrices.

STILL = {
    **{"rotation": 0.0, "shear": 0.0, "shift_x": 0.0, "shift_y": 0.0},
    **{"zoom_x": 1.0, "zoom_y": 1.0},
}
RANGES = {
    "rotation": {"rotation": (-180, 180)},
    "shift": {"shift_x": (-9, 9), "shift_y": (-9, 9)},
    "shear": {"shear": (-60, 60)},
    "zoom": {"zoom_x": (0.4, 2), "zoom_y": (0.4, 2)},
}
RANGES["all"] = {k: v for one in RANGES.values() for k, v in one.items()}


def centred(xx, xy, yx, yy, height, width):
    """tfa's eight numbers of a map about the centre, for each example."""
    zero = np.zeros_like(xx)
    rows = np.stack([yy, yx, zero, xy, xx, zero], axis=1).reshape(-1, 2, 3)
    return np.float32([as_projective(row, height, width) for row in rows])


def their_matrices(drawn, height, width):
    """Rotation, shift, shear and zoom, composed by tensorflow-addons."""
    one, zero = np.ones(COUNT), np.zeros(COUNT)
    shear = np.radians(drawn["shear"])
    size = (height, width)
    return tfa.image.transform_ops.compose_transforms(
        [
            tfa.image.transform_ops.angles_to_projective_transforms(
                np.radians(drawn["rotation"]), *map(float, size)
            ),
            tfa.image.translate_ops.translations_to_projective_transforms(
                np.stack([-drawn["shift_x"], -drawn["shift_y"]], axis=1)
            ),
            centred(one, -np.sin(shear), zero, np.cos(shear), *size),
            centred(drawn["zoom_x"], zero, zero, drawn["zoom_y"], *size),
        ]
    )


@pytest.mark.parametrize("fill_mode", SHARED_MODES)
@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (17, 30, 3)])
@pytest.mark.parametrize("kind", RANGES)
def test_the_parameters_mean_the_same(
    rng, kind, shape, interpolation, fill_mode
):
    images = rng.uniform(0, 1, (COUNT, *shape)).astype(np.float32)
    drawn = {name: np.full(COUNT, v) for name, v in STILL.items()}
    for name, (low, high) in RANGES[kind].items():
        drawn[name] = rng.uniform(low, high, COUNT)
    drawn = {name: np.float32(values) for name, values in drawn.items()}
    drawn |= {f: rng.uniform(size=COUNT) < 0.5 for f in ("flip_x", "flip_y")}
    transform = pipeline.RandomAffine(
        rotation=10, fill_mode=fill_mode, interpolation=interpolation
    )
    ours = transform.apply(
        tf.constant(images), {n: tf.constant(v) for n, v in drawn.items()}
    ).numpy()
    theirs = tfa.image.transform(
        images,
        their_matrices(drawn, *shape[:2]),
        interpolation=interpolation,
        fill_mode=fill_mode,
    ).numpy()
    mirrored = drawn["flip_x"]
    theirs[mirrored] = theirs[mirrored, :, ::-1]
    mirrored = drawn["flip_y"]
    theirs[mirrored] = theirs[mirrored, ::-1]
    difference = np.abs(ours - theirs)
    # Turned by right angles or still, a coordinate is on a pixel's edge for
    # one and not for the other; else rounding is 1e-5 of a pixel.
    if interpolation == "bilinear":
        assert difference.max() < 3e-4
    else:
        assert np.mean(difference > 1e-4) < 2e-3


@pytest.mark.parametrize("degrees", [-30.0, 90.0, 200.0])
def test_rotate_is_tensorflow_addons(rng, degrees):
    images = rng.uniform(0, 1, (COUNT, 20, 28, 3)).astype(np.float32)
    turn = pipeline.RandomAffine(rotation=(degrees, degrees))
    keys = rng.integers(0, 2**32, (COUNT, 2), dtype=np.uint32)
    ours = pipeline.Compose([turn])(images, keys=keys).numpy()
    theirs = tfa.image.rotate(
        images, np.radians(degrees), "bilinear", fill_mode="nearest"
    ).numpy()
    assert np.abs(ours - theirs).max() < 3e-4
