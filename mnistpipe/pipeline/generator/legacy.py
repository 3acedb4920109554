"""What ImageDataGenerator does to a picture, for whole batches at a time.

``LegacyAugmentation`` draws and applies the random part, ``standardisation``
is the rest, in the order, the units and with the quirks of Keras' class; a
``Picturing`` runs them, with the user's own function between the two.
Pictures are [B, H, W, C], or [B, C, H, W] where ``channels_first`` is set,
uint8 or float, in any range of values.
"""

from __future__ import annotations

import dataclasses
import functools
import numbers
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.transform import Compose, Drawn, Shape, Transform
from mnistpipe.pipeline.transforms.affine import affine_matrix
from mnistpipe.pipeline.transforms.normalize import (
    SamplewiseNormalize,
    ZCAWhitening,
)
from mnistpipe.pipeline.transforms.pixels import Rescale

# The names that ImageDataGenerator.get_random_transform gives to what it
# draws, and the values at which they do nothing.
NEUTRAL = {
    "theta": 0.0,
    "tx": 0.0,
    "ty": 0.0,
    "shear": 0.0,
    "zx": 1.0,
    "zy": 1.0,
    "flip_horizontal": False,
    "flip_vertical": False,
    "channel_shift_intensity": None,
    "brightness": None,
}
_MOVING = ("theta", "tx", "ty", "shear", "zx", "zy")

# Both shifts cost two draws: how far, and to which side.
_DRAWS = 12

EPSILON = 1e-6  # what Keras' class adds to a standard deviation


@dataclasses.dataclass(frozen=True)
class Shift:
    """What width_shift_range or height_shift_range asks for.

    Attributes:
      choices: draw one of these, and a side; empty: draw from a range.
      reach: of the range, uniform in [−reach, reach).
      fraction: of the picture's size, or pixels.
    """

    choices: tuple[float, ...] = ()
    reach: float = 0.0
    fraction: bool = True

    @classmethod
    def of(cls, name: str, value: Any) -> Shift:
        """Reads the argument ``name`` of ImageDataGenerator."""
        wrong = ValueError(
            f"Expected {name} to be a float (a fraction below 1, pixels from "
            "1 on), an int of at least 0 (pixels), or a list of numbers. "
            f"Received: {value!r}"
        )
        if value is None:
            return cls()
        try:
            values = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise wrong from None
        if values.ndim > 1 or not np.all(np.isfinite(values)):
            raise wrong
        if values.ndim == 1:
            fraction = bool(values.size) and bool(np.max(values) < 1)
            return cls(tuple(values.tolist()), 0.0, fraction)
        if isinstance(value, numbers.Integral):
            if value < 0:
                raise wrong
            return cls(tuple(range(value)), 0.0, False)
        if values <= -1:
            raise wrong
        return cls((), abs(float(values)), bool(values < 1))

    def __bool__(self) -> bool:
        return any(self.choices) or self.reach != 0

    def draw(
        self, how_far: tf.Tensor, side: tf.Tensor, size: warp.Size
    ) -> tf.Tensor:
        """float32[B] pixels, from two uniform draws and the size."""
        if self.choices:
            count = len(self.choices)
            # Near 1 the product may round up to the count itself.
            place = tf.minimum(tf.cast(how_far * count, tf.int32), count - 1)
            pixels = tf.gather(tf.constant(self.choices, tf.float32), place)
            pixels *= tf.where(side < 0.5, -1.0, 1.0)
        else:
            pixels = _between(how_far, -self.reach, self.reach)
        return pixels * tf.cast(size, tf.float32) if self.fraction else pixels


