"""Normalisation by the statistics of each picture or of a data set.

The formulas are those of Keras' ImageDataGenerator. Nothing is drawn, so
evaluation applies these transforms too. Call ``fit`` on pictures as they
are when they reach the transform, after all earlier steps of the Compose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline.transform import Drawn, Transform, check_bool
from mnistpipe.pipeline.transforms import exact

# Keras' guard against the division by 0 for a picture of one value.
_EPSILON = 1e-6
# How many examples are converted to float64 at once.
_CHUNK = 1024


@dataclasses.dataclass(frozen=True, repr=False)
class SamplewiseNormalize(Transform):
    """Subtracts a picture's mean, then divides by its deviation + 1e-6.

    Mean and deviation are over all axes of the picture, channels included.

    Attributes:
      center: whether to subtract the mean.
      std: whether to divide by the standard deviation.
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False

    center: bool = True
    std: bool = True

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_bool(self, "center")
        check_bool(self, "std")

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Normalises [B, H, W, C]."""
        del drawn
        images = tf.cast(images, tf.float32)
        axes = (1, 2, 3)
        centered = images - exact.mean(images, axes)
        result = centered if self.center else images
        if self.std:
            variance = exact.mean(tf.square(centered), axes)
            result /= tf.sqrt(variance) + _EPSILON
        return result


@dataclasses.dataclass(frozen=True, repr=False)
class FeaturewiseNormalize(Transform):
    """Subtracts each channel's mean, then divides by its deviation + 1e-6.

        normalize = FeaturewiseNormalize.fit(train_images)

    Attributes:
      mean: a number per channel, or None to subtract nothing.
      std: a number per channel, or None to divide by nothing.
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    def __post_init__(self) -> None:
        """Checks the fields and converts them to tuples."""
        super().__post_init__()
        _to_numbers(self, "mean", -np.inf)
        _to_numbers(self, "std", 0.0)

    @classmethod
    def fit(
        cls, images: Any, *, center: bool = True, std: bool = True
    ) -> FeaturewiseNormalize:
        """Measures a data set.

        Args:
          images: [N, H, W, C], uint8 or float: an array, or an object
            whose slices are arrays (a memory map, an HDF5 data set).
          center: whether to subtract the mean.
          std: whether to divide by the standard deviation.
        """
        mean = _channel_mean(images)
        return cls(
            mean=tuple(mean.tolist()) if center else None,
            std=tuple(_channel_std(images, mean).tolist()) if std else None,
        )

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Normalises [B, H, W, C]."""
        del drawn
        images = tf.cast(images, tf.float32)
        if self.mean is not None:
            _check_channels(self, self.mean, images)
            images -= tf.constant(self.mean, tf.float32)
        if self.std is not None:
            _check_channels(self, self.std, images)
            images /= tf.constant(self.std, tf.float32) + _EPSILON
        return images


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ZCAWhitening(Transform):
    """Removes the correlations between pixels.

        (x − mean) · matrix, x being a picture's values in a row

    The matrix suits one height, width and number of channels. Values and
    weights are rounded to about 21 bits and their products are summed
    exactly (see ``exact``), so a picture's bits do not depend on its batch.

    Attributes:
      matrix: float32 [H·W·C, H·W·C].
      mean: a number per channel, which is subtracted first.
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False

    matrix: np.ndarray
    mean: tuple[float, ...]

    def __post_init__(self) -> None:
        """Checks the fields and keeps a copy of the matrix."""
        super().__post_init__()
        _to_numbers(self, "mean", -np.inf)
        matrix = np.array(self.matrix, np.float32)
        size = matrix.size
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
        if not (size and square and np.isfinite(matrix).all()):
            raise ValueError(
                "Expected ZCAWhitening.matrix to be finite, of shape [size, "
                f"size]. Received: shape {list(matrix.shape)}"
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def fit(cls, images: Any, *, epsilon: float = 1e-6) -> ZCAWhitening:
        """Measures a data set.

        Let each row of X be a picture minus each channel's mean, and let u
        and s come from the singular value decomposition of Xᵀ. The matrix
        is (u·√N / (s + epsilon))·uᵀ. The computation needs memory for a few
        matrices of that size, but not for a copy of the data.

        Args:
          images: [N, H, W, C], as for FeaturewiseNormalize.fit.
          epsilon: added to s. A larger epsilon amplifies less those
            directions in which pictures hardly differ, such as those of a
            border that is always black.
        """
        mean = _channel_mean(images)
        triangle: Any = None
        for chunk in _chunks(images):
            rows = (chunk - mean).reshape(len(chunk), -1)
            if triangle is not None:
                rows = np.concatenate([triangle, rows])
            # If X = QR, then Xᵀ = RᵀQᵀ has the u and the s of Rᵀ.
            triangle = np.linalg.qr(rows, mode="r")
        u, s, _ = np.linalg.svd(triangle.T, full_matrices=False)
        matrix = (u * (np.sqrt(len(images)) / (s + epsilon))) @ u.T
        return cls(matrix=matrix, mean=tuple(mean.tolist()))

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Whitens [B, H, W, C]."""
        del drawn
        _check_channels(self, self.mean, images)
        size = len(self.matrix)
        if images.shape[1:].num_elements() not in (None, size):
            raise ValueError(
                f"Expected pictures of {size} values, as ZCAWhitening was "
                f"fitted to. Received: {list(images.shape[1:])}"
            )
        centered = tf.cast(images, tf.float32) - tf.constant(
            self.mean, tf.float32
        )
        # A sum has SUM_BITS: the number of products takes some of them, the
        # values and the weights share the others.
        room = exact.SUM_BITS - int(np.ceil(np.log2(size)))
        flat = tf.reshape(centered, [-1, size])
        values, unit = exact.to_grid(flat, room // 2)
        weights, weight_unit = self._weights(room - room // 2)
        product = tf.matmul(values, tf.cast(weights, tf.float64))
        white = product * unit * weight_unit
        return tf.reshape(tf.cast(white, tf.float32), tf.shape(images))

    def _weights(self, bits: int) -> tuple[np.ndarray, np.ndarray]:
        """The matrix as int32, and each column's unit, float64[1, size]."""
        largest = np.abs(self.matrix).max(axis=0, keepdims=True)
        unit = np.where(largest > 0, largest, 1).astype(np.float64) * 2.0**-bits
        return np.round(self.matrix / unit).astype(np.int32), unit

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal, and all values of the matrix."""
        if not isinstance(other, ZCAWhitening):
            return NotImplemented
        return self._rest() == other._rest() and np.array_equal(
            self.matrix, other.matrix
        )

    def __hash__(self) -> int:
        return hash(self._rest())

    def _rest(self) -> tuple[Any, ...]:
        return self.mean, self.probability, self.matrix.shape

    def __repr__(self) -> str:
        """The call that makes it, with the matrix' shape for its values."""
        shape = list(self.matrix.shape)
        return f"ZCAWhitening(matrix=float32{shape}, mean={self.mean!r})"


def _to_numbers(transform: Transform, name: str, low: float) -> None:
    """Converts a field to a tuple of finite floats of at least ``low``."""
    given = getattr(transform, name)
    if given is None and isinstance(transform, FeaturewiseNormalize):
        return
    try:
        numbers = tuple(np.asarray(given, np.float64).ravel().tolist())
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(
        low <= x < np.inf and x > -np.inf for x in numbers
    ):
        raise ValueError(
            f"Expected {type(transform).__name__}.{name} to be finite "
            f"numbers of at least {low}, one per channel. "
            f"Received: {given!r}"
        )
    object.__setattr__(transform, name, numbers)


def _check_channels(
    transform: Transform, numbers: tuple[float, ...], images: tf.Tensor
) -> None:
    channels = images.shape[3]
    if channels is not None and len(numbers) not in (1, channels):
        raise ValueError(
            f"Expected pictures of {len(numbers)} channels, as "
            f"{type(transform).__name__} was made for. Received: {channels}"
        )


def _chunks(images: Any) -> Iterator[np.ndarray]:
    for start in range(0, len(images), _CHUNK):
        yield np.asarray(images[start : start + _CHUNK], np.float64)


def _channel_mean(images: Any) -> np.ndarray:
    """float64[C]; raises ValueError for a wrong shape or for NaN."""
    shape = tuple(np.shape(images))
    if len(shape) != 4 or 0 in shape:
        raise ValueError(
            "Expected pictures of shape [count, height, width, channels], "
            f"none of them 0. Received: {list(shape)}"
        )
    total = sum(chunk.sum(axis=(0, 1, 2)) for chunk in _chunks(images))
    if not np.isfinite(total).all():
        raise ValueError("Expected finite pictures. Received: NaN or infinity")
    return total / np.prod(shape[:3])


def _channel_std(images: Any, mean: np.ndarray) -> np.ndarray:
    squares = sum(
        np.square(chunk - mean).sum(axis=(0, 1, 2)) for chunk in _chunks(images)
    )
    return np.sqrt(squares / np.prod(np.shape(images)[:3]))
