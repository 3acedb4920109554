"""JSON from files that somebody else may have written."""

import json
from typing import Any

import numpy as np

_DEEPEST = 100  # a saved network has about 10
_PIECE = 1 << 20


def loads(content: bytes) -> Any:
    """Parses UTF-8 JSON that is not nested endlessly.

    Without that bound the parser ends in a RecursionError, and meanwhile
    whatever Python tidies up on a full stack fails as loudly.

    Raises:
      ValueError: it is no JSON, or nested too deeply.
    """
    if _depth(content) > _DEEPEST:
        raise ValueError(f"brackets more than {_DEEPEST} deep")
    return json.loads(content.decode("utf-8"))


def _depth(content: bytes) -> int:
    """How deep the brackets go, those in strings among them."""
    step = np.zeros(256, np.int64)
    step[list(b"[{")], step[list(b"]}")] = 1, -1
    depth = deepest = 0
    for start in range(0, len(content), _PIECE):
        piece = np.frombuffer(content[start : start + _PIECE], np.uint8)
        depths = depth + np.cumsum(step[piece])
        depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
    return deepest
