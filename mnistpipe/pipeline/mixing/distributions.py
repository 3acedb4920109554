"""Gamma, beta and Dirichlet draws as pure functions of uniform draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Each try accepts with at least 95 %, so all fail once in 10**10 draws.
_TRIES = 8
UNIFORMS_PER_GAMMA = 3 * _TRIES + 1
_TINY = 1e-30


def log_gamma_draws(uniform: tf.Tensor, alpha: float) -> tf.Tensor:
    """Logarithms of draws from the gamma distribution of scale 1.

    Marsaglia and Tsang 2000, "A simple method for generating gamma
    variables", with a fixed number of tries. A draw of shape α is a draw of
    shape α + 1 times U^(1/α), which stays exact for small α in logarithms.

    Args:
      uniform: float32[B, n·UNIFORMS_PER_GAMMA] in [0, 1).
      alpha: shape, above 0.

    Returns:
      float32[B, n].
    """
    count = uniform.shape[1] // UNIFORMS_PER_GAMMA
    uniform = tf.reshape(uniform, [-1, count, UNIFORMS_PER_GAMMA])
    # In (0, 1], where the logarithm is finite.
    log_uniform = tf.math.log(1 - uniform)
    tries = [slice(part * _TRIES, (part + 1) * _TRIES) for part in range(3)]
    radius = tf.sqrt(-2 * log_uniform[..., tries[0]])
    angle = uniform[..., tries[1]] * np.float32(2 * np.pi)
    normal = radius * tf.cos(angle)
    d = alpha + 2 / 3
    v = (1 + normal / math.sqrt(9 * d)) ** 3
    log_v = tf.math.log(tf.maximum(v, _TINY))
    bound = 0.5 * tf.square(normal) + d * (1 - v + log_v)
    accepted = (v > 0) & (log_uniform[..., tries[2]] < bound)
    first = tf.argmax(tf.cast(accepted, tf.int32), axis=-1)
    drawn = tf.gather(log_v, first, batch_dims=2)
    log_gamma = math.log(d) + drawn + log_uniform[..., -1] / alpha
    return tf.reshape(log_gamma, [-1, count])  # gather forgets the shape


def dirichlet(
    uniform: tf.Tensor, alpha: float, sizes: Sequence[int]
) -> list[tf.Tensor]:
    """Draws from symmetric Dirichlet distributions.

    Args:
      uniform: float32[B, Σ sizes · UNIFORMS_PER_GAMMA] in [0, 1).
      alpha: of every component, above 0.
      sizes: numbers of components.

    Returns:
      float32[B, size] for each size, of which each row sums to 1.
    """
    log_gamma = log_gamma_draws(uniform, alpha)
    return [tf.nn.softmax(part) for part in tf.split(log_gamma, sizes, axis=1)]


def beta(uniform: tf.Tensor, alpha: float) -> tf.Tensor:
    """Draws from Beta(α, α), float32[B] in [0, 1].

    Args:
      uniform: float32[B, 2·UNIFORMS_PER_GAMMA] in [0, 1).
      alpha: above 0.
    """
    first, second = tf.unstack(log_gamma_draws(uniform, alpha), axis=1)
    return tf.sigmoid(first - second)
