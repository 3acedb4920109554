"""What is looked at in a `.keras` file before Keras may load it.

Such a file is a zip of `config.json` (layers), `metadata.json` (versions) and
`model.weights.h5`. The checks, in this order, keep a hostile one from running
code, reading other files or exhausting memory:

    members   no others, stored as they are, each of a bounded size
    config    only the stock layers that `models.py` builds from, in a chain,
              with parameters and pictures of a bounded size
    weights   plain arrays, of no more bytes together than the file has: no
              links, no external or virtual data, no compression

Keras' own safe mode alone has let other things through in some versions.
"""

import dataclasses
import io
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from mnistpipe import safejson
from mnistpipe.errors import UserError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_LARGEST = {CONFIG: 1 << 24, METADATA: 1 << 20, WEIGHTS: 1 << 30}
_MOST_PARAMETERS = 1 << 28
# Values that one layer gives for one picture; 1024x1024 with 64 channels.
_MOST_VALUES = 1 << 26

# All that the networks of models.py consist of, in Keras 2.15 and 3.
_STOCK_MODULES = {
    "keras",
    "keras.layers",
    "keras.initializers",
    "keras.mixed_precision",
    "keras.src.engine.functional",
    "keras.src.models.functional",
}
_STOCK_CLASSES = {
    "Functional",
    "InputLayer",
    "Conv2D",
    "BatchNormalization",
    "Activation",
    "MaxPooling2D",
    "GlobalAveragePooling2D",
    "Flatten",
    "Dense",
    "Dropout",
    "GlorotUniform",
    "Zeros",
    "Ones",
    "DTypePolicy",
    "Policy",
}


class ModelError(UserError):
    """A network that cannot be built or loaded: expected, came."""


class _UnsafeError(ValueError):
    """What came in place of a network that can be loaded."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a network takes and gives: (H, W, C), and so many probabilities."""

    shape: tuple[int, int, int]
    classes: int