def _between(uniform: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + uniform * (high - low)


@dataclasses.dataclass(frozen=True, repr=False)
class LegacyAugmentation(Transform):
    """The random part of ImageDataGenerator, drawn its way.

    Each parameter has its own draw of an example's key: what one generator
    draws does not depend on which other parameters it has, so that pictures
    and masks with the same seed move alike.

    Attributes:
      rotation: degrees, uniform ± this.
      height_shift: as ``Shift``.
      width_shift: as ``Shift``.
      shear: degrees, uniform ± this.
      zoom: (low, high), drawn for x and y apart.
      horizontal_flip: every other time.
      vertical_flip: every other time.
      channel_shift: uniform ± this, in the pictures' range of values.
      brightness: None, or (low, high) of the factor.
      fill_mode: one of warp.FILL_MODES.
      cval: that of "constant".
      interpolation: "bilinear" or "nearest".
      axes: "keras" or "documented".
      channels_first: whether pictures are [B, C, H, W].
      rounds: whether values are integers once moved.
    """

    rotation: float = 0.0
    height_shift: Shift = Shift()
    width_shift: Shift = Shift()
    shear: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    horizontal_flip: bool = False
    vertical_flip: bool = False
    channel_shift: float = 0.0
    brightness: tuple[float, float] | None = None
    fill_mode: str = "nearest"
    cval: float = 0.0
    interpolation: str = "bilinear"
    axes: str = "keras"
    channels_first: bool = False
    rounds: bool = False

    @property
    def needs_keys(self) -> bool:
        """Whether anything is drawn."""
        return any(
            (
                self._moves,
                self.horizontal_flip,
                self.vertical_flip,
                self.channel_shift,
                self.brightness is not None,
            )
        )

    @property
    def _zooms(self) -> bool:
        return tuple(self.zoom) != (1.0, 1.0)

    @property
    def _moves(self) -> bool:
        shifts = self.height_shift or self.width_shift
        return bool(self.rotation or shifts or self.shear or self._zooms)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws under Keras' names, only what is not neutral.

        Args:
          rng: the draws that belong to this transform.
          shape: of a picture, in its own layout.
        """
        return self.parameters(rng.uniform(_DRAWS), shape)

    def parameters(self, uniform: tf.Tensor, shape: Shape) -> Drawn:
        """Turns float32[B, 12] uniform draws into parameters."""
        height, width = shape[1:] if self.channels_first else shape[:2]
        drawn = {}
        if self.rotation:
            drawn["theta"] = _symmetric(uniform[:, 0], self.rotation)
        along_height = self.height_shift.draw(
            uniform[:, 1], uniform[:, 2], height
        )
        along_width = self.width_shift.draw(uniform[:, 3], uniform[:, 4], width)
        # Keras' class hands the height's shift to x, which counts columns.
        swapped = self.axes == "keras"
        if self.height_shift:
            drawn["tx" if swapped else "ty"] = along_height
        if self.width_shift:
            drawn["ty" if swapped else "tx"] = along_width
        if self.shear:
            drawn["shear"] = _symmetric(uniform[:, 5], self.shear)
        if self._zooms:
            drawn["zx"] = _between(uniform[:, 6], *self.zoom)
            drawn["zy"] = _between(uniform[:, 7], *self.zoom)
        if self.horizontal_flip:
            drawn["flip_horizontal"] = uniform[:, 8] < 0.5
        if self.vertical_flip:
            drawn["flip_vertical"] = uniform[:, 9] < 0.5
        if self.channel_shift:
            shift = _symmetric(uniform[:, 10], self.channel_shift)
            drawn["channel_shift_intensity"] = shift
        if self.brightness is not None:
            drawn["brightness"] = _between(uniform[:, 11], *self.brightness)
        return drawn

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves, shifts the channels, flips, brightens: in this order.

        Args:
          images: [B, H, W, C] or [B, C, H, W].
          drawn: some of Keras' parameters, [B] each; a missing one does
            nothing.

        Returns:
          float32, of the same shape.
        """
        if self.channels_first:
            images = tf.transpose(images, (0, 2, 3, 1))
        if any(name in drawn for name in _MOVING):
            images = self._warp(images, drawn)
        else:
            images = _flip(images, drawn)
        images = tf.cast(images, tf.float32)
        if "channel_shift_intensity" in drawn:
            shift = _per_picture(drawn["channel_shift_intensity"])
            images = _shift_channels(images, shift)
        if "brightness" in drawn:
            images = _brighten(images, _per_picture(drawn["brightness"]))
        if self.channels_first:
            images = tf.transpose(images, (0, 3, 1, 2))
        return images

    def _warp(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        height, width, _ = warp.sizes(images)
        batch = tf.shape(images)[0]

        def value(name: str) -> tf.Tensor:
            if name in drawn:
                return drawn[name]
            return tf.fill([batch], NEUTRAL[name])

        # Shifting channels and flipping commute, so that flips can be part
        # of the one resampling.
        matrix = affine_matrix(
            {
                "rotation": value("theta"),
                "shift_x": value("tx"),
                "shift_y": value("ty"),
                "shear": value("shear"),
                "zoom_x": value("zx"),
                "zoom_y": value("zy"),
                "flip_x": value("flip_horizontal"),
                "flip_y": value("flip_vertical"),
            },
            height,
            width,
            self.axes,
        )
        moved = warp.affine(
            images if self.interpolation == "bilinear" else _float32(images),
            matrix,
            fill_mode=self.fill_mode,
            fill_value=self.cval,
            interpolation=self.interpolation,
        )
        return _round_half_away(moved) if self.rounds else moved


def _symmetric(uniform: tf.Tensor, reach: float) -> tf.Tensor:
    return _between(uniform, -reach, reach)


def _float32(images: tf.Tensor) -> tf.Tensor:
    # cval may lie outside of an integer dtype's range.
    return tf.cast(images, tf.float32)


def _per_picture(parameter: tf.Tensor) -> tf.Tensor:
    return parameter[:, None, None, None]


def _round_half_away(images: tf.Tensor) -> tf.Tensor:
    """As SciPy stores an interpolated value in an array of integers."""
    return tf.sign(images) * tf.floor(tf.abs(images) + 0.5)


def _flip(images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
    for name, axis in (("flip_vertical", 1), ("flip_horizontal", 2)):
        if name in drawn:
            flipped = tf.reverse(images, [axis])
            images = tf.where(_per_picture(drawn[name]), flipped, images)
    return images


def _extremes(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return (
        tf.reduce_min(images, axis=(1, 2, 3), keepdims=True),
        tf.reduce_max(images, axis=(1, 2, 3), keepdims=True),
    )


def _shift_channels(images: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Adds, within each picture's own range of values."""
    low, high = _extremes(images)
    return tf.clip_by_value(images + shift, low, high)


def _brighten(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Scales as Pillow does pictures of uint8, whatever the range was.

    Values are cut to integers before and after, so a picture in [0, 1]
    comes out nearly black. One that leaves [0, 255] is stretched to it and
    back. A fourth channel, alpha, is only cut to integers.
    """
    low, high = _extremes(images)
    leaves = (low < 0) | (high > 255)
    shifted = images - low
    top = tf.where(high - low == 0, 1.0, high - low)
    levels = tf.floor(tf.where(leaves, shifted / top * 255, images))
    bright = tf.clip_by_value(tf.floor(levels * factor), 0, 255)
    if images.shape[-1] == 4:
        bright = tf.concat([bright[..., :3], levels[..., 3:]], axis=-1)
    return tf.where(leaves, bright / 255 * (high - low) + low, bright)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Statistics(Transform):
    """Subtracts a mean and divides by a deviation + 1e-6.

    Unlike FeaturewiseNormalize it takes arrays of any shape, which scripts
    write into a generator's ``mean`` and ``std``.

    Attributes:
      mean: float32 that broadcasts over a picture, or None.
      std: float32 that broadcasts over a picture, or None.
    """

    random: ClassVar[bool] = False

    mean: tf.Tensor | None = None
    std: tf.Tensor | None = None

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """[B, ...] → float32[B, ...]."""
        del drawn
        images = tf.cast(images, tf.float32)
        if self.mean is not None:
            images -= self.mean
        if self.std is not None:
            images /= self.std + EPSILON
        return images


def standardisation(
    *,
    rescale: float | None,
    center: bool,
    std: bool,
    statistics: tuple[np.ndarray | None, ...],
) -> tuple[Transform, ...]:
    """The part of ImageDataGenerator that draws nothing, in its order.

    Args:
      rescale: factor, or None.
      center: subtract each picture's mean.
      std: divide by each picture's deviation.
      statistics: of the data set: mean, deviation and whitening matrix,
        each an array or None.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        mean, deviation = (
            None if array is None else tf.constant(array, tf.float32)
            for array in statistics[:2]
        )
    steps = []
    if rescale:
        steps.append(Rescale(rescale))
    if center or std:
        steps.append(SamplewiseNormalize(center=center, std=std))
    if mean is not None or deviation is not None:
        steps.append(Statistics(mean, deviation))
    if statistics[2] is not None:
        steps.append(ZCAWhitening(statistics[2], mean=(0.0,)))
    return tuple(steps)


@dataclasses.dataclass(frozen=True)
class Picturing:
    """From pictures to what a generator yields, a batch at a time.

    Attributes:
      augmentation: the random part.
      function: the user's preprocessing_function, of one NumPy picture.
      standardise: the rest.
      dtype: of the result, and of what ``function`` is given.
    """

    augmentation: LegacyAugmentation
    function: Callable[[np.ndarray], np.ndarray] | None
    standardise: tuple[Transform, ...]
    dtype: str

    @functools.cached_property
    def _programs(self) -> tuple[Compose, ...]:
        if self.function is None:
            return (Compose([self.augmentation, *self.standardise]),)
        return Compose([self.augmentation]), Compose(self.standardise)

    def __call__(
        self, images: tf.Tensor, keys: tf.Tensor, count: tf.Tensor | int
    ) -> tf.Tensor:
        """The first ``count`` pictures of a batch, augmented.

        Args:
          images: [B, H, W, C] or [B, C, H, W].
          keys: uint32[B, 2].
          count: how many of the batch to keep: a partial batch is computed
            at full size, so that one compiled program serves all.
        """
        images = self._programs[0](images, keys)[:count]
        if self.function is not None:
            shape = images.shape
            images = tf.cast(images, self.dtype)
            images = tf.numpy_function(self._each, [images], tf.float32)
            images.set_shape(shape)
            images = self._programs[1](images)
        return tf.cast(images, self.dtype)

    def _each(self, images: np.ndarray) -> np.ndarray:
        result = np.empty(images.shape, np.float32)
        for place, image in enumerate(images):
            result[place] = self.function(image)
        return result


@dataclasses.dataclass(frozen=True)
class ByHand:
    """A batch picture by picture, for a subclass that overrides a method.

    Attributes:
      generator: an ImageDataGenerator.
      dtype: of the result.
    """

    generator: Any
    dtype: str

    def __call__(
        self, images: tf.Tensor, keys: tf.Tensor, count: tf.Tensor | int
    ) -> tf.Tensor:
        """As ``Picturing``."""
        images, keys = images[:count], keys[:count]
        result = tf.numpy_function(self._each, [images, keys], self.dtype)
        result.set_shape(images.shape)
        return result

    def _each(self, images: np.ndarray, keys: np.ndarray) -> np.ndarray:
        result = np.empty(images.shape, self.dtype)
        # Such methods draw from NumPy's global generator, which Keras' class
        # seeds for them.
        with _SEEDING:
            before = np.random.get_state()
            np.random.seed(keys[0])
            try:
                for place, image in enumerate(images.astype(self.dtype)):
                    result[place] = self._one(image)
            finally:
                np.random.set_state(before)
        return result

    def _one(self, image: np.ndarray) -> np.ndarray:
        parameters = self.generator.get_random_transform(image.shape)
        image = self.generator.apply_transform(image, parameters)
        return self.generator.standardize(image)


_SEEDING = threading.Lock()


@tf.function(jit_compile=True, autograph=False)
def _uniform(key: tf.Tensor) -> tf.Tensor:
    return draws.Draws(key[None], 0).uniform(_DRAWS)


def draw_one(
    augmentation: LegacyAugmentation, seed: int, shape: Shape
) -> dict[str, Any]:
    """A picture's parameters, as ImageDataGenerator's dictionary."""
    uniform = _uniform(draws.example_keys(seed, 0, 0))
    drawn = augmentation.parameters(uniform, shape)
    return NEUTRAL | {name: _item(value) for name, value in drawn.items()}


def _item(value: tf.Tensor) -> float | bool:
    return value.numpy()[0].item()


def apply_one(
    augmentation: LegacyAugmentation,
    image: np.ndarray,
    parameters: dict[str, Any],
) -> np.ndarray:
    """Applies ImageDataGenerator's dictionary to a picture, to float32."""
    drawn = {}
    for name, neutral in NEUTRAL.items():
        value = parameters.get(name, neutral)
        if name.startswith("flip"):
            drawn[name] = tf.constant([bool(value)])
        elif value is not None and value != neutral:
            drawn[name] = tf.constant([value], tf.float32)
    image = tf.convert_to_tensor(image)
    if image.dtype != tf.uint8:
        image = tf.cast(image, tf.float32)
    return augmentation.apply(image[None], drawn)[0].numpy()
