"""The warp beside tensorflow-addons', an independent implementation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnistpipe.pipeline import warp

if keras.__version__.startswith("3"):
    pytest.skip(
        "tensorflow-addons imports only beside Keras 2 (extra `addons`)",
        allow_module_level=True,
    )

import tensorflow_addons as tfa

# "constant" and "wrap" mean other things there: it blends the border with
# the fill value, and its wrap is none of SciPy's.
SHARED_MODES = ("nearest", "reflect")


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


@pytest.mark.parametrize("fill_mode", SHARED_MODES)
@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (17, 30, 3)])
def test_affine_is_tensorflow_addons(rng, shape, interpolation, fill_mode):
    images = rng.uniform(0, 1, (50, *shape)).astype(np.float32)
    matrices = np.concatenate(
        [
            np.eye(2) + rng.uniform(-0.4, 0.4, (50, 2, 2)),
            rng.uniform(-6, 6, (50, 2, 1)),
        ],
        axis=2,
    ).astype(np.float32)
    ours = warp.affine(
        tf.constant(images),
        tf.constant(matrices),
        fill_mode=fill_mode,
        interpolation=interpolation,
    )
    theirs = tfa.image.transform(
        tf.constant(images),
        [as_projective(matrix, *shape[:2]) for matrix in matrices],
        interpolation=interpolation,
        fill_mode=fill_mode,
    )
    difference = np.abs(ours - theirs)
    if interpolation == "bilinear":
        assert difference.max() < 1e-4
    else:  # a pixel may round to its other neighbour
        assert np.mean(difference > 1e-4) < 1e-3
