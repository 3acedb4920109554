"""A drop-in for Keras' ImageDataGenerator: change the import, keep the code.

    from mnistpipe.pipeline import ImageDataGenerator

    augment = ImageDataGenerator(rotation_range=10, zoom_range=0.1)
    model.fit(augment.flow(x_train, y_train, batch_size=64), epochs=5)

Images are [N, H, W, C] or [N, C, H, W] of any real dtype and any range of
values.
"""

from __future__ import annotations

import numbers
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from mnistpipe.pipeline.generator.arguments import number, pair
from mnistpipe.pipeline.generator.arrays import NumpyArrayIterator
from mnistpipe.pipeline.generator.folders import DirectoryIterator
from mnistpipe.pipeline.generator.tables import DataFrameIterator
from mnistpipe.pipeline.generator.transformer import ImageTransformer


class ImageDataGenerator(ImageTransformer):
    """Batches of augmented images, as Keras' class of the same name.

    Every argument keeps its unit, its default, its place in the order and its
    quirks. A program that XLA compiles computes each batch at once, in this
    order: one affine resampling (rotation, shifts, shear, zoom), channel
    shift, flips, brightness; preprocessing_function; rescale; samplewise
    normalisation, then featurewise; ZCA whitening.

    Differences from Keras' class:

    * random numbers: Keras draws from NumPy's generator in sequence. Here the
      draws depend on (seed, epoch, example) only: other numbers from the same
      distributions, the same in any batch size, and independent of the other
      arguments.
    * NumPy's global generator: Keras reseeds it in every batch. Here
      ``seed=None`` reads it once. A preprocessing_function, an overridden
      method and a subclass' batch method may draw from it: it is seeded for
      them by (seed, epoch, example) and restored afterwards.
    * iterator[i]: Keras makes new images at every call. Here the images are
      the same until the epoch ends.
    * interpolation_order: Keras takes SciPy's 0 to 5. Here 0 and 1.
    * fill_mode: Keras takes all of SciPy's modes. Here nearest, constant,
      reflect and wrap.
    * precision: Keras computes coordinates in float64. Here in float32: the
      values agree within 1e-3 of their range, except at a discontinuity (an
      edge of "constant", a rounding).
    * channels_first with brightness_range: Keras fails. Here it works.
    * flow(subset=…) with sample_weight: Keras takes the weights of other
      examples. Here the weights are those of the examples.
    * apply_transform: Keras may return its argument itself. Here a copy.
    * overridden methods: as in Keras, get_random_transform, apply_transform,
      standardize and an iterator's _get_batches_of_transformed_samples,
      _set_index_array and next may be overridden, or replaced on an instance.
      The images are then made one by one, at Keras' speed. dataset() refuses
      iterators with overridden methods by name. on_epoch_end must call
      super().on_epoch_end(), which starts the next epoch's draws.
    * saved files: Keras ends their names with a random number. Here the
      number depends on (seed, epoch, example).
    * image files that cannot be read: Keras' error omits the path. Here
      PIL.UnidentifiedImageError names it.
    * use_multiprocessing: Keras forks processes. Here a forked process is an
      error, since TensorFlow does not survive a fork. Threads work.
    * wrong arguments: Keras fails late or never. Here values that are not
      numbers and impossible ranges are errors at once.

    Args:
      featurewise_center: subtract each channel's mean, which ``fit`` computes.
      samplewise_center: subtract each image's mean over all its values.
      featurewise_std_normalization: divide by each channel's standard
        deviation, which ``fit`` computes; turns featurewise_center on.
      samplewise_std_normalization: divide by each image's standard deviation;
        turns samplewise_center on.
      zca_whitening: whiten by the matrix that ``fit`` computes; turns
        featurewise_center on and featurewise_std_normalization off.
      zca_epsilon: added to the singular values.
      rotation_range: degrees; the angle is uniform in ± this value, positive
        angles are counter-clockwise.
      width_shift_range: float below 1: uniform in ± this fraction of the
        width; float from 1 on: uniform in ± this many pixels; int n: one of
        −(n − 1) … n − 1 pixels; list: one of its numbers, to either side, a
        fraction if all are below 1. Moves the rows, as in Keras' class,
        unless axes="documented".
      height_shift_range: likewise, of the height. Moves the columns unless
        axes="documented".
      brightness_range: (low, high) of a factor that is applied by Pillow's
        arithmetic to uint8: values are truncated to integers, so images in
        [0, 1] become nearly black.
      shear_range: degrees; the angle is uniform in ± this value.
      zoom_range: z for [1 − z, 1 + z], or (low, high); drawn for columns and
        rows separately; a factor above 1 shrinks the image.
      channel_shift_range: uniform in ± this value, added to all channels and
        clipped to the image's own range of values.
      fill_mode: how to fill what lies outside the image: "nearest",
        "constant", "reflect" or "wrap", as in scipy.ndimage.
      cval: the value that "constant" fills in.
      horizontal_flip: whether to flip half of the images.
      vertical_flip: whether to flip half of the images.
      rescale: factor, applied after preprocessing_function; None or 0: none.
      preprocessing_function: from one NumPy image to another of the same
        shape; called for each image on the host.
      data_format: "channels_last" or "channels_first"; None: Keras' setting.
      validation_split: fraction of the examples, the first ones, in the
        subset "validation".
      interpolation_order: 0 (nearest neighbour) or 1 (bilinear).
      dtype: of the images that iterators yield; None: Keras' floatx.
      axes: "keras": shifts move along the other axis than the name says, and
        an image that is not square turns about row W/2 − ½, column H/2 − ½,
        as in Keras' class. "documented": shifts move along the named axis,
        and images turn about their centre.
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
        self.zca_epsilon = number("zca_epsilon", zca_epsilon)
        self.rotation_range = rotation_range
        self.width_shift_range = width_shift_range
        self.height_shift_range = height_shift_range
        self.brightness_range = brightness_range
        self.shear_range = shear_range
        zoom: Any = zoom_range
        if isinstance(zoom, numbers.Real):
            zoom = [1 - zoom, 1 + zoom]
        self.zoom_range = list(pair("zoom_range", zoom))
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
        super().__init__(validation_split)

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
        """Returns batches of images from arrays.

        Args:
          x: images of rank 4, or (images, other inputs). The other inputs, an
            array or a list of arrays, are not augmented.
          y: targets, or None.
          batch_size: number of images in a batch.
          shuffle: whether each epoch has a new order.
          sample_weight: a weight for each image, or None.
          seed: of the order and the draws, in [0, 2**63). Iterators with the
            same seed and length move their images alike, such as images and
            masks.
          save_to_dir: a folder to write every image to, or None.
          save_prefix: of the names of the written files.
          save_format: of the written files.
          ignore_class_split: whether the two subsets may have different
            classes.
          subset: "training" or "validation", with a validation_split.

        Returns:
          An iterator of images, (images, targets) or (images, targets,
          weights).
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
        """Returns batches of images from a folder with a subfolder per class.

        Args:
          directory: the folder that holds the classes' folders.
          target_size: (height, width) of every image after resizing.
          color_mode: "rgb", "rgba" or "grayscale".
          classes: folders to read, in the order of the class numbers; None:
            all folders, ordered by name.
          class_mode: form of the targets: "categorical" (one-hot), "binary"
            or "sparse" (numbers), "input" (the images themselves), or None
            (no targets).
          batch_size: as in ``flow``.
          shuffle: as in ``flow``.
          seed: as in ``flow``.
          save_to_dir: as in ``flow``.
          save_prefix: as in ``flow``.
          save_format: as in ``flow``.
          follow_links: whether to follow links to folders within a class.
          subset: "training" or "validation"; each class is split.
          interpolation: of the resizing: "nearest", "bilinear", "bicubic",
            "lanczos", "box" or "hamming".
          keep_aspect_ratio: whether to crop to the proportions of target_size
            first.

        Returns:
          An iterator of (images, targets), or of images.
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
        """Returns batches of images from files that a DataFrame names.

        Args:
          dataframe: a pandas DataFrame with a row for each image.
          directory: the folder of the names; None: the names are paths.
          x_col: the column of names.
          y_col: the column of targets, or a list of columns.
          weight_col: the column of sample weights, or None.
          target_size: as in ``flow_from_directory``.
          color_mode: as in ``flow_from_directory``.
          classes: classes to keep, in the order of the class numbers; None:
            all classes, ordered by name.
          class_mode: as in ``flow_from_directory``, and "categorical" takes
            lists of classes too; or "raw" (the values of y_col), or
            "multi_output" (a list with the values of each column).
          batch_size: as in ``flow``.
          shuffle: as in ``flow``.
          seed: as in ``flow``.
          save_to_dir: as in ``flow``.
          save_prefix: as in ``flow``.
          save_format: as in ``flow``.
          subset: "training" or "validation".
          interpolation: as in ``flow_from_directory``.
          validate_filenames: whether to leave out names that are not image
            files.
          **kwargs: arguments that Keras' class ignores: has_ext, sort,
            drop_duplicates.

        Returns:
          An iterator of images, (images, targets) or (images, targets,
          weights).
        """
        gone = ("has_ext", "sort", "drop_duplicates")
        for name in kwargs:
            if name not in gone:
                raise TypeError(
                    "flow_from_dataframe() got an unexpected keyword "
                    f"argument {name!r}"
                )
            warnings.warn(
                f"{name} is ignored, as in Keras' class",
                DeprecationWarning,
                stacklevel=2,
            )
        if class_mode == "other":
            warnings.warn(
                'class_mode="other" is deprecated: use "raw"',
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
