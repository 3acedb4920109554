"""AugMix: several chains of operations, mixed with the picture itself."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.mixing import distributions
from mnistpipe.pipeline.transform import (
    Drawn,
    Shape,
    check_bool,
    check_in_range,
    per_example,
)
from mnistpipe.pipeline.transforms.policies import operations
from mnistpipe.pipeline.transforms.policies.policy import (
    Policy,
    check_whole,
)

# torchvision divides AugMix's strengths into 10 levels, 0 to 9.
_HIGHEST_LEVEL = 9
_DEEPEST = 3

_MOVEMENTS_AND_TONES = {
    "ShearX": 0.3,
    "ShearY": 0.3,
    "TranslateX": 1 / 3,
    "TranslateY": 1 / 3,
    "Rotate": 30.0,
    "Posterize": 0,
    "Solarize": None,
    "AutoContrast": None,
    "Equalize": None,
}
_COLOURS = dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.9)

AUGMIX = operations.Space(_MOVEMENTS_AND_TONES, most_bits=4)
AUGMIX_ALL = operations.Space({**_MOVEMENTS_AND_TONES, **_COLOURS}, most_bits=4)


@dataclasses.dataclass(frozen=True, repr=False)
class AugMix(Policy):
    """Mixes a picture with several randomly augmented versions of itself.

        m₀·x + m₁·Σ_i w_i·chain_i(x)

    Hendrycks et al. 2020, "AugMix: A Simple Data Processing Method to
    Improve Robustness and Uncertainty". m is drawn from Dirichlet(α, α) and
    w from Dirichlet(α, …, α). Each step of each chain is one operation, all
    equally likely, at a magnitude equally likely in 0 … severity − 1. The
    strengths are those of torchvision's AugMix:

        operation                 at magnitude 0     at magnitude 9
        ShearX, ShearY            0                  ±0.3 (tangent)
        TranslateX, TranslateY    0                  ±1/3 of the side
        Rotate                    0                  ±30 degrees
        Posterize                 4 bits             0 bits
        Solarize                  from white on      from black on
        AutoContrast, Equalize    the same at every magnitude
        if all_ops: Brightness, Color,
        Contrast, Sharpness       factor 1           factor 1 ± 0.9

    A result mixes several movements, so masks are refused.

    Attributes:
      severity: whole number in [1, 10].
      width: number of chains, in [1, 10].
      depth: steps of each chain, in [1, 10], or −1 for 1, 2 or 3 of them,
        equally likely for each chain.
      alpha: of the Dirichlet distributions, above 0.
      all_ops: whether the four colour operations take part. The paper leaves
        them out, since they overlap with the corruptions of ImageNet-C.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255).
      fill: the value of what was outside of the picture.
      interpolation: "nearest" or "bilinear", torchvision's default.
    """

    severity: int = 3
    width: int = 3
    depth: int = -1
    alpha: float = 1.0
    all_ops: bool = True
    interpolation: str = dataclasses.field(default="bilinear", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_whole(self, "severity", 1, _HIGHEST_LEVEL + 1)
        check_whole(self, "width", 1, 10)
        if self.depth != -1:
            check_whole(self, "depth", 1, 10)
        check_in_range(self, "alpha", 1e-3, 1e3)
        check_bool(self, "all_ops")

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws the chains and their weights.

        Returns:
          "operation", int32[B, width, depth], and "strength", float32[B,
          width, depth], numbered and measured as in ``policies.operations``;
          "weights", float32[B, 1 + width], whose sum is 1: of the picture
          itself and of each chain.
        """
        deepest = _DEEPEST if self.depth == -1 else self.depth
        steps = self.width * deepest
        gammas = (2 + self.width) * distributions.UNIFORMS_PER_GAMMA
        uniform = rng.uniform(3 * steps + self.width + gammas)
        chosen, level, depth, gamma = tf.split(
            uniform, [2 * steps, steps, self.width, gammas], axis=1
        )
        magnitude = tf.floor(level * self.severity)
        level = tf.minimum(magnitude, self.severity - 1) / _HIGHEST_LEVEL
        space = AUGMIX_ALL if self.all_ops else AUGMIX
        drawn = operations.draw_steps(chosen, space, level, shape)
        drawn = {
            name: tf.reshape(value, [-1, self.width, deepest])
            for name, value in drawn.items()
        }
        if self.depth == -1:
            last = tf.floor(depth * deepest)[..., None]
            within = tf.range(deepest, dtype=tf.float32) <= last
            drawn["operation"] = tf.where(within, drawn["operation"], 0)
        mix = distributions.dirichlet(gamma, self.alpha, (2, self.width))
        drawn["weights"] = tf.concat([mix[0][:, :1], mix[0][:, 1:] * mix[1]], 1)
        return drawn

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Computes the chains and mixes them."""
        images = tf.cast(images, tf.float32)
        size = warp.sizes(images)
        deepest = drawn["operation"].shape[2]
        chains = {
            name: tf.reshape(drawn[name], [-1, deepest])
            for name in ("operation", "strength")
        }
        copies = tf.repeat(images, self.width, axis=0)
        changed = super().apply(copies, chains)
        changed = tf.reshape(changed, [-1, self.width, *size])
        weights = drawn["weights"]
        # Differences are added, so that chains that change nothing keep bits.
        mixed = images
        for chain in range(self.width):
            weight = per_example(weights[:, 1 + chain])
            mixed += weight * (changed[:, chain] - images)
        return mixed

    def check_masks(self) -> None:
        """Raises ValueError, since no mask can follow several movements."""
        raise ValueError(
            "Expected no masks, since AugMix mixes several movements of each "
            "picture. Received: masks"
        )
