"""MixUp and CutMix: each picture is mixed with another one, its partner.

``host_dataset(..., mix=MixUp(0.2, classes=10))`` draws the partner from the
picture's key: another example of the same epoch, augmented by that
example's own key. A mixed picture and its soft label are therefore the same
in any batch, order and shard. Each picture needs two augmentations.

``augmented_dataset(..., mix=...)`` knows no examples but those of the batch,
so there the partner is another member of the batch, and the mixed picture
depends on the batch.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.mixing import distributions
from mnistpipe.pipeline.stream import check_positive

Drawn = dict[str, tf.Tensor]

# A place that no transform of a Compose has, so that no draws are shared.
_PLACE = 2**30 - 1
_PARTNER = slice(0, 2)
_APPLIED = 2
_CENTRE = slice(3, 5)
_OTHERS = 5
_WORD = 2**24  # a uniform draw is a multiple of 2**-24


@dataclasses.dataclass(frozen=True)
class Mix:
    """What MixUp and CutMix share.

    Attributes:
      alpha: of the distribution Beta(alpha, alpha) from which the part of
        the first picture is drawn, above 0. Small values mix little.
      classes: the number of classes, for labels that are integers: they
        become one-hot float32 labels. None for soft or one-hot labels.
      probability: the probability, per example, of mixing at all.
    """

    alpha: float = 1.0
    classes: int | None = None
    probability: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("alpha", 1e-3, 1e3),
            ("probability", 0.0, 1.0),
        ):
            value = getattr(self, name)
            number = isinstance(value, (int, float, np.integer, np.floating))
            if (
                isinstance(value, bool)
                or not number
                or not low <= value <= high
            ):
                raise ValueError(
                    f"Expected {type(self).__name__}.{name} to be a number in "
                    f"[{low:g}, {high:g}]. Received: {value!r}"
                )
        if self.classes is not None:
            check_positive(f"{type(self).__name__}.classes", self.classes)

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled program, which cannot be pickled."""
        return dataclasses.asdict(self)

    def partners(
        self, keys: tf.Tensor, index: tf.Tensor, count: int | tf.Tensor
    ) -> tf.Tensor:
        """Draws another example for each one.

        Args:
          keys: uint32[B, 2].
          index: int64[B] in [0, count).
          count: how many examples there are.

        Returns:
          int64[B] in [0, count): each other index is equally likely. A
          single example is its own partner.
        """
        words = tf.cast(_uniform(keys)[:, _PARTNER] * _WORD, tf.int64)
        number = words[:, 0] * _WORD + words[:, 1]
        count = tf.cast(count, tf.int64)
        return (index + 1 + number % tf.maximum(count - 1, 1)) % count

    def draw(self, keys: tf.Tensor, shape: Any) -> Drawn:
        """Draws the part of the first picture, float32[B] in [0, 1].

        Args:
          keys: uint32[B, 2].
          shape: (H, W, C) of the pictures.

        Returns:
          "part", float32[B]; 1 where nothing is mixed. CutMix adds "top",
          "left", "height" and "width", int32[B], of the second picture's
          rectangle.
        """
        del shape
        uniform = _uniform(keys)
        part = distributions.beta(uniform[:, _OTHERS:], self.alpha)
        applied = uniform[:, _APPLIED] < self.probability
        return {"part": tf.where(applied, part, 1.0)}

    def mix_pictures(
        self, first: tf.Tensor, second: tf.Tensor, drawn: Drawn
    ) -> tf.Tensor:
        """Mixes [B, H, W, C]; floats become float32."""
        raise NotImplementedError  # each subclass has its own

    def mix_masks(
        self, first: tf.Tensor, second: tf.Tensor, drawn: Drawn
    ) -> tf.Tensor:
        """Mixes masks [B, H, W, C] or [B, H, W] like their pictures."""
        raise NotImplementedError  # each subclass has its own

    def __call__(
        self, keys: tf.Tensor, first: Any, second: Any, *, masks: bool = False
    ) -> Any:
        """Mixes batches, compiled.

        Args:
          keys: uint32[B, 2], of the first pictures.
          first: (pictures [B, H, W, C],), (pictures, targets) or (pictures,
            targets, sample weights [B]). Targets are labels, or a structure
            of labels: integers [B] or [B, 1], or soft labels [B, ...].
          second: the partners, of the same structure.
          masks: whether the targets are masks.

        Returns:
          The same structure. With p the part of the first picture, labels
          are p·first + (1 − p)·second and so are the weights. Where there
          are weights w, labels are (p·w₁·first + (1 − p)·w₂·second) / w, so
          that the weighted cross-entropy is the mix of both examples'.

        Raises:
          ValueError: labels that cannot be mixed, or more members.
        """
        if len(first) > 3:
            raise ValueError(
                "Expected pictures, targets and sample weights to mix. "
                f"Received: {len(first)} members"
            )
        return self._program(keys, first, second, masks)

    @functools.cached_property
    def _program(self) -> Any:
        return tf.function(
            self._run, jit_compile=True, autograph=False, reduce_retracing=True
        )

    def _run(
        self, keys: tf.Tensor, first: Any, second: Any, masks: bool
    ) -> tuple[Any, ...]:
        count = tf.shape(keys)[0]
        if keys.shape[0] in (1, None):
            # XLA rounds differently for a batch of one: see Compose.
            copies = tf.maximum(0, 2 - count)
            keys, first, second = tf.nest.map_structure(
                lambda batch: tf.concat([batch, batch[:copies]], axis=0),
                (keys, first, second),
            )
        drawn = self.draw(keys, warp.sizes(tf.nest.flatten(first[0])[0]))
        part = drawn["part"]
        mixed = [
            tf.nest.map_structure(
                lambda a, b: self.mix_pictures(a, b, drawn), first[0], second[0]
            )
        ]
        total = None
        if len(first) > 2:
            # In float64 these products are exact, so that it does not matter
            # whether a compiler fuses a product and a sum.
            weights = [tf.cast(w, tf.float64) for w in (first[2], second[2])]
            exact_part = tf.cast(part, tf.float64)
            share = exact_part * weights[0]
            total = share + (1 - exact_part) * weights[1]
            some = tf.where(total > 0, total, 1)
            part = tf.where(total > 0, share / some, exact_part)
        if len(first) > 1 and masks:
            mixed.append(self.mix_masks(first[1], second[1], drawn))
        elif len(first) > 1:
            mixed.append(
                tf.nest.map_structure(
                    lambda a, b: self._blend_labels(a, b, part),
                    first[1],
                    second[1],
                )
            )
        if total is not None:
            mixed.append(tf.cast(total, tf.float32))
        return tf.nest.map_structure(lambda batch: batch[:count], tuple(mixed))

    def _blend_labels(
        self, first: tf.Tensor, second: tf.Tensor, part: tf.Tensor
    ) -> tf.Tensor:
        """Blends labels by way of float64, as the weights."""
        first, second = (
            tf.cast(self._soft(labels), tf.float64)
            for labels in (first, second)
        )
        blended = _blend(first, second, tf.cast(part, tf.float64))
        return tf.cast(blended, tf.float32)

    def check_labels(self, labels: Any) -> None:
        """Refuses integers that are no class, which would become all zeros.

        Args:
          labels: an array, or a structure of such.

        Raises:
          ValueError: a label is negative, or at least ``classes``.
        """
        for one in tf.nest.flatten(labels):
            values = np.asarray(one)
            if self.classes is None or values.dtype.kind not in "iu":
                continue
            low, high = values.min(initial=0), values.max(initial=0)
            if low < 0 or high >= self.classes:
                raise ValueError(
                    f"Expected labels of 0 to {self.classes - 1} for "
                    f"{type(self).__name__}(classes={self.classes}). "
                    f"Received: labels of {low} to {high}"
                )

    def _soft(self, labels: tf.Tensor) -> tf.Tensor:
        """float32 labels: as they are, or one-hot."""
        if labels.dtype.is_floating:
            return tf.cast(labels, tf.float32)
        if self.classes is None:
            raise ValueError(
                "Expected soft or one-hot labels of a float dtype, or "
                f"{type(self).__name__}(classes=...) for integers. Received: "
                f"{labels.dtype.name} {labels.shape}"
            )
        if labels.shape.rank > 1 and labels.shape[-1] == 1:
            labels = labels[..., 0]
        return tf.one_hot(tf.cast(labels, tf.int64), self.classes)


