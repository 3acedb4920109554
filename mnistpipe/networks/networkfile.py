"""Reads the file of a saved network without running anything in the file.

A `.keras` file is a zip of `config.json` (layers), `metadata.json` (versions)
and `model.weights.h5`. Keras never sees the configuration: this module reads
it as a chain of the layer descriptions of `layers.py`, from which `models.load`
builds the network, and Keras only reads the weights. The checks keep a hostile
file from running code, reading other files or exhausting memory:

    members   no others, not compressed, each of a bounded size
    config    only layers that `layers.py` describes, in a chain, with a bounded
              number of parameters and bounded pictures
    weights   plain arrays, together at most as large as the file: no links, no
              external or virtual data, no compression
"""

import dataclasses
import io
import itertools
import math
import os
import zipfile
from collections.abc import Iterator
from typing import Annotated, Any

from mnistpipe import safejson
from mnistpipe.errors import UserError
from mnistpipe.networks import layers
from mnistpipe.recipes import ACTIVATIONS, PRECISIONS, Interval

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_LARGEST = {CONFIG: 1 << 24, METADATA: 1 << 20, WEIGHTS: 1 << 30}
_MOST_PARAMETERS = 1 << 28
# Values that one layer gives for one picture; 1024x1024 with 64 channels.
_MOST_VALUES = 1 << 26

_KINDS = {kind.kind: kind for kind in layers.KINDS}
_ACTIVATIONS = {"linear", "softmax", *ACTIVATIONS}
# Settings that a description leaves at Keras' default. A network with another
# value is refused, because the network that is built would differ.
_DEFAULTS = {
    "data_format": "channels_last",
    "groups": 1,
    "use_bias": True,
    "epsilon": 1e-3,
    "center": True,
    "scale": True,
    "pool_size": [2, 2],
    "strides": [2, 2],
    "padding": "valid",
    "keepdims": False,
}


class ModelError(UserError):
    """A network that cannot be built or loaded; the message is one line."""


class _UnsafeError(ValueError):
    """Says what the file holds instead of a network that can be loaded."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a network takes and gives: (H, W, C), and so many probabilities."""

    shape: tuple[int, int, int]
    classes: int


@dataclasses.dataclass(frozen=True)
class SavedNetwork:
    """The description of a saved network.

    Attributes:
      name: the network's name, an architecture's for networks of a recipe.
      sizes: input and output sizes.
      layers: all layers after the input, each with its dtype policy.
    """

    name: str
    sizes: Sizes
    layers: list[tuple[layers.Layer, str]]


def read(path: str | os.PathLike[str]) -> SavedNetwork:
    """Checks a file and returns the description of its network.

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
            saved = _network(safejson.loads(archive.read(CONFIG)))
            _check_weights(archive.read(WEIGHTS))
    except Exception as damage:  # zipfile and h5py raise nearly any class.
        raise error(path, damage) from damage
    return saved


def error(path: str, got: Exception | str) -> ModelError:
    """Returns the one-line error about a file that cannot be loaded."""
    text = str(got).strip() or type(got).__name__
    first = "".join(c if c.isprintable() else "?" for c in text.splitlines()[0])
    return ModelError(
        f"{path}: expected a network saved as .keras, got {first[:500]}"
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


def _network(config: dict[str, Any]) -> SavedNetwork:
    if config["class_name"] != "Functional":
        raise _UnsafeError(f"a {config['class_name']} instead of a network")
    saved = config["config"]["layers"]
    first, *others = saved
    if first["class_name"] != "InputLayer":
        raise _UnsafeError("a network that does not begin with its input")
    _check_chain(saved)
    described = [_layer(layer) for layer in others]
    inputs = first["config"]
    shape = safejson.decode(
        tuple[Annotated[int, Interval(1, 1 << 20)], ...],
        (inputs.get("batch_shape") or inputs["batch_input_shape"])[1:],
        "input shape",
    )
    shaped = layers.infer_shapes([layer for layer, _ in described], shape)
    parameters = sum(one.parameters for one in shaped)
    values = max(math.prod(shape), *(math.prod(one.shape) for one in shaped))
    if parameters > _MOST_PARAMETERS or values > _MOST_VALUES:
        raise _UnsafeError(
            f"one of {parameters:.3g} parameters and up to {values:.3g}"
            f" values per picture, more than {_MOST_PARAMETERS:.3g} and"
            f" {_MOST_VALUES:.3g}"
        )
    height, width, channels = shape
    (classes,) = shaped[-1].shape
    return SavedNetwork(
        name=safejson.decode(str, config["config"]["name"], "name"),
        sizes=Sizes((height, width, channels), classes),
        layers=described,
    )


def _check_chain(saved: list[dict[str, Any]]) -> None:
    """Refuses a layer whose input is not the layer before."""
    names = {layer["config"]["name"] for layer in saved}
    for before, layer in itertools.pairwise(saved):
        if names.intersection(_strings(layer["inbound_nodes"])) != {
            before["config"]["name"]
        }:
            raise _UnsafeError("a network that is not a chain of layers")


def _layer(saved: dict[str, Any]) -> tuple[layers.Layer, str]:
    """Returns the description of a layer and the name of its dtype policy."""
    module, name = saved.get("module"), saved["class_name"]
    if module not in (None, "keras.layers") or name not in _KINDS:
        foreign = f"{module}.{name}" if module else name
        raise _UnsafeError(f"one with {foreign}, which is not loaded")
    kind, config = _KINDS[name], saved["config"]
    fields = {field.name for field in dataclasses.fields(kind)}
    for setting, value in _DEFAULTS.items():
        if setting not in fields and config.get(setting, value) != value:
            raise _UnsafeError(
                f"{name}.{setting} of {config[setting]!r:.80} and not {value!r}"
            )
    if config.get("activation", "linear") not in _ACTIVATIONS:
        raise _UnsafeError(f"an activation {config['activation']!r:.80}")
    # Keras saves the size of a square kernel as [3, 3].
    square = {
        key: value[0]
        for key, value in config.items()
        if isinstance(value, list) and value and value == value[:1] * 2
    }
    policy = config["dtype"]
    policy = policy["config"]["name"] if isinstance(policy, dict) else policy
    if policy not in PRECISIONS:
        raise _UnsafeError(f"a precision {policy!r:.80}")
    return safejson.decode_fields(kind, config | square, name), policy


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
                and item.chunks is None  # Only chunks can be compressed.
            )
            if not plain:
                raise _UnsafeError(f"weights {item.name} of no plain array")
            declared += item.nbytes
    if declared > len(content):
        raise _UnsafeError(
            f"weights of {declared} bytes in a file of {len(content)}"
        )


def _items(group: Any) -> Iterator[Any]:
    """Yields all groups and arrays of an HDF5 file, which must be a tree."""
    import h5py

    seen = set()
    waiting = [group]
    while waiting:
        parent = waiting.pop()
        for name in parent:
            if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
                raise _UnsafeError(
                    f"weights {parent.name}/{name} behind a link"
                )
            item = parent[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # A circle, or one array under two names.
                raise _UnsafeError(f"weights {parent.name}/{name} there twice")
            seen.add(address)
            yield item
            if isinstance(item, h5py.Group):
                waiting.append(item)
