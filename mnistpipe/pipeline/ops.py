"""The operations of a transform, in TensorFlow or in JAX.

A transform that runs in both asks ``of`` for the operations that suit its
tensors. For TensorFlow these are TensorFlow's own. For JAX they are a few
functions on ``jax.numpy`` with TensorFlow's names and arguments. This module
never imports JAX, but finds the JAX whose array the caller has made.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def is_jax(tensor: Any) -> bool:
    """Whether this is an array of JAX, or one that JAX traces."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(tensor, jax.Array)


def of(*tensors: Any) -> Any:
    """The operations for these tensors: JAX's if any of them is JAX's."""
    return _jax() if any(map(is_jax, tensors)) else tf


def jit_in_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled by JAX at its first call with each shape."""
    return sys.modules["jax"].jit(function)


def float64(xp: Any) -> contextlib.AbstractContextManager[Any]:
    """Lets the operations compute in float64.

    Elsewhere JAX turns float64 into float32, unless its users switch that off.
    """
    if xp is tf:
        return contextlib.nullcontext()
    return sys.modules["jax"].enable_x64(True)


@functools.cache
def _jax() -> types.SimpleNamespace:
    """TensorFlow's names, implemented by ``jax.numpy``."""
    jax = sys.modules["jax"]
    jnp = jax.numpy

    def cast(x: Any, dtype: Any) -> Any:
        return jnp.asarray(x).astype(tf.as_dtype(dtype).as_numpy_dtype)

    def bitcast(x: Any, dtype: Any) -> Any:
        return jax.lax.bitcast_convert_type(
            x, tf.as_dtype(dtype).as_numpy_dtype
        )

    def gather(x: Any, index: Any) -> Any:
        # XLA clips an index in TensorFlow's programs, too.
        return jnp.take(x, index, axis=0, mode="clip")

    def saturate_cast(x: Any, dtype: Any) -> Any:
        dtype = tf.as_dtype(dtype).as_numpy_dtype
        limits = np.iinfo(dtype)
        return jnp.clip(x, limits.min, limits.max).astype(dtype)

    def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, axes, keepdims: function(
            x, tuple(axes), keepdims=keepdims
        )

    return types.SimpleNamespace(
        abs=jnp.abs,
        bitcast=bitcast,
        bitwise=types.SimpleNamespace(
            bitwise_and=jnp.bitwise_and,
            bitwise_or=jnp.bitwise_or,
            bitwise_xor=jnp.bitwise_xor,
            left_shift=jnp.left_shift,
            right_shift=jax.lax.shift_right_logical,
        ),
        cast=cast,
        clip_by_value=jnp.clip,
        concat=jnp.concatenate,
        cos=jnp.cos,
        einsum=jnp.einsum,
        equal=jnp.equal,
        exp=jnp.exp,
        floor=jnp.floor,
        gather=gather,
        math=types.SimpleNamespace(log=jnp.log),
        maximum=jnp.maximum,
        minimum=jnp.minimum,
        range=functools.partial(jnp.arange, dtype=np.int32),
        reduce_max=reduction(jnp.max),
        reduce_min=reduction(jnp.min),
        reduce_prod=np.prod,  # of a shape, which JAX knows
        reduce_sum=reduction(jnp.sum),
        repeat=jnp.repeat,
        reshape=jnp.reshape,
        round=jnp.round,
        saturate_cast=saturate_cast,
        shape=jnp.shape,
        sin=jnp.sin,
        sqrt=jnp.sqrt,
        square=jnp.square,
        stack=jnp.stack,
        transpose=jnp.transpose,
        where=jnp.where,
    )
