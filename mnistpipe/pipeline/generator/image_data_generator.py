"""A drop-in for Keras' ImageDataGenerator: change the import, keep the code.

    from mnistpipe.pipeline.generator import ImageDataGenerator

    augment = ImageDataGenerator(rotation_range=10, zoom_range=0.1)
    model.fit(augment.flow(x_train, y_train, batch_size=64), epochs=5)

Every argument keeps its unit, its default, its place in the order and its
quirk; a batch is computed at once, by a program that XLA compiles. Pictures
are [N, H, W, C] or [N, C, H, W], any real dtype, any range of values.

What differs from Keras' class:

| | Keras' class | here |
|---|---|---|
| random numbers | NumPy's, in sequence | by (seed, epoch, example): other numbers from the same distributions; the same ones whatever the batch size, and whichever other arguments are set |
| NumPy's global generator | reseeded by every batch | read once, by ``seed=None`` |
| ``iterator[i]`` | new pictures when asked again | the same until the epoch ends |
| interpolation_order | SciPy's 0 to 5 | 0 and 1 |
| fill_mode | all of SciPy's | nearest, constant, reflect, wrap |
| precision | coordinates in float64 | float32: within 1e-3 of the range of values, but at a discontinuity (an edge of "constant", a rounding) |
| channels_first with brightness_range | an error | works |
| ``flow(subset=…)`` with sample_weight | weights of other examples | their own |
| ``apply_transform`` | may return its argument itself | a copy |
| ``index_generator`` | a Python generator | none |
| ``generator.standardize = f`` on an instance | used | not used; override it in a subclass |
| names of saved files | a random number at the end | a number by (seed, epoch, example) |
| processes (``use_multiprocessing``) | work | an error: TensorFlow does not survive a fork. Threads work |
| not a number, impossible range | an error later, or none | an error at once |
"""  # noqa: E501

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.generator import iterators, legacy
from mnistpipe.pipeline.generator.folders import (
    DataFrameIterator,
    DirectoryIterator,
)
from mnistpipe.pipeline.generator.iterators import (
    NumpyArrayIterator,
    fresh_seed,
)
from mnistpipe.pipeline.transforms.affine import AXES

# SciPy's spline orders that are not splines.
_INTERPOLATIONS = {0: "nearest", 1: "bilinear"}
_FIT_BATCH = 256

# Keras' own, here because scripts import them in the same line.
array_to_img = keras.utils.array_to_img
img_to_array = keras.utils.img_to_array
load_img = keras.utils.load_img

__all__ = ["ImageDataGenerator", "array_to_img", "img_to_array", "load_img"]


