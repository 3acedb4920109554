"""How wide each network's layers are, and how many parameters that makes.

The count needs no TensorFlow, so that a sweep knows which networks are within
its budget before it builds one.
"""

import math
from collections.abc import Sequence

from mnistpipe.recipes import Recipe

_MULTIPLE = 8  # of which filters and units are

_CONV, _NORM = 1, 4  # values per filter beside the kernel: bias, BatchNorm
# Of every layer before the output: documented filters or units, taps of its
# kernel, values beside the kernel; None is Flatten.
_LAYERS: dict[str, tuple[tuple[int, int, int] | None, ...]] = {
    "strided400k": (
        *((32, 4, _NORM), (32, 9, _NORM), (32, 25, _CONV)),
        *((64, 9, _NORM), (64, 9, _NORM), (64, 25, _CONV)),
        *((128, 25, _CONV), None),
    ),
    "pool2m": (
        *((32, 9, _CONV + _NORM), (32, 9, _CONV + _NORM)),
        *((64, 9, _CONV + _NORM), (64, 9, _CONV + _NORM), None),
        *((512, 1, _CONV + _NORM), (1024, 1, _CONV + _NORM)),
    ),
    "compact500k": (
        *((32, 25, _NORM), (64, 9, _NORM), (96, 9, _NORM)),
        *((128, 9, _NORM), (112, 9, _NORM)),
    ),
    "wide900k": (
        *((32, 25, _CONV), (32, 25, _CONV), (64, 9, _CONV), (64, 9, _CONV)),
        *(None, (256, 1, _CONV)),
    ),
    "quick65k": ((16, 25, _NORM), (48, 9, _NORM), (96, 9, _NORM), None),
}


def of(documented: int, recipe: Recipe) -> int:
    """Filters or units in place of the documented ones; halves go up."""
    multiples = math.floor(documented * recipe.width / _MULTIPLE + 0.5)
    return _MULTIPLE * max(1, multiples)


def parameters(
    recipe: Recipe, shape: Sequence[int] = (28, 28, 1), classes: int = 10
) -> int:
    """All parameters of a recipe's network, as Keras would count them.

    Args:
      recipe: says the architecture and its width.
      shape: height, width and channels of the pictures.
      classes: how many probabilities come out.
    """
    *sides, inputs = shape
    total = 0
    for place, layer in enumerate(_LAYERS[recipe.arch]):
        if layer is None:
            inputs *= math.prod(_last_side(recipe.arch, s) for s in sides)
            continue
        documented, taps, beside = layer
        if place == 0 and recipe.stem == "3x3":
            taps = 9
        units = of(documented, recipe)
        total += units * (inputs * taps + beside)
        inputs = units
    return total + classes * (inputs + 1)


def _last_side(arch: str, side: int) -> int:
    """Height or width where the picture is made flat."""
    if arch in ("pool2m", "wide900k"):
        return side // 4
    if arch == "quick65k":  # its first and last convolutions are unpadded
        return (side - 4) // 4 - 2
    for _ in range(2):  # two unpadded convolutions, one of stride 2
        side = (side - 4 + 1) // 2
    return (side + 1) // 2
