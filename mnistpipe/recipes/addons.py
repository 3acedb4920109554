"""tensorflow-addons: where its optimizers can be had, and why not elsewhere.

It ended in May 2024. Its last release, 0.23, imports only beside Keras 2, so
with TensorFlow 2.15 and Python 3.11 at most (the extra ``addons``). Of its
optimizers that are taken here Keras 3 has one itself, since 3.5: LAMB.

No TensorFlow here: what is missing is said before it takes its seconds.
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
    """Why the recipe's optimizer cannot be had here; empty where it can."""
    name = recipe.optimizer
    reason = _missing(name)
    if reason:
        good = ", ".join(one for one in OPTIMIZERS if not _missing(one))
        return f"optimizer: expected one of {good}, got {name!r}, {reason}"
    if recipe.ema_momentum and _is_theirs(name):
        return (
            f"ema_momentum: expected 0 with optimizer={name}, since"
            f" {_PACKAGE}' optimizers keep no averages, got"
            f" {recipe.ema_momentum}"
        )
    return ""


def check(recipe: Recipe) -> None:
    """Refuses an optimizer that cannot be had here.

    Raises:
      RecipeError: says why, and which can.
    """
    reason = lack(recipe)
    if reason:
        raise RecipeError(reason)


def load() -> ModuleType:
    """tensorflow-addons itself, without its notices.

    Raises:
      RecipeError: it is installed and fails.
    """
    try:
        with warnings.catch_warnings():
            # It warns of its end, and of each TensorFlow from 2.15 on.
            warnings.simplefilter("ignore")
            return importlib.import_module("tensorflow_addons")
    except Exception as error:  # of any kind, beside other packages' versions
        raise RecipeError(
            f"optimizer: expected {_PACKAGE} to import, got"
            f" {type(error).__name__}: {error}"
        ) from error


def versions(recipe: Recipe) -> dict[str, str]:
    """That of tensorflow-addons, where the recipe's optimizer is its."""
    if not _is_theirs(recipe.optimizer):
        return {}
    return {_PACKAGE: importlib.metadata.version(_PACKAGE)}


def _is_theirs(name: str) -> bool:
    """Whether it is taken from tensorflow-addons, and not from Keras."""
    kept = name == "lamb" and _keras() >= _KERAS_WITH_LAMB
    return name in ADDONS and not kept


def _missing(name: str) -> str:
    if not _is_theirs(name):
        return ""
    where = "the extra addons has both, on Python 3.10 and 3.11"
    if _keras() >= (3,):
        version = importlib.metadata.version("keras")
        return (
            f"which is of {_PACKAGE}: that ended in May 2024 and imports only"
            f" beside Keras 2, here is Keras {version}; {where}"
        )
    if importlib.util.find_spec("tensorflow_addons") is None:
        return f"which is of {_PACKAGE}, not installed here; {where}"
    return ""


def _keras() -> tuple[int, ...]:
    """The first two numbers of the version that is installed."""
    version = importlib.metadata.version("keras")
    return tuple(int(number) for number in version.split(".")[:2])
