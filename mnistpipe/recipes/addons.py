"""Which optimizers need tensorflow-addons, and whether it can be used here.

tensorflow-addons ended in May 2024. Its last release, 0.23, imports only with
Keras 2, so with TensorFlow 2.15 and Python up to 3.11 (the extra ``addons``).
Of the optimizers in ``ADDONS``, Keras itself has LAMB since Keras 3.5.

This module imports no TensorFlow, so that an error comes at once.
"""

import importlib
import importlib.metadata
import importlib.util
import warnings
from types import ModuleType

from mnistpipe.recipes import ADDONS, OPTIMIZERS, Recipe, RecipeError

_PACKAGE = "tensorflow-addons"
_KERAS_WITH_LAMB = (3, 5)


def lack(recipe: Recipe) -> str:
    """Returns why the optimizer cannot be used here; empty if it can."""
    name = recipe.optimizer
    reason = _missing(name)
    if reason:
        good = ", ".join(one for one in OPTIMIZERS if not _missing(one))
        return f"optimizer: expected one of {good}, got {name!r}, {reason}"
    if recipe.ema_momentum and _needs_addons(name):
        return (
            f"ema_momentum: expected 0 with optimizer={name}, since the"
            f" optimizers of {_PACKAGE} keep no averages, got"
            f" {recipe.ema_momentum}"
        )
    return ""


def check(recipe: Recipe) -> None:
    """Refuses an optimizer that cannot be used here.

    Raises:
      RecipeError: says why, and names the optimizers that can be used.
    """
    reason = lack(recipe)
    if reason:
        raise RecipeError(reason)


def load() -> ModuleType:
    """Imports tensorflow-addons without its warnings.

    Raises:
      RecipeError: tensorflow-addons is installed but does not import.
    """
    try:
        with warnings.catch_warnings():
            # It warns of its end, and of every TensorFlow from 2.15 on.
            warnings.simplefilter("ignore")
            return importlib.import_module("tensorflow_addons")
    except (ImportError, AttributeError, TypeError) as error:
        raise RecipeError(
            f"optimizer: expected {_PACKAGE} to import, got"
            f" {type(error).__name__}: {error}"
        ) from error


def versions(recipe: Recipe) -> dict[str, str]:
    """Returns tensorflow-addons' version if the optimizer comes from it."""
    if not _needs_addons(recipe.optimizer):
        return {}
    return {_PACKAGE: importlib.metadata.version(_PACKAGE)}


def _needs_addons(name: str) -> bool:
    """Whether the optimizer comes from tensorflow-addons, not from Keras."""
    in_keras = name == "lamb" and _keras() >= _KERAS_WITH_LAMB
    return name in ADDONS and not in_keras


def _missing(name: str) -> str:
    """Returns why the optimizer is not available; empty if it is."""
    if not _needs_addons(name):
        return ""
    where = "the extra addons has both, on Python 3.10 and 3.11"
    if _keras() >= (3,):
        version = importlib.metadata.version("keras")
        return (
            f"which is of {_PACKAGE}, which ended in May 2024 and imports only"
            f" with Keras 2; this is Keras {version}; {where}"
        )
    if importlib.util.find_spec("tensorflow_addons") is None:
        return f"which is of {_PACKAGE}, not installed here; {where}"
    return ""


def _keras() -> tuple[int, ...]:
    """Returns the first two numbers of the installed version of Keras."""
    version = importlib.metadata.version("keras")
    return tuple(int(number) for number in version.split(".")[:2])