class ImageDataGenerator:
    """Batches of augmented pictures, as Keras' class of that name.

    What is done, in this order: one affine resampling (rotation, shifts,
    shear, zoom), channel shift, flips, brightness; preprocessing_function;
    rescale; samplewise, then featurewise normalisation; ZCA whitening.

    Args:
      featurewise_center: subtract the mean of each channel, from ``fit``.
      samplewise_center: subtract each picture's mean, over all of it.
      featurewise_std_normalization: divide by the deviation of each
        channel, from ``fit``; turns featurewise_center on.
      samplewise_std_normalization: divide by each picture's deviation;
        turns samplewise_center on.
      zca_whitening: whiten by the matrix from ``fit``; turns
        featurewise_center on, featurewise_std_normalization off.
      zca_epsilon: added to the singular values.
      rotation_range: degrees, uniform ± this; positive is
        counter-clockwise.
      width_shift_range: float below 1: uniform ± this fraction of the
        width; float from 1 on: uniform ± pixels; int n: one of −(n − 1) …
        n − 1 pixels; list: one of its numbers, to either side, a fraction
        if all are below 1. Moves the rows, unless axes="documented".
      height_shift_range: likewise, of the height. Moves the columns,
        unless axes="documented".
      brightness_range: (low, high) of a factor, applied by Pillow's
        arithmetic to uint8: values are cut to integers, so pictures in
        [0, 1] come out nearly black.
      shear_range: degrees, uniform ± this.
      zoom_range: z for [1 − z, 1 + z], or (low, high); drawn for columns
        and rows apart; above 1 the picture shrinks.
      channel_shift_range: uniform ± this added to all channels, cut to the
        picture's own range of values.
      fill_mode: what lies outside: "nearest", "constant", "reflect" or
        "wrap", as in scipy.ndimage.
      cval: that of "constant".
      horizontal_flip: every other picture.
      vertical_flip: every other picture.
      rescale: factor, after preprocessing_function; None or 0: none.
      preprocessing_function: from one NumPy picture to another of the same
        shape, run per picture on the host.
      data_format: "channels_last" or "channels_first"; None: Keras'.
      validation_split: share of the examples, the first ones, that
        subset="validation" names.
      interpolation_order: 0 (nearest neighbour) or 1 (bilinear).
      dtype: of the pictures yielded; None: Keras' floatx.
      axes: "keras": shifts move along the axis that the name does not say,
        and a picture that is not square turns about row W/2 − ½, column
        H/2 − ½, as in Keras' class; "documented": along the named axis,
        about the centre.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: float | int | Sequence[float] = 0.0,
        height_shift_range: float | int | Sequence[float] = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: float | Sequence[float] = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[np.ndarray], Any] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: str | None = None,
        *,
        axes: str = "keras",
    ) -> None:
        self.featurewise_center = featurewise_center
        self.samplewise_center = samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening = zca_whitening
        self.zca_epsilon = _number("zca_epsilon", zca_epsilon)
        self.rotation_range = rotation_range
        self.width_shift_range = width_shift_range
        self.height_shift_range = height_shift_range
        self.brightness_range = brightness_range
        self.shear_range = shear_range
        if isinstance(zoom_range, numbers.Real):
            zoom_range = [1 - zoom_range, 1 + zoom_range]
        self.zoom_range = list(_pair("zoom_range", zoom_range))
        self.channel_shift_range = channel_shift_range
        self.fill_mode = fill_mode
        self.cval = cval
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.rescale = rescale
        self.preprocessing_function = preprocessing_function
        self.data_format = data_format or keras.backend.image_data_format()
        self.interpolation_order = interpolation_order
        self.dtype = dtype or keras.backend.floatx()
        self.axes = axes
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.zca_whitening_matrix: np.ndarray | None = None
        self._validation_split = validation_split
        self._cached: tuple[Any, Any] = (None, None)
        self._set_axes()
        self._check()
        self._turn_on_what_is_implied()

    def _set_axes(self) -> None:
        _choice(
            "data_format", self.data_format, ("channels_last", "channels_first")
        )
        if self.data_format == "channels_last":
            self.row_axis, self.col_axis, self.channel_axis = 1, 2, 3
        else:
            self.channel_axis, self.row_axis, self.col_axis = 1, 2, 3

    def _check(self) -> None:
        share = _number("validation_split", self._validation_split or 0.0)
        if not 0 <= share < 1:
            raise ValueError(
                f"Expected validation_split to lie in [0, 1). Received: {share}"
            )
        self._validation_split = share
        function = self.preprocessing_function
        if function is not None and not callable(function):
            raise ValueError(
                "Expected preprocessing_function to be a function. "
                f"Received: {function!r}"
            )
        _number("rescale", self.rescale or 0.0)
        self._augmentation()

    def _turn_on_what_is_implied(self) -> None:
        def override(name: str, value: bool, by: str) -> None:
            if getattr(self, name) != value:
                setattr(self, name, value)
                state = "on" if value else "off"
                warnings.warn(f"{by} turns {name} {state}", stacklevel=4)

        if self.zca_whitening:
            override("featurewise_center", True, "zca_whitening")
            override("featurewise_std_normalization", False, "zca_whitening")
        if self.featurewise_std_normalization:
            name = "featurewise_std_normalization"
            override("featurewise_center", True, name)
        if self.samplewise_std_normalization:
            name = "samplewise_std_normalization"
            override("samplewise_center", True, name)

    # -- iterators ------------------------------------------------------

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> NumpyArrayIterator:
        """Batches out of arrays.

        Args:
          x: pictures of rank 4, or (pictures, other inputs): those pass
            unchanged, an array or a list of arrays.
          y: targets, or None.
          batch_size: pictures a batch.
          shuffle: a new order each epoch.
          sample_weight: a weight for each picture, or None.
          seed: of order and draws, in [0, 2**63). Iterators of the same
            seed and length move their pictures alike: images and masks.
          save_to_dir: a folder to write every picture to, or None.
          save_prefix: of those files' names.
          save_format: of those files.
          ignore_class_split: let the two subsets have different classes.
          subset: "training" or "validation", if there is a
            validation_split.

        Returns:
          An iterator of pictures, (pictures, targets) or (pictures,
          targets, weights).
        """
        return NumpyArrayIterator(
            x,
            y,
            self,
            batch_size=batch_size,
            shuffle=shuffle,
            sample_weight=sample_weight,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            ignore_class_split=ignore_class_split,
            subset=subset,
            dtype=self.dtype,
        )

    def flow_from_directory(
        self,
        directory: str | os.PathLike[str],
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> DirectoryIterator:
        """Batches out of a folder that has a folder for each class.

        Args:
          directory: holds the classes' folders.
          target_size: (height, width) that every picture is resized to.
          color_mode: "rgb", "rgba" or "grayscale".
          classes: folders to read, in the order of their numbers; None:
            all, by name.
          class_mode: of the targets: "categorical" (one-hot), "binary" or
            "sparse" (numbers), "input" (the pictures themselves), or None
            (no targets).
          batch_size: as in ``flow``.
          shuffle: as in ``flow``.
          seed: as in ``flow``.
          save_to_dir: as in ``flow``.
          save_prefix: as in ``flow``.
          save_format: as in ``flow``.
          follow_links: into folders within the classes' folders.
          subset: "training" or "validation", split within each class.
          interpolation: of the resizing: "nearest", "bilinear", "bicubic",
            "lanczos", "box" or "hamming".
          keep_aspect_ratio: crop to target_size's proportions first.

        Returns:
          An iterator of (pictures, targets), or of pictures.
        """
        return DirectoryIterator(
            directory,
            self,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            follow_links=follow_links,
            subset=subset,
            interpolation=interpolation,
            keep_aspect_ratio=keep_aspect_ratio,
            dtype=self.dtype,
        )

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None = None,
        x_col: str = "filename",
        y_col: str | list[str] = "class",
        weight_col: str | None = None,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        **kwargs: Any,
    ) -> DataFrameIterator:
        """Batches out of files that a pandas DataFrame names.

        Args:
          dataframe: a row for each picture.
          directory: that the names are relative to; None: they are paths.
          x_col: the column of names.
          y_col: the column of targets, or a list of columns.
          weight_col: the column of sample weights, or None.
          target_size: as in ``flow_from_directory``.
          color_mode: as in ``flow_from_directory``.
          classes: those to keep, in the order of their numbers; None: all,
            by name.
          class_mode: as in ``flow_from_directory``, where "categorical"
            takes lists of classes too; or "raw" (the values of y_col), or
            "multi_output" (a list of them, column by column).
          batch_size: as in ``flow``.
          shuffle: as in ``flow``.
          seed: as in ``flow``.
          save_to_dir: as in ``flow``.
          save_prefix: as in ``flow``.
          save_format: as in ``flow``.
          subset: "training" or "validation".
          interpolation: as in ``flow_from_directory``.
          validate_filenames: leave out names that are not pictures' files.
          **kwargs: arguments that Keras' class gave up: has_ext, sort,
            drop_duplicates.

        Returns:
          An iterator of pictures, (pictures, targets) or (pictures,
          targets, weights).
        """
        gone = ("has_ext", "sort", "drop_duplicates")
        for name in kwargs:
            if name not in gone:
                raise TypeError(
                    "flow_from_dataframe() got an unexpected keyword "
                    f"argument {name!r}"
                )
            warnings.warn(
                f"{name} does nothing any more",
                DeprecationWarning,
                stacklevel=2,
            )
        if class_mode == "other":
            warnings.warn(
                'class_mode="other" is called "raw" now',
                DeprecationWarning,
                stacklevel=2,
            )
            class_mode = "raw"
        return DataFrameIterator(
            dataframe,
            directory,
            self,
            x_col=x_col,
            y_col=y_col,
            weight_col=weight_col,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            subset=subset,
            interpolation=interpolation,
            validate_filenames=validate_filenames,
            dtype=self.dtype,
        )

    # -- what iterators ask for -----------------------------------------

    def picturing(self) -> legacy.Picturing | legacy.ByHand:
        """How a batch is made, by the attributes as they are now."""
        names = ("get_random_transform", "apply_transform", "standardize")
        if any(
            getattr(type(self), name) is not getattr(ImageDataGenerator, name)
            for name in names
        ):
            return legacy.ByHand(self, self.dtype)
        statistics = self._statistics()
        settings = (
            self._augmentation(),
            self.preprocessing_function,
            self.rescale,
            self.samplewise_center,
            self.samplewise_std_normalization,
            self.dtype,
        )
        known, picturing = self._cached
        if known is not None:
            same = all(
                a is b for a, b in zip(known[1], statistics, strict=True)
            )
            if same and known[0] == settings:
                return picturing
        picturing = self._new_picturing(settings, statistics)
        self._cached = ((settings, statistics), picturing)
        return picturing

    @staticmethod
    def _new_picturing(
        settings: tuple[Any, ...], statistics: tuple[Any, ...]
    ) -> legacy.Picturing:
        augmentation, function, rescale, center, std, dtype = settings
        if not tf.as_dtype(dtype).is_floating and any(
            (rescale, center, std, *(part is not None for part in statistics))
        ):
            raise ValueError(
                "Expected a floating dtype where pictures are rescaled or "
                f"normalised. Received: {dtype!r}"
            )
        standardise = legacy.standardisation(
            rescale=rescale,
            center=bool(center),
            std=bool(std),
            statistics=statistics,
        )
        return legacy.Picturing(augmentation, function, standardise, dtype)

    def _augmentation(self) -> legacy.LegacyAugmentation:
        brightness = self.brightness_range
        if brightness is not None:
            brightness = _pair("brightness_range", brightness)
        order = self.interpolation_order
        if order not in _INTERPOLATIONS:
            raise ValueError(
                "Expected interpolation_order to be 0 (nearest neighbour) or "
                f"1 (bilinear). Received: {order!r}"
            )
        return legacy.LegacyAugmentation(
            rotation=_number("rotation_range", self.rotation_range or 0.0),
            height_shift=legacy.Shift.of(
                "height_shift_range", self.height_shift_range
            ),
            width_shift=legacy.Shift.of(
                "width_shift_range", self.width_shift_range
            ),
            shear=_number("shear_range", self.shear_range or 0.0),
            zoom=_pair("zoom_range", self.zoom_range),
            horizontal_flip=bool(self.horizontal_flip),
            vertical_flip=bool(self.vertical_flip),
            channel_shift=_number(
                "channel_shift_range", self.channel_shift_range or 0.0
            ),
            brightness=brightness,
            fill_mode=_choice("fill_mode", self.fill_mode, warp.FILL_MODES),
            cval=_number("cval", self.cval),
            interpolation=_INTERPOLATIONS[order],
            axes=_choice("axes", self.axes, AXES),
            channels_first=self.data_format == "channels_first",
            rounds=not tf.as_dtype(self.dtype).is_floating,
        )

    def _statistics(self) -> tuple[np.ndarray | None, ...]:
        """Mean, deviation and whitening matrix, where they are wanted."""

        def wanted(setting: str, value: np.ndarray | None) -> Any:
            if not getattr(self, setting):
                return None
            if value is None:
                warnings.warn(
                    f"{setting} is left out: it needs statistics. Call "
                    "fit(x) first",
                    stacklevel=4,
                )
            return value

        return (
            wanted("featurewise_center", self.mean),
            wanted("featurewise_std_normalization", self.std),
            wanted("zca_whitening", self.zca_whitening_matrix),
        )

    # -- one picture at a time ------------------------------------------

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """Everything that follows the augmentation, in NumPy.

        Args:
          x: floating pictures; changed in place. The samplewise statistics
            are those of all of ``x``.

        Returns:
          The result: ``x`` itself, where nothing made another array.
        """
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= np.mean(x)
        if self.samplewise_std_normalization:
            x /= np.std(x) + legacy.EPSILON
        mean, std, whitening = self._statistics()
        if mean is not None:
            x -= mean
        if std is not None:
            x /= std + legacy.EPSILON
        if whitening is not None:
            flat = x.reshape(-1, math.prod(x.shape[-3:]))
            x = (flat @ whitening).reshape(x.shape)
        return x

    def get_random_transform(
        self, img_shape: Sequence[int], seed: int | None = None
    ) -> dict[str, Any]:
        """Draws the parameters of one picture.

        Args:
          img_shape: of the picture, three sizes.
          seed: in [0, 2**63); None takes one from NumPy's global generator.

        Returns:
          theta and shear in degrees; tx (columns) and ty (rows) in pixels;
          zx and zy; flip_horizontal and flip_vertical;
          channel_shift_intensity and brightness, None if not asked for.
        """
        seed = fresh_seed() if seed is None else draws.check_seed(seed)
        return legacy.draw_one(self._augmentation(), seed, tuple(img_shape))

    def apply_transform(
        self, x: np.ndarray, transform_parameters: dict[str, Any]
    ) -> np.ndarray:
        """Applies parameters to one picture.

        Args:
          x: a picture of rank 3.
          transform_parameters: as ``get_random_transform`` gives them; one
            that is missing does nothing.

        Returns:
          A picture of the same shape; of the same dtype too, but that
          integers become float32 by channel shift or brightness.
        """
        x = np.asarray(x)
        if x.ndim != 3:
            raise ValueError(
                f"Expected a picture of rank 3. Received: shape {x.shape}"
            )
        dtype = x.dtype
        values = ("channel_shift_intensity", "brightness")
        integers = not np.issubdtype(dtype, np.floating)
        if integers and any(
            transform_parameters.get(name) is not None for name in values
        ):
            dtype = np.float32
        result = legacy.apply_one(
            dataclasses.replace(self._augmentation(), rounds=integers),
            x,
            transform_parameters,
        )
        return result.astype(dtype)

    def random_transform(
        self, x: np.ndarray, seed: int | None = None
    ) -> np.ndarray:
        """Draws and applies: pictures of the same seed move alike."""
        parameters = self.get_random_transform(x.shape, seed)
        return self.apply_transform(x, parameters)

    # -- statistics -----------------------------------------------------

    def fit(
        self,
        x: Any,
        augment: bool = False,
        rounds: int = 1,
        seed: int | None = None,
    ) -> None:
        """Computes what featurewise normalisation and whitening need.

        Pictures are rescaled; preprocessing_function and samplewise
        normalisation are not applied, as in Keras' class.

        Args:
          x: pictures of rank 4.
          augment: whether to measure augmented pictures.
          rounds: how often each is augmented.
          seed: of the augmentation, as in ``flow``.
        """
        x = np.array(x, self.dtype)
        iterators.check_pictures(x, self.data_format)
        if self.rescale:
            x *= self.rescale
        if augment:
            x = self._augmented(x, rounds, seed)
        axes = (0, self.row_axis, self.col_axis)
        if self.featurewise_center:
            self.mean = _mean(x, axes)
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = np.sqrt(_mean(np.square(x - _mean(x, axes)), axes))
            x /= self.std + legacy.EPSILON
        if self.zca_whitening:
            flat = x.reshape(len(x), -1)
            u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
            scale = np.sqrt(len(x)) / (s + self.zca_epsilon)
            self.zca_whitening_matrix = (u * scale) @ u.T

    def _augmented(
        self, x: np.ndarray, rounds: int, seed: int | None
    ) -> np.ndarray:
        seed = fresh_seed() if seed is None else draws.check_seed(seed)
        plain = legacy.Picturing(self._augmentation(), None, (), self.dtype)
        size = min(_FIT_BATCH, len(x))
        result = np.empty((rounds, *x.shape), x.dtype)
        for round_ in range(rounds):
            for start in range(0, len(x), size):
                index = np.arange(start, start + size) % len(x)
                count = min(size, len(x) - start)
                with tf.device("CPU:0"):
                    keys = draws.example_keys(seed, round_, index)
                    pictures = plain(tf.constant(x[index]), keys, count)
                result[round_, start : start + count] = pictures.numpy()
        return result.reshape(-1, *x.shape[1:])


def _mean(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """[C, 1, 1] or [1, 1, C], summed in float64, in the dtype of ``x``."""
    mean = np.mean(x, axes, np.float64, keepdims=True)
    return mean[0].astype(x.dtype)


def _number(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(
            f"Expected {name} to be a finite number. Received: {value!r}"
        )
    return float(value)


def _pair(name: str, value: Any) -> tuple[float, float]:
    good = isinstance(value, (tuple, list, np.ndarray)) and len(value) == 2
    if not good or not all(
        isinstance(bound, numbers.Real) and math.isfinite(bound)
        for bound in value
    ):
        also = "a finite number or " if name == "zoom_range" else ""
        raise ValueError(
            f"Expected {name} to be {also}(low, high). Received: {value!r}"
        )
    return float(value[0]), float(value[1])


def _choice(name: str, value: Any, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ValueError(
            f"Expected {name} to be one of {', '.join(choices)}. "
            f"Received: {value!r}"
        )
    return value
