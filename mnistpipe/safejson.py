"""JSON that somebody else may have written: parsed within bounds and typed.

`decode` turns parsed JSON into values of annotated types: dataclasses, tuples,
mappings, unions and plain types. `Annotated[int, Interval(0, 9)]` adds a range;
anything with `in` and `str()` can be a range.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

_DEEPEST = 100  # a saved network has about 10
_PIECE = 1 << 20

# A number that may be NaN or infinite, which Python's JSON can write.
AnyFloat = typing.NewType("AnyFloat", float)
_WORDS = {
    int: "an integer",
    float: "a finite number",
    AnyFloat: "a number",
    bool: "true or false",
    str: "printable text",
    types.NoneType: "null",
}


def loads(content: bytes) -> Any:
    """Parses UTF-8 JSON whose nesting is bounded.

    Deeply nested JSON would end in a RecursionError, and destructors that
    Python runs on a full stack would fail as well.

    Raises:
      ValueError: the bytes are not JSON, or are nested too deeply.
    """
    if _depth(content) > _DEEPEST:
        raise ValueError(f"brackets more than {_DEEPEST} deep")
    return json.loads(content.decode("utf-8"))


def _depth(content: bytes) -> int:
    """Returns the depth of the brackets; brackets in strings count too."""
    step = np.zeros(256, np.int64)
    step[list(b"[{")], step[list(b"]}")] = 1, -1
    depth = deepest = 0
    for start in range(0, len(content), _PIECE):
        piece = np.frombuffer(content[start : start + _PIECE], np.uint8)
        depths = depth + np.cumsum(step[piece])
        depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
    return deepest


def decode(kind: Any, value: Any, name: str = "") -> Any:
    """Returns a parsed JSON value as the type that `kind` describes.

    Args:
      kind: `int`, `float` (finite), `AnyFloat`, `bool`, `str` (printable),
        `None`, `Literal[…]`, a union, `tuple[X, ...]`, `Mapping[str, X]`,
        `Annotated[X, range]`, or a dataclass of such fields.
      value: what `loads` gave.
      name: what the value is called in error messages.

    Raises:
      ValueError: one line, "NAME: expected X, got Y".
    """
    outer, inner = typing.get_origin(kind), typing.get_args(kind)
    if outer is typing.Annotated:
        decoded = decode(inner[0], value, name)
        if decoded is not None and decoded not in inner[1]:
            raise _error(name, f"a number in {inner[1]}", value)
        return decoded
    if outer in (typing.Union, types.UnionType):
        rest = [one for one in inner if one is not types.NoneType]
        return None if value is None else decode(rest[0], value, name)
    if outer is typing.Literal:
        if not any(value is one or value == one for one in inner):
            raise _error(name, " or ".join(map(str, inner)), value)
        return value
    if outer is tuple:
        items = _expect(list, "a list", value, name)
        return tuple(decode(inner[0], item, name) for item in items)
    if outer is Mapping:
        items = _expect(dict, "an object", value, name).items()
        return {
            decode(str, key, name): decode(inner[1], item, _join(name, key))
            for key, item in items
        }
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if isinstance(value, kind):
            return value
        return decode_fields(kind, value, name)
    return _plain(kind, value, name)


def decode_fields(cls: type, value: Any, name: str = "") -> Any:
    """Returns an object of a dataclass from a JSON object.

    Fields with a default may be missing. Keys that are no field are ignored,
    since a newer version may have written them, unless the class sets
    `refuses_unknown`.
    """
    given = _expect(dict, "an object", value, name)
    if getattr(cls, "refuses_unknown", False):
        known = [field.name for field in dataclasses.fields(cls)]
        for key in given:
            if key not in known:
                raise _error(name, f"only {', '.join(known)}", key)
    hints = typing.get_type_hints(cls, include_extras=True)
    values = {}
    for field in dataclasses.fields(cls):
        place = _join(name, field.name)
        if field.name in given:
            values[field.name] = decode(
                hints[field.name], given[field.name], place
            )
        elif not _has_default(field):
            raise ValueError(f"{place}: expected a value, got none")
    return cls(**values)


def _has_default(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return not (field.default is missing and field.default_factory is missing)


def _plain(kind: Any, value: Any, name: str) -> Any:
    numbers = (int, float) if kind in (float, AnyFloat) else kind
    # True is an int in Python.
    good = isinstance(value, numbers) and (
        kind is bool or not isinstance(value, bool)
    )
    if good and kind in (float, AnyFloat):
        try:
            value = float(value)
        except OverflowError:
            good = False
        good = good and (kind is AnyFloat or math.isfinite(value))
    if good and kind is str:
        good = value.isprintable()
    if not good:
        raise _error(name, _WORDS[kind], value)
    return value


def _expect(kind: type, words: str, value: Any, name: str) -> Any:
    if not isinstance(value, kind):
        raise _error(name, words, value)
    return value


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _error(name: str, expected: str, value: Any) -> ValueError:
    got = repr(value)
    if len(got) > 80:
        got = f"{got[:77]}..."
    return ValueError(f"{name}: expected {expected}, got {got}")
