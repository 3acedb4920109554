"""The extras that the commands need, beyond ``pip install mnistpipe``."""

import importlib.util
from collections.abc import Sequence

from mnistpipe.errors import UserError

_TRAIN = ("absl", "h5py", "jinja2", "matplotlib", "sklearn", "tensorboard")
# The packages of each extra in setup.cfg, by the names that are imported.
PACKAGES = {
    "preview": ("matplotlib",),
    "train": _TRAIN,
    "sweep": (*_TRAIN, "grpc", "keras_tuner"),
    "demo": ("gradio",),
}


def check(extra: str) -> None:
    """Refuses to start a command whose packages are not installed.

    Args:
      extra: one of `PACKAGES`. Empty means that the command needs no extra.

    Raises:
      UserError: names the extra and the missing packages.
    """
    require(extra, PACKAGES.get(extra, ()))


def require(extra: str, packages: Sequence[str]) -> None:
    """Checks that packages of an extra are installed, without importing them.

    Raises:
      UserError: names the extra and the missing packages.
    """
    missing = [
        name for name in packages if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise UserError(
            f"expected the packages of the extra `{extra}` (pip install"
            f" 'mnistpipe[{extra}]'), got no {', '.join(missing)}"
        )
