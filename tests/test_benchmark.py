"""What the benchmark makes of its figures; the figures are nobody's test."""

import itertools
import pathlib
import sys

import pytest

TOOLS = pathlib.Path(__file__).parent.parent / "tools"


@pytest.fixture
def timing(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    import benchmark_timing

    yield benchmark_timing
    sys.modules.pop("benchmark_timing")


def test_turns_go_to_and_fro_and_the_first_does_not_count(timing):
    turns = itertools.count()
    calls = []

    def candidate(name):
        def measure():
            calls.append(name)
            return next(turns)

        return measure

    figures = timing.interleaved({n: candidate(n) for n in "abc"}, rounds=2)
    assert "".join(calls) == "cba" + "abc" + "cba"
    assert figures == {"a": [3, 8], "b": [4, 7], "c": [5, 6]}


def test_drift_cancels_in_a_ratio(timing):
    # The machine gets 10 times slower from round to round.
    figures = {"slow": [2.0, 20.0, 300.0], "fast": [1.0, 10.0, 100.0]}
    assert timing.ratio(figures, "slow", "fast") == 2.0
    assert timing.medians(figures) == {"slow": 20.0, "fast": 10.0}


def test_a_table_is_markdown(timing):
    rows = [{"": "a", "ms": 1234.5}, {"": "b", "ms": 0.12345, "x": 7}]
    table = timing.Table("Title", rows, ["behind a peer"])
    assert table.markdown().splitlines() == [
        "**Title**",
        "",
        "|  | ms | x |",
        "|---|---|---|",
        "| a | 1,234 | – |",
        "| b | 0.123 | 7 |",
        "",
        "- behind a peer",
    ]
