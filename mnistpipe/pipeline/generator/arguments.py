"""Checks of ImageDataGenerator's arguments.

Each check returns the value in the form that the computation needs, or raises
ValueError with one line that names the argument.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

SUBSETS = ("training", "validation")


def number(name: str, value: Any) -> float:
    """Returns a finite number as a float."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(
            f"Expected {name} to be a finite number, got {value!r}"
        )
    return float(value)


def pair(name: str, value: Any) -> tuple[float, float]:
    """Returns (low, high) as floats."""
    good = isinstance(value, (tuple, list, np.ndarray)) and len(value) == 2
    if not good or not all(
        isinstance(bound, numbers.Real) and math.isfinite(bound)
        for bound in value
    ):
        also = "a finite number or " if name == "zoom_range" else ""
        raise ValueError(
            f"Expected {name} to be {also}(low, high), got {value!r}"
        )
    return float(value[0]), float(value[1])


def choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Returns the value if it is one of the choices."""
    if value not in choices:
        raise ValueError(
            f"Expected {name} to be one of {', '.join(map(str, choices))}, "
            f"got {value!r}"
        )
    return value


def check_subset(subset: str | None) -> None:
    """Raises ValueError unless ``subset`` is a subset's name or None."""
    choice("subset", subset, (*SUBSETS, None))