def inspect(path: str | os.PathLike[str]) -> Sizes:
    """Looks through a file without loading it.

    Raises:
      ModelError: the file is missing, is something else, or is not safe.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise error(path, "no file")
    if not path.endswith(".keras") or not zipfile.is_zipfile(path):
        raise error(path, "another kind of file")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            config = safejson.loads(archive.read(CONFIG))
            foreign = _foreign_class(config)
            if foreign is not None:
                raise _UnsafeError(f"one with {foreign}, which is not loaded")
            sizes = _sizes(config)
            _check_weights(archive.read(WEIGHTS))
    except Exception as damage:  # zipfile and h5py raise nearly anything
        raise error(path, damage) from damage
    return sizes


def error(path: str, came: Exception | str) -> ModelError:
    """The one line about a file that is no network to be loaded."""
    text = str(came).strip() or type(came).__name__
    first = "".join(c if c.isprintable() else "?" for c in text.splitlines()[0])
    return ModelError(
        f"{path}: expected a network saved as .keras, came {first[:500]}"
    )


def _check_members(archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    if sorted(names) != sorted(_LARGEST):
        raise _UnsafeError(f"a zip of {', '.join(names)[:200] or 'nothing'}")
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise _UnsafeError(f"a compressed {info.filename}")
        if info.file_size > _LARGEST[info.filename]:
            raise _UnsafeError(
                f"{info.file_size} bytes of {info.filename}, more than"
                f" {_LARGEST[info.filename]}"
            )


def _foreign_class(config: Any) -> str | None:
    """The first class of a saved configuration that is not a stock one."""
    children: Iterable[Any] = config if isinstance(config, list) else ()
    if isinstance(config, dict):
        children = config.values()
        if config.get("module") is not None:
            module, name = config["module"], config.get("class_name")
            if module not in _STOCK_MODULES or name not in _STOCK_CLASSES:
                return f"{module}.{name}"
        elif config.get("class_name", "__keras_tensor__") not in (
            "__keras_tensor__",  # a layer's call in a Functional model
            *_STOCK_CLASSES,
        ):
            return str(config["class_name"])
    return next(filter(None, map(_foreign_class, children)), None)


def _sizes(config: dict[str, Any]) -> Sizes:
    """Adds up what building the network would allocate; its ends."""
    if config["class_name"] != "Functional":
        raise _UnsafeError(f"a {config['class_name']} in place of a network")
    saved = config["config"]["layers"]
    first, *others = saved
    if first["class_name"] != "InputLayer":
        raise _UnsafeError("a network that does not begin with its input")
    inputs = first["config"]
    _, *taken = inputs.get("batch_shape") or inputs["batch_input_shape"]
    shape, parameters, largest = taken, 0, math.prod(taken)
    names = {layer["config"]["name"] for layer in saved}
    for before, layer in zip(saved, others, strict=False):
        if names.intersection(_strings(layer["inbound_nodes"])) != {
            before["config"]["name"]
        }:
            raise _UnsafeError("a network that is not a chain of layers")
        shape, more = _output(layer["class_name"], layer["config"], shape)
        parameters += more
        largest = max(largest, math.prod(shape))
    if parameters > _MOST_PARAMETERS or largest > _MOST_VALUES:
        raise _UnsafeError(
            f"one of {parameters:.3g} parameters and up to {largest:.3g}"
            f" values per picture, more than {_MOST_PARAMETERS:.3g} and"
            f" {_MOST_VALUES:.3g}"
        )
    height, width, channels = taken
    (classes,) = shape
    return Sizes((height, width, channels), classes)


def _output(
    kind: str, config: dict[str, Any], shape: list[int]
) -> tuple[list[int], int]:
    """A layer's output shape without the batch, and its parameters."""
    *sides, channels = shape
    if kind == "Conv2D":
        units = config["filters"]
        parameters = math.prod(config["kernel_size"]) * channels * units
        # As if padded: at most so large.
        sides = _reduced(sides, config["strides"])
        return [*sides, units], parameters + units
    if kind == "Dense":
        return [*sides, config["units"]], (channels + 1) * config["units"]
    if kind == "MaxPooling2D":
        return [*_reduced(sides, config["strides"]), channels], 0
    if kind == "GlobalAveragePooling2D":
        return [channels], 0
    if kind == "Flatten":
        return [math.prod(shape)], 0
    if kind == "BatchNormalization":
        return shape, 4 * channels
    if kind in ("Activation", "Dropout"):
        return shape, 0
    raise _UnsafeError(f"a {kind} within a network")


def _reduced(sides: list[int], strides: list[int]) -> list[int]:
    return [
        -(-side // stride) for side, stride in zip(sides, strides, strict=True)
    ]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        values = value.values() if isinstance(value, dict) else value
        for item in values:
            yield from _strings(item)


def _check_weights(content: bytes) -> None:
    import h5py

    declared = 0
    with h5py.File(io.BytesIO(content), "r") as file:
        for item in _items(file):
            if not isinstance(item, h5py.Dataset):
                continue
            plain = (
                item.dtype.kind in "fiu"
                and not item.is_virtual
                and not item.external
                and item.chunks is None  # only chunks can be compressed
            )
            if not plain:
                raise _UnsafeError(f"weights {item.name} of no plain array")
            declared += item.nbytes
    if declared > len(content):
        raise _UnsafeError(
            f"weights of {declared} bytes in a file of {len(content)}"
        )


def _items(group: Any) -> Iterator[Any]:
    """All groups and arrays of an HDF5 file, which must be a tree."""
    import h5py

    seen = set()
    waiting = [group]
    while waiting:
        place = waiting.pop()
        for name in place:
            if not isinstance(place.get(name, getlink=True), h5py.HardLink):
                raise _UnsafeError(f"weights {place.name}/{name} behind a link")
            item = place[name]
            where = h5py.h5o.get_info(item.id).addr
            if where in seen:  # a circle, or one array as several
                raise _UnsafeError(f"weights {place.name}/{name} there twice")
            seen.add(where)
            yield item
            if isinstance(item, h5py.Group):
                waiting.append(item)
