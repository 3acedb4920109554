"""Pipelines as plain dicts, which JSON holds, and back.

A transform is {"class": its name, "fields": {...}}. Classes and functions
of your own are found by the name under which they are registered with
``keras.saving.register_keras_serializable``: a file names code and never
contains code.
"""

from __future__ import annotations

import base64
from typing import Any

import keras
import numpy as np

from mnistpipe import pipeline
from mnistpipe.pipeline.compose import Compose
from mnistpipe.pipeline.transform import Transform

TRANSFORMS = {
    name: exported
    for name, exported in sorted(vars(pipeline).items())
    if isinstance(exported, type)
    and issubclass(exported, Transform)
    and exported is not Transform
}


def to_config(augment: Compose) -> dict[str, Any]:
    """The pipeline as dicts, lists, strings and numbers."""
    return {
        "transforms": [_entry(step) for step in augment.transforms],
        "dtype": augment.dtype,
    }


def from_config(config: dict[str, Any]) -> Compose:
    """The pipeline that ``to_config`` was given.

    Raises:
      ValueError: for a class or function that is not registered.
    """
    transforms = [_transform(entry) for entry in config["transforms"]]
    return Compose(transforms, config["dtype"])


def _entry(transform: Transform) -> dict[str, Any]:
    fields = transform.get_config()
    return {
        "class": _name(type(transform)),
        "fields": {name: _encode(value) for name, value in fields.items()},
    }


def _transform(entry: dict[str, Any]) -> Transform:
    fields = {name: _decode(value) for name, value in entry["fields"].items()}
    return _transform_class(entry["class"])(**fields)


def _name(thing: Any) -> str:
    name: str = thing.__name__
    if TRANSFORMS.get(name) is thing:
        return name
    name = keras.saving.get_registered_name(thing)
    if keras.saving.get_registered_object(name) is not thing:
        raise ValueError(
            f"Expected {thing.__qualname__} to be registered with "
            "keras.saving.register_keras_serializable, so that it can be "
            "saved by name. Received: one that is not"
        )
    return name


def _transform_class(name: str) -> type[Transform]:
    found = TRANSFORMS.get(name) or keras.saving.get_registered_object(name)
    if not (isinstance(found, type) and issubclass(found, Transform)):
        raise ValueError(
            f"Expected one of {', '.join(TRANSFORMS)}, or a Transform "
            "registered with keras.saving.register_keras_serializable. "
            f"Received: {name!r}"
        )
    return found


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).data).decode()
        return {
            "array": data,
            "dtype": value.dtype.str,
            "shape": list(value.shape),
        }
    if isinstance(value, Transform):
        return {"transform": _entry(value)}
    if isinstance(value, (tuple, list)):
        return [_encode(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if callable(value):
        return {"function": _name(value)}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if isinstance(value, dict) and "array" in value:
        data = np.frombuffer(base64.b64decode(value["array"]), value["dtype"])
        return data.reshape(value["shape"])
    if isinstance(value, dict) and "transform" in value:
        return _transform(value["transform"])
    if isinstance(value, dict):
        return _function(value["function"])
    return value


def _function(name: str) -> Any:
    found = keras.saving.get_registered_object(name)
    if not callable(found):
        raise ValueError(
            "Expected a function registered with "
            f"keras.saving.register_keras_serializable. Received: {name!r}"
        )
    return found
