"""Parsing as json does, but for what is nested too deeply."""

import json

import pytest

from mnistpipe import safejson


@pytest.mark.parametrize(
    "value", [{}, [], [1, {"a": [None, "ü", 1.5]}], "text", 3, {"a": "[" * 50}]
)
def test_as_json(value):
    assert safejson.loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("form", [("[", "1", "]"), ('{"a":', "1", "}")])
def test_depth(form, monkeypatch):
    left, middle, right = form

    def nested(depth):
        return (left * depth + middle + right * depth).encode()

    assert safejson.loads(nested(100)) == json.loads(nested(100))
    with pytest.raises(ValueError, match="100 deep"):
        safejson.loads(nested(101))
    # However it is cut into pieces.
    monkeypatch.setattr(safejson, "_PIECE", 7)
    safejson.loads(nested(100))
    with pytest.raises(ValueError, match="100 deep"):
        safejson.loads(nested(101))
    flat = json.dumps([[[]]] * 1000).encode()
    assert len(safejson.loads(flat)) == 1000


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1,]"])
def test_what_is_no_json(content):
    with pytest.raises(ValueError):
        safejson.loads(content)
