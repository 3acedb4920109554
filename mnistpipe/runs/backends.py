"""Keras' backend: TensorFlow, or under Keras 3 also JAX or PyTorch.

    KERAS_BACKEND=jax python -m mnistpipe.main --arch=pool2m

The host path trains on every backend, because the networks are stock layers
and tf.data feeds all backends. The device path and the pipeline's Keras layers
need TensorFlow or JAX. Strategies of several devices need TensorFlow.

Functions import Keras themselves, so that `load` can turn Keras' errors about
a backend into one line first.
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
    """A backend that cannot be used; the message is one line."""


def load() -> str:
    """Imports Keras with the backend of KERAS_BACKEND; returns its name.

    Raises:
      BackendError: the backend is not installed, or does not train here.
    """
    wanted = os.environ.get(VARIABLE) or "tensorflow"
    try:
        keras = importlib.import_module("keras")
    except ImportError as error:
        # Another missing package has nothing to do with backends.
        if (error.name or "").split(".")[0] not in BACKENDS[1:]:
            raise
        raise _error(f"{error.name}, which is not installed") from None
    except ValueError:  # Keras does not know the name.
        raise _error(wanted) from None
    got = keras.backend.backend()
    if got not in BACKENDS:
        raise _error(got)
    if wanted != got and VARIABLE in os.environ:
        raise _error(f"{wanted}, and Keras {keras.__version__} took {got}")
    return got


def _error(got: str) -> BackendError:
    return BackendError(
        f"{VARIABLE}: expected {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}, "
        f"installed beside Keras 3, got {got[:80]}"
    )


def name() -> str:
    """Returns the name of Keras' backend."""
    import keras

    return keras.backend.backend()


def versions() -> dict[str, str]:
    """Returns the backend, and its version if it is not TensorFlow."""
    backend = name()
    if backend == "tensorflow":
        return {"backend": backend}
    version = importlib.import_module(backend).__version__
    return {"backend": backend, backend: str(version)}


def accelerators() -> list[str]:
    """Returns the accelerators on which JAX or PyTorch computes."""
    if name() == "jax":
        import jax

        devices = jax.local_devices()
        return [d.device_kind for d in devices if d.platform != "cpu"]
    import torch

    count = torch.cuda.device_count()
    return [torch.cuda.get_device_name(place) for place in range(count)]


def summary(made_with: Mapping[str, Any]) -> str:
    """Returns the versions of a run as text; old runs name no backend."""
    text = (
        f"TensorFlow {made_with.get('tensorflow')}, Keras "
        f"{made_with.get('keras')}"
    )
    backend = str(made_with.get("backend", "tensorflow"))
    if backend == "tensorflow":
        return text
    return f"{text} on {backend} {made_with.get(backend)}"


def settle(options: RunOptions) -> RunOptions:
    """Returns the options with the meaning of `auto` under other backends.

    Raises:
      RecipeError: an option needs TensorFlow.
    """
    backend = name()
    if backend == "tensorflow":
        return options
    _refuse(options, backend)
    # JAX is many times slower if the step is not compiled.
    auto = {"jax": "on", "torch": "off"}[backend]
    compiled = auto if options.jit_compile == "auto" else options.jit_compile
    path = options.input if backend == "jax" else "host"
    return options.replace(input=path, jit_compile=compiled)


def _refuse(options: RunOptions, backend: str) -> None:
    good: dict[str, tuple[tuple[str, ...], str]] = {
        "strategy": (("one",), "TensorFlow")
    }
    if backend == "torch":
        good["input"] = (("auto", "host"), "TensorFlow or JAX")
    for option, (values, needed) in good.items():
        got = getattr(options, option, values[0])
        if got not in values:
            raise RecipeError(
                f"{option}: expected {' or '.join(values)} with {VARIABLE}="
                f"{backend}, got {got}, which needs {needed}"
            )
    if backend == "torch" and options.steps_per_execution > 1:
        raise RecipeError(
            "steps_per_execution: expected 1 with KERAS_BACKEND=torch, which "
            f"executes step by step, got {options.steps_per_execution}"
        )


def leave_devices() -> None:
    """Keeps TensorFlow off the GPUs if another backend computes."""
    if name() == "tensorflow":
        return
    import tensorflow as tf

    # A RuntimeError means that TensorFlow has started and has its memory.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
