"""What TensorFlow's settings are worth to a training step on this CPU.

As a program, with the settings' name, the architecture and the seconds of a
turn, it is one of the processes that take turns.
"""

from __future__ import annotations

import contextlib
import os
import sys

import benchmark_children

# What differs from the trainer's own settings: environment variables that
# TensorFlow reads, then attributes of Keras' model.
SETTINGS: dict[str, dict[str, str]] = {
    "as it is": {},
    "inter-op threads 1": {"TF_NUM_INTEROP_THREADS": "1"},
    "intra-op threads 1": {"TF_NUM_INTRAOP_THREADS": "1"},
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "steps_per_execution 10": {},
    "jit_compile": {},
}
_ATTRIBUTES: dict[str, dict[str, int]] = {
    "steps_per_execution 10": {"steps_per_execution": 10},
    "jit_compile": {"jit_compile": True},
}


def settings(archs: list[str], rounds: int, seconds: float) -> list:
    """Ms a step of `fit` on a constant batch, by setting."""
    import benchmark_timing as timing

    table = timing.Table(
        "fit on a constant batch, ms a step, by TensorFlow's settings; in "
        "brackets the speed beside the trainer's own"
    )
    for arch in archs:
        with contextlib.ExitStack() as stack:
            asks = {
                name: stack.enter_context(
                    benchmark_children.child(
                        *(__file__, name, arch, str(seconds)), env=variables
                    )
                )
                for name, variables in SETTINGS.items()
            }
            figures = timing.interleaved(asks, rounds)
        row = {"": arch}
        for name, figure in timing.medians(figures).items():
            speed = timing.ratio(figures, "as it is", name)
            row[name] = f"{figure:.1f} ({speed:.2f})"
        table.rows.append(row)
    return [table]


def _answer(name: str, arch: str, seconds: float) -> None:
    import benchmark_fit

    from mnistpipe import data, recipes

    recipe, digits = recipes.recipe_for(arch), data.load()
    feed = benchmark_fit.still_feed(recipe, digits, "host")
    for attribute, value in _ATTRIBUTES.get(name, {}).items():
        setattr(feed.model, attribute, value)  # not compiled yet
    _, _, batches = benchmark_fit.constant_batches(recipe, digits)
    steps = benchmark_fit.enough_steps(feed.model, batches, seconds)
    benchmark_children.answer(
        lambda: benchmark_fit.step_seconds(feed.model, batches, steps)[0] * 1e3
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _answer(sys.argv[1], sys.argv[2], float(sys.argv[3]))
