"""The random part of ImageDataGenerator, for whole batches at a time.

``LegacyAugmentation`` draws and applies Keras' parameters in Keras' order and
units, quirks included. Images are [B, H, W, C], or [B, C, H, W] where
``channels_first`` is set, uint8 or float, in any range of values.
"""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.transform import Drawn, Shape, Transform
from mnistpipe.pipeline.transforms.affine import affine_matrix

# The parameters of ImageDataGenerator.get_random_transform under Keras' names,
# with the values that change nothing.
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

# Each of the two shifts takes two draws: a distance and a side.
_DRAWS = 12


@dataclasses.dataclass(frozen=True)
class Shift:
    """The meaning of width_shift_range or height_shift_range.

    Attributes:
      choices: the distances to draw from, to either side; empty: the shift
        is drawn from a range.
      reach: the shift is uniform in [−reach, reach).
      fraction: whether the unit is the image's size; otherwise pixels.
    """

    choices: tuple[float, ...] = ()
    reach: float = 0.0
    fraction: bool = True

    @classmethod
    def of(cls, name: str, value: Any) -> Shift:
        """Reads the argument ``name`` of ImageDataGenerator."""
        wrong = ValueError(
            f"Expected {name} to be a float (a fraction below 1, pixels from "
            "1 on), an int of at least 0 (pixels), or a list of numbers, "
            f"got {value!r}"
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
        """Returns float32[B] pixels.

        Args:
          how_far: float32[B], uniform in [0, 1).
          side: float32[B], uniform in [0, 1).
          size: of the image along the axis of the shift, in pixels.
        """
        if self.choices:
            count = len(self.choices)
            # Float32 may round the product up to the count itself.
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
    """Draws and applies the random part of ImageDataGenerator.

    Every parameter has its own draw from an example's key. A draw therefore
    does not depend on the other arguments of a generator, and images and
    masks with the same seed move alike.

    Attributes:
      rotation: degrees; the angle is uniform in ± this value.
      height_shift: as ``Shift``.
      width_shift: as ``Shift``.
      shear: degrees; the angle is uniform in ± this value.
      zoom: (low, high), drawn for x and y separately.
      horizontal_flip: whether half of the images are flipped.
      vertical_flip: whether half of the images are flipped.
      channel_shift: the shift is uniform in ± this value, in the images'
        range of values.
      brightness: (low, high) of the factor, or None.
      fill_mode: one of warp.FILL_MODES.
      cval: the value that "constant" fills in.
      interpolation: "bilinear" or "nearest".
      axes: "keras" or "documented".
      channels_first: whether images are [B, C, H, W].
      rounds: whether the values of a moved image are rounded to integers.
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
        """Whether the augmentation draws anything."""
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
        """Draws the parameters that this augmentation uses.

        Args:
          rng: the draws that belong to this transform.
          shape: of one image, in its own layout.

        Returns:
          [B] each, under Keras' names.
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
        # Keras' class uses the height's shift for x, which counts columns.
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
        """Moves images, shifts channels, flips and brightens, in this order.

        Args:
          images: [B, H, W, C] or [B, C, H, W].
          drawn: some of Keras' parameters, [B] each. A missing parameter
            changes nothing.

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
            shift = _per_image(drawn["channel_shift_intensity"])
            images = _shift_channels(images, shift)
        if "brightness" in drawn:
            images = _brighten(images, _per_image(drawn["brightness"]))
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

        # Channel shifts and flips commute, so the flips can be part of the
        # one resampling.
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
    # cval may lie outside the range of an integer dtype.
    return tf.cast(images, tf.float32)


def _per_image(parameter: tf.Tensor) -> tf.Tensor:
    return parameter[:, None, None, None]


def _round_half_away(images: tf.Tensor) -> tf.Tensor:
    """Rounds as SciPy does when it stores a value in an integer array."""
    return tf.sign(images) * tf.floor(tf.abs(images) + 0.5)


def _flip(images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
    for name, axis in (("flip_vertical", 1), ("flip_horizontal", 2)):
        if name in drawn:
            flipped = tf.reverse(images, [axis])
            images = tf.where(_per_image(drawn[name]), flipped, images)
    return images


def _extremes(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return (
        tf.reduce_min(images, axis=(1, 2, 3), keepdims=True),
        tf.reduce_max(images, axis=(1, 2, 3), keepdims=True),
    )


def _shift_channels(images: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Adds the shift and clips to each image's own range of values."""
    low, high = _extremes(images)
    return tf.clip_by_value(images + shift, low, high)


def _brighten(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies by the factor as Pillow does with uint8.

    Values are truncated to integers before and after, so an image in [0, 1]
    becomes nearly black. An image with values outside [0, 255] is stretched
    to that range and back. The factor does not change a fourth channel.
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


@tf.function(jit_compile=True, autograph=False)
def _uniform(key: tf.Tensor) -> tf.Tensor:
    return draws.Draws(key[None], 0).uniform(_DRAWS)


def draw_one(
    augmentation: LegacyAugmentation, key: Any, shape: Shape
) -> dict[str, Any]:
    """Draws the parameters of one image, as Keras' dictionary.

    Args:
      augmentation: says what to draw.
      key: uint32[2].
      shape: of the image.
    """
    uniform = _uniform(tf.convert_to_tensor(key))
    drawn = augmentation.parameters(uniform, shape)
    return NEUTRAL | {name: _item(value) for name, value in drawn.items()}


def _item(value: tf.Tensor) -> float | bool:
    return value.numpy()[0].item()


def apply_one(
    augmentation: LegacyAugmentation,
    image: np.ndarray,
    parameters: dict[str, Any],
) -> np.ndarray:
    """Applies Keras' dictionary of parameters to one image.

    Args:
      augmentation: says how to fill, interpolate and round.
      image: rank 3.
      parameters: Keras' names; a missing parameter changes nothing.

    Returns:
      float32, of the same shape.
    """
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
