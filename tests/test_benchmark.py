"""What the benchmark makes of its figures; the figures are nobody's test."""

import importlib
import itertools
import pathlib
import sys

import numpy as np
import pytest

TOOLS = pathlib.Path(__file__).parent.parent / "tools"


@pytest.fixture
def tool(monkeypatch):
    """Imports a module of tools/."""
    monkeypatch.syspath_prepend(TOOLS)
    yield importlib.import_module
    for name in [name for name in sys.modules if name.startswith("benchmark_")]:
        del sys.modules[name]


@pytest.fixture
def timing(tool):
    return tool("benchmark_timing")


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


def test_a_child_answers_when_it_is_asked(tool, tmp_path):
    program = tmp_path / "child.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(TOOLS)!r})\n"
        "import benchmark_children, itertools\n"
        "turns = itertools.count(1)\n"
        "benchmark_children.answer(lambda: [next(turns), sys.argv[1]])\n"
    )
    children = tool("benchmark_children")
    with children.child(str(program), "a") as ask:
        assert [ask(), ask()] == [[1, "a"], [2, "a"]]


def test_speed_counts_images_and_work_after_the_first_quarter(
    tool, monkeypatch
):
    machine = tool("benchmark_machine")
    clock = itertools.count()
    work = iter([0.0, 5.0, 7.0, 9.0])  # before and after each part
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(machine, "_cpu_seconds", lambda: next(work))
    # A turn of 8 s, in which every look at the clock takes a second.
    found = machine.speed(itertools.repeat(None), 10, 8.0)
    # Seven batches until the clock shows 8 s, and one look more at the end.
    assert found == [pytest.approx(70 / 9), pytest.approx(2 / 70 * 1e6)]


def test_rows_compare_by_the_clock_and_by_work(tool):
    machine = tool("benchmark_machine")
    rows = machine.rows(
        {"mnistpipe": [[100, 20], [80, 20]], "peer": [[50, 30], [20, 50]]}, 2
    )
    assert rows[1] == {
        "": "peer",
        "images/s": 35,
        "per core": 17.5,
        "mnistpipe is": 3.0,
        "CPU µs per image": 40,
        "mnistpipe by CPU": 2.0,
    }


MAKERS = [
    ("benchmark_batches", "recipe 1", "mnistpipe"),
    ("benchmark_batches", "crop, flip, jitter", "mnistpipe"),
    ("benchmark_batches", "crop, flip, jitter", "Keras layers"),
    ("benchmark_batches", "RandAugment", "mnistpipe"),
    ("benchmark_loaders", "recipe 1", "torchvision"),
    ("benchmark_loaders", "recipe 1", "albumentations"),
    ("benchmark_loaders", "crop, flip, jitter", "torchvision"),
    ("benchmark_loaders", "crop, flip, jitter", "albumentations"),
    ("benchmark_loaders", "RandAugment", "torchvision"),
]


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(("module", "workload", "name"), MAKERS)
def test_candidates_make_batches_of_one_kind(tool, module, workload, name):
    """Pictures keep their mean, so that no candidate skips its work's scale."""
    for package in tool("benchmark_machine").CANDIDATES[name]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    images = np.full((16, 16, 20, 3), 128, np.uint8)
    batches = tool(module).MAKERS[workload][name](images[:, :, :16], 4)
    batch = next(batches)
    batch = batch[0] if isinstance(batch, tuple | list) else batch
    batch = np.asarray(batch)
    if batch.shape[1] == 3:  # torchvision puts the channels first
        batch = np.moveaxis(batch, 1, -1)
    assert batch.shape == (4, 16, 16, 3) and batch.dtype == np.float32
    assert batch.min() > -1 and batch.max() < 2
    assert 0.1 < batch.mean() < 0.9
