"""What ImageDataGenerator does with an image, with a batch and in ``fit``.

The attributes are those of Keras' class. Scripts change them at any time, so
every call reads their current values.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.generator import statistics
from mnistpipe.pipeline.generator.arguments import choice, number, pair
from mnistpipe.pipeline.generator.arrays import check_images
from mnistpipe.pipeline.generator.augmentation import (
    LegacyAugmentation,
    Shift,
    apply_one,
    draw_one,
)
from mnistpipe.pipeline.generator.augmenters import (
    EPSILON,
    BatchAugmenter,
    PerImageAugmenter,
    is_overridden,
    standardisation,
    take_key,
)
from mnistpipe.pipeline.generator.iterator import fresh_seed
from mnistpipe.pipeline.transforms.affine import AXES

# SciPy's interpolation orders that need no spline.
INTERPOLATIONS = {0: "nearest", 1: "bilinear"}


class ImageTransformer:
    """The part of ImageDataGenerator that makes no iterators.

    A subclass sets the attributes of ImageDataGenerator's arguments, then
    calls this class' ``__init__``, which checks them.

    Attributes:
      mean: array that broadcasts over an image, from ``fit`` or the user.
      std: array that broadcasts over an image, from ``fit`` or the user.
      zca_whitening_matrix: [P, P] for images of P values, from ``fit``.
    """

    rotation_range: Any
    width_shift_range: Any
    height_shift_range: Any
    brightness_range: Any
    shear_range: Any
    zoom_range: Any
    channel_shift_range: Any
    fill_mode: str
    cval: Any
    horizontal_flip: bool
    vertical_flip: bool
    rescale: float | None
    preprocessing_function: Callable[[np.ndarray], Any] | None
    samplewise_center: bool
    samplewise_std_normalization: bool
    featurewise_center: bool
    featurewise_std_normalization: bool
    zca_whitening: bool
    zca_epsilon: float
    data_format: str
    interpolation_order: int
    dtype: str
    axes: str

    def __init__(self, validation_split: Any) -> None:
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.zca_whitening_matrix: np.ndarray | None = None
        self._validation_split = validation_split
        self._cached: tuple[Any, Any] = (None, None)
        self._set_axes()
        self._check()
        self._turn_on_what_is_implied()

    def _set_axes(self) -> None:
        choice(
            "data_format", self.data_format, ("channels_last", "channels_first")
        )
        if self.data_format == "channels_last":
            self.row_axis, self.col_axis, self.channel_axis = 1, 2, 3
        else:
            self.channel_axis, self.row_axis, self.col_axis = 1, 2, 3

    def _check(self) -> None:
        share = number("validation_split", self._validation_split or 0.0)
        if not 0 <= share < 1:
            raise ValueError(
                f"Expected validation_split to lie in [0, 1), got {share}"
            )
        self._validation_split = share
        function = self.preprocessing_function
        if function is not None and not callable(function):
            raise ValueError(
                "Expected preprocessing_function to be a function, "
                f"got {function!r}"
            )
        number("rescale", self.rescale or 0.0)
        self.augmentation()

    def _turn_on_what_is_implied(self) -> None:
        def override(name: str, value: bool, by: str) -> None:
            if getattr(self, name) != value:
                setattr(self, name, value)
                state = "on" if value else "off"
                warnings.warn(f"{by} turns {name} {state}", stacklevel=5)

        if self.zca_whitening:
            override("featurewise_center", True, "zca_whitening")
            override("featurewise_std_normalization", False, "zca_whitening")
        if self.featurewise_std_normalization:
            name = "featurewise_std_normalization"
            override("featurewise_center", True, name)
        if self.samplewise_std_normalization:
            name = "samplewise_std_normalization"
            override("samplewise_center", True, name)

    # -- the interface for iterators -------------------------------------

    def augmenter(self) -> BatchAugmenter | PerImageAugmenter:
        """Returns what makes a batch, from the attributes' current values."""
        names = ("get_random_transform", "apply_transform", "standardize")
        if self.overrides(*names):
            return PerImageAugmenter(self, self.dtype)
        measured = self._statistics()
        settings = (
            self.augmentation(),
            self.preprocessing_function,
            self.rescale,
            self.samplewise_center,
            self.samplewise_std_normalization,
            self.dtype,
        )
        known, augmenter = self._cached
        if known is not None:
            same = all(a is b for a, b in zip(known[1], measured, strict=True))
            if same and known[0] == settings:
                return augmenter
        augmenter = self._new_augmenter(settings, measured)
        self._cached = ((settings, measured), augmenter)
        return augmenter

    def overrides(self, *names: str) -> bool:
        """Whether any of the methods is replaced by the user's own."""
        return any(
            is_overridden(self, name, _ORIGINALS[name]) for name in names
        )

    @staticmethod
    def _new_augmenter(
        settings: tuple[Any, ...], measured: tuple[Any, ...]
    ) -> BatchAugmenter:
        augmentation, function, rescale, center, std, dtype = settings
        if not tf.as_dtype(dtype).is_floating and any(
            (rescale, center, std, *(part is not None for part in measured))
        ):
            raise ValueError(
                "Expected a floating dtype for rescaling or normalisation, "
                f"got {dtype!r}"
            )
        standardise = standardisation(
            rescale=rescale,
            center=bool(center),
            std=bool(std),
            statistics=measured,
        )
        return BatchAugmenter(augmentation, function, standardise, dtype)

    def augmentation(self) -> LegacyAugmentation:
        """Returns the random part, from the attributes' current values."""
        brightness = self.brightness_range
        if brightness is not None:
            brightness = pair("brightness_range", brightness)
        order = self.interpolation_order
        if order not in INTERPOLATIONS:
            raise ValueError(
                "Expected interpolation_order to be 0 (nearest neighbour) or "
                f"1 (bilinear), got {order!r}"
            )
        return LegacyAugmentation(
            rotation=number("rotation_range", self.rotation_range or 0.0),
            height_shift=Shift.of(
                "height_shift_range", self.height_shift_range
            ),
            width_shift=Shift.of("width_shift_range", self.width_shift_range),
            shear=number("shear_range", self.shear_range or 0.0),
            zoom=pair("zoom_range", self.zoom_range),
            horizontal_flip=bool(self.horizontal_flip),
            vertical_flip=bool(self.vertical_flip),
            channel_shift=number(
                "channel_shift_range", self.channel_shift_range or 0.0
            ),
            brightness=brightness,
            fill_mode=choice("fill_mode", self.fill_mode, warp.FILL_MODES),
            cval=number("cval", self.cval),
            interpolation=INTERPOLATIONS[order],
            axes=choice("axes", self.axes, AXES),
            channels_first=self.data_format == "channels_first",
            rounds=not tf.as_dtype(self.dtype).is_floating,
        )

    def _statistics(self) -> tuple[np.ndarray | None, ...]:
        """Mean, standard deviation and whitening matrix, if asked for."""

        def wanted(setting: str, value: np.ndarray | None) -> Any:
            if not getattr(self, setting):
                return None
            if value is None:
                warnings.warn(
                    f"{setting} is left out, since it needs statistics: "
                    "call fit(x) first",
                    stacklevel=4,
                )
            return value

        return (
            wanted("featurewise_center", self.mean),
            wanted("featurewise_std_normalization", self.std),
            wanted("zca_whitening", self.zca_whitening_matrix),
        )

    # -- single images ----------------------------------------------------

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """Applies in NumPy what follows the augmentation.

        Args:
          x: floating-point images, changed in place. The samplewise
            statistics are taken over all of ``x``.

        Returns:
          The result, which is ``x`` itself unless a step made a new array.
        """
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= np.mean(x)
        if self.samplewise_std_normalization:
            x /= np.std(x) + EPSILON
        mean, std, whitening = self._statistics()
        if mean is not None:
            x -= mean
        if std is not None:
            x /= std + EPSILON
        if whitening is not None:
            flat = x.reshape(-1, math.prod(x.shape[-3:]))
            x = (flat @ whitening).reshape(x.shape)
        return x

    def get_random_transform(
        self, img_shape: Sequence[int], seed: int | None = None
    ) -> dict[str, Any]:
        """Draws the parameters of one image.

        Args:
          img_shape: the three sizes of the image.
          seed: in [0, 2**63); None takes a seed from NumPy's global generator.

        Returns:
          theta and shear in degrees; tx (columns) and ty (rows) in pixels;
          zx and zy; flip_horizontal and flip_vertical;
          channel_shift_intensity and brightness, None if not asked for.
        """
        key = take_key() if seed is None else None
        if key is None:
            seed = fresh_seed() if seed is None else draws.check_seed(seed)
            key = draws.example_keys(seed, 0, 0)
        shape: Any = tuple(img_shape)
        return draw_one(self.augmentation(), key, shape)

    def apply_transform(
        self, x: np.ndarray, transform_parameters: dict[str, Any]
    ) -> np.ndarray:
        """Applies parameters to one image.

        Args:
          x: an image of rank 3.
          transform_parameters: as ``get_random_transform`` returns them; a
            missing parameter changes nothing.

        Returns:
          An image of the same shape and dtype, except that channel shift and
          brightness turn integers into float32.
        """
        x = np.asarray(x)
        if x.ndim != 3:
            raise ValueError(
                f"Expected an image of rank 3, got the shape {x.shape}"
            )
        dtype = x.dtype
        values = ("channel_shift_intensity", "brightness")
        integers = not np.issubdtype(dtype, np.floating)
        if integers and any(
            transform_parameters.get(name) is not None for name in values
        ):
            dtype = np.dtype(np.float32)
        result = apply_one(
            dataclasses.replace(self.augmentation(), rounds=integers),
            x,
            transform_parameters,
        )
        return result.astype(dtype)

    def random_transform(
        self, x: np.ndarray, seed: int | None = None
    ) -> np.ndarray:
        """Draws and applies parameters; images of one seed move alike."""
        parameters = self.get_random_transform(x.shape, seed)
        return self.apply_transform(x, parameters)

    # -- statistics -------------------------------------------------------

    def fit(
        self,
        x: Any,
        augment: bool = False,
        rounds: int = 1,
        seed: int | None = None,
    ) -> None:
        """Computes what featurewise normalisation and whitening need.

        Images are rescaled first. preprocessing_function and samplewise
        normalisation are not applied, as in Keras' class.

        Args:
          x: images of rank 4.
          augment: whether to measure augmented images.
          rounds: how often each image is augmented.
          seed: of the augmentation, as in ``flow``.
        """
        x = np.array(x, self.dtype)
        check_images(x, self.data_format)
        if self.rescale:
            x *= self.rescale
        if augment:
            seed = fresh_seed() if seed is None else draws.check_seed(seed)
            x = statistics.augmented(self, x, rounds, seed)
        axes = (0, self.row_axis, self.col_axis)
        if self.featurewise_center:
            self.mean = statistics.mean(x, axes)
            x -= self.mean
        if self.featurewise_std_normalization:
            centred = x - statistics.mean(x, axes)
            self.std = np.sqrt(statistics.mean(np.square(centred), axes))
            x /= self.std + EPSILON
        if self.zca_whitening:
            self.zca_whitening_matrix = statistics.whitening_matrix(
                x, self.zca_epsilon
            )


# Kept, so that a method that is replaced on the class counts as overridden.
_ORIGINALS = {
    name: getattr(ImageTransformer, name)
    for name in (
        "get_random_transform",
        "apply_transform",
        "random_transform",
        "standardize",
    )
}