@dataclasses.dataclass(frozen=True)
class MixUp(Mix):
    """Blends each picture and its label with another one's.

        p·first + (1 − p)·second

    Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", where p
    is drawn from Beta(alpha, alpha), with alpha of 0.1 to 0.4 on ImageNet.

    Attributes:
      alpha: above 0. Small values mix little.
      classes: the number of classes, for labels that are integers.
      probability: the probability, per example, of mixing at all.
    """

    alpha: float = 0.2

    def mix_pictures(
        self, first: tf.Tensor, second: tf.Tensor, drawn: Drawn
    ) -> tf.Tensor:
        """Blends pictures into float32."""
        return _blend(
            tf.cast(first, tf.float32),
            tf.cast(second, tf.float32),
            drawn["part"],
        )

    def mix_masks(
        self, first: tf.Tensor, second: tf.Tensor, drawn: Drawn
    ) -> tf.Tensor:
        """Blends masks as soft labels of each pixel."""
        return _blend(self._soft(first), self._soft(second), drawn["part"])


@dataclasses.dataclass(frozen=True)
class CutMix(Mix):
    """Pastes a rectangle of another picture; labels are mixed by area.

    Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong
    Classifiers with Localizable Features". With p drawn from Beta(alpha,
    alpha), the rectangle's sides are √(1 − p) of the picture's. Every pixel
    is equally likely to be its centre; what is outside of the picture is cut
    off, and p becomes the area that is left of the first picture. Masks get
    the rectangle of the other mask and keep their dtype.

    Attributes:
      alpha: above 0; 1, the paper's, makes every p equally likely.
      classes: the number of classes, for labels that are integers.
      probability: the probability, per example, of mixing at all.
    """

    def draw(self, keys: tf.Tensor, shape: Any) -> Drawn:
        """Draws the rectangle, and the area that is left of the first."""
        part = super().draw(keys, shape)["part"]
        centre = _uniform(keys)[:, _CENTRE]
        side = tf.sqrt(1 - part)

        def cut(axis: int) -> tuple[tf.Tensor, tf.Tensor]:
            size = tf.cast(shape[axis], tf.float32)
            middle = tf.floor(centre[:, axis] * size)
            half = tf.floor(side * size) / 2
            start = tf.clip_by_value(tf.floor(middle - half), 0, size)
            end = tf.clip_by_value(tf.floor(middle + half), 0, size)
            return tf.cast(start, tf.int32), tf.cast(end - start, tf.int32)

        (top, height), (left, width) = cut(0), cut(1)
        pasted = tf.cast(height * width, tf.float32)
        area = tf.cast(shape[0] * shape[1], tf.float32)
        return {
            "part": 1 - pasted / area,
            "top": top,
            "left": left,
            "height": height,
            "width": width,
        }

    def mix_pictures(
        self, first: tf.Tensor, second: tf.Tensor, drawn: Drawn
    ) -> tf.Tensor:
        """Pastes the second picture's rectangle."""
        return _paste(first, second, drawn)

    def mix_masks(
        self, first: tf.Tensor, second: tf.Tensor, drawn: Drawn
    ) -> tf.Tensor:
        """Pastes the second mask's rectangle."""
        return _paste(first, second, drawn)


def _uniform(keys: tf.Tensor) -> tf.Tensor:
    count = _OTHERS + 2 * distributions.UNIFORMS_PER_GAMMA
    return draws.Draws(keys, _PLACE).uniform(count)


def _blend(first: tf.Tensor, second: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    part = tf.reshape(part, [-1] + [1] * (first.shape.rank - 1))
    return first * part + second * (1 - part)


def _paste(first: tf.Tensor, second: tf.Tensor, drawn: Drawn) -> tf.Tensor:
    """Puts the second's rectangle into the first, [B, H, W, ...]."""

    def within(size: tf.Tensor, start: str, length: str) -> tf.Tensor:
        place = tf.range(size)
        begin = drawn[start][:, None]
        return (place >= begin) & (place < begin + drawn[length][:, None])

    shape = tf.shape(first)
    rows = within(shape[1], "top", "height")[:, :, None]
    columns = within(shape[2], "left", "width")[:, None, :]
    inside = rows & columns
    if first.shape.rank == 4:
        inside = inside[..., None]
    return tf.where(inside, second, first)
