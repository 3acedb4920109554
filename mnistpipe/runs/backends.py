"""Which of Keras' backends computes: TensorFlow, or under Keras 3 another.

    KERAS_BACKEND=jax python -m mnistpipe.main --arch=pool2m

The networks are stock layers and tf.data feeds every backend, so the host
path trains on each. The device path, strategies of several devices and the
pipeline's Keras layers are made of TensorFlow, and of it alone.

Keras is imported where it is needed: what it says of a backend that cannot be
had is turned into one line first.
"""

import contextlib
import importlib
import os
from collections.abc import Mapping
from typing import Any

from mnistpipe.errors import UserError
from mnistpipe.recipes import RecipeError, RunOptions

VARIABLE = "KERAS_BACKEND"
BACKENDS = ("tensorflow", "jax", "torch")


class BackendError(UserError):
    """A backend that cannot be had; the message is one line."""


def load() -> str:
    """Imports Keras with the backend that it is told; returns its name.

    Raises:
      BackendError: that one is not installed, or does not train here.
    """
    wanted = os.environ.get(VARIABLE) or "tensorflow"
    try:
        keras = importlib.import_module("keras")
    except ImportError as error:
        # Anything else that is missing is no matter of backends.
        if (error.name or "").split(".")[0] not in BACKENDS[1:]:
            raise
        raise _error(f"{error.name}, which is not installed") from None
    except ValueError:  # Keras' word for a name that it does not know
        raise _error(wanted) from None
    came = keras.backend.backend()
    if came not in BACKENDS:
        raise _error(came)
    if wanted != came and VARIABLE in os.environ:
        raise _error(f"{wanted}, and Keras {keras.__version__} took {came}")
    return came


def _error(came: str) -> BackendError:
    return BackendError(
        f"{VARIABLE}: expected {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}, "
        f"installed beside Keras 3, came {came[:80]}"
    )


def name() -> str:
    """The backend that computes."""
    import keras

    return keras.backend.backend()


def versions() -> dict[str, str]:
    """The backend, and its version where it is not TensorFlow."""
    backend = name()
    if backend == "tensorflow":
        return {"backend": backend}
    version = importlib.import_module(backend).__version__
    return {"backend": backend, backend: str(version)}


def accelerators() -> list[str]:
    """What JAX or PyTorch computes on, besides the CPU."""
    if name() == "jax":
        import jax

        devices = jax.local_devices()
        return [d.device_kind for d in devices if d.platform != "cpu"]
    import torch

    count = torch.cuda.device_count()
    return [torch.cuda.get_device_name(place) for place in range(count)]


def summary(made_with: Mapping[str, Any]) -> str:
    """The versions of a run, old runs' too, as text for people."""
    text = (
        f"TensorFlow {made_with.get('tensorflow')}, Keras "
        f"{made_with.get('keras')}"
    )
    backend = str(made_with.get("backend", "tensorflow"))
    if backend == "tensorflow":
        return text
    return f"{text} on {backend} {made_with.get(backend)}"


def settle(options: RunOptions) -> RunOptions:
    """Decides what `auto` is where TensorFlow does not compute.

    Raises:
      RecipeError: an option asks for what only TensorFlow does.
    """
    backend = name()
    if backend == "tensorflow":
        return options
    _refuse(options, backend)
    # JAX is made to be compiled: uncompiled it is many times slower.
    auto = {"jax": "on", "torch": "off"}[backend]
    compiled = auto if options.jit_compile == "auto" else options.jit_compile
    return options.replace(input="host", jit_compile=compiled)


def _refuse(options: RunOptions, backend: str) -> None:
    good = {"input": ("auto", "host"), "strategy": ("one",)}
    for option, values in good.items():
        came = getattr(options, option, values[0])
        if came not in values:
            raise RecipeError(
                f"{option}: expected {' or '.join(values)} with {VARIABLE}="
                f"{backend}, came {came}, which TensorFlow alone can do"
            )
    if backend == "torch" and options.steps_per_execution > 1:
        raise RecipeError(
            "steps_per_execution: expected 1 with KERAS_BACKEND=torch, which "
            f"executes step by step, came {options.steps_per_execution}"
        )


def leave_devices() -> None:
    """Keeps TensorFlow, where it only feeds, from taking the GPU's memory."""
    if name() == "tensorflow":
        return
    import tensorflow as tf

    # It has begun already: then it has taken what it takes.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
