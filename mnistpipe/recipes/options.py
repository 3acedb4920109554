"""The run options: everything about a run that is not the recipe."""

import os
import sys
from dataclasses import dataclass
from typing import Any

from mnistpipe.recipes.fields import (
    COUNT,
    COUNT_OR_OFF,
    Interval,
    field,
    replace_fields,
    validate,
    with_attributes,
)


@with_attributes
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Everything about a run that is not the recipe."""

    # fmt: off
    data: str = field(
        str, "Dataset", "an .npz file in Keras' layout, a folder of IDX"
        " files, or a folder of pictures per class; empty is the embedded"
        " MNIST", default="")
    train_examples: int = field(
        int, "Dataset", "number of training examples in a stratified subset;"
        " 0 takes all", interval=Interval(0, 2**31), default=0)
    validation: str = field(
        str, "Dataset", "what chooses the epoch and the learning rate:"
        " 'split' is a part of the training examples, 'none' the training"
        " loss, 'test' the test set, so that the test score is selected",
        choices=("split", "none", "test"), default="split")
    validation_size: int = field(
        int, "Dataset", "number of training examples that 'split' holds out,"
        " stratified", interval=Interval(1, 2**31), default=5000)
    evaluate_test: bool = field(
        bool, "Dataset", "score the network on the test images after the"
        " training; a sweep never reads the test images", default=True)
    watch_test: bool = field(
        bool, "Dataset", "score the test images after every epoch and record"
        " the scores; they choose neither epoch nor learning rate",
        default=False)
    input: str = field(
        str, "Dataset", "where pictures are gathered and augmented: 'device'"
        " keeps the data on the device; 'auto' is 'device' on a GPU if the"
        " images have at most 1 GiB, else 'host'",
        choices=("auto", "host", "device"), default="auto")

    run_dir: str = field(
        str, "Training", "the run folder, which must be new; empty is"
        " runs/<arch>-<time>", default="")
    resume: str = field(
        str, "Training", "the folder of an interrupted run, which continues"
        " from its last state; other flags may be left out; of the flags that"
        " decide the result only epochs may differ, and only upwards",
        default="")
    save_every: int = field(
        int, "Training", "steps between saved states, besides the state at the"
        " end of each epoch; 0 saves no others", interval=COUNT_OR_OFF,
        default=0)
    seed: int = field(
        int, "Training", "seed of everything random",
        interval=Interval(0, 2**63 - 1), default=0)
    jit_compile: str = field(
        str, "Training", "compile the training step with XLA; 'auto' is 'off'"
        " on a CPU, where XLA is slower", choices=("auto", "on", "off"),
        default="auto")
    steps_per_execution: int = field(
        int, "Training", "steps in one call of the compiled loop",
        interval=COUNT, default=1)
    strategy: str = field(
        str, "Training", "'mirrored' divides each batch among all GPUs of this"
        " machine", choices=("one", "mirrored"), default="one")
    verbose: int = field(
        int, "Training", "0 is silent, 1 a progress bar, 2 a line per epoch;"
        " -1 is a progress bar in a terminal and a line per epoch elsewhere,"
        " with TERM=dumb, and with NO_COLOR", interval=Interval(-1, 2),
        default=-1)
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)

    def replace(self, **changes: Any) -> "RunOptions":
        """Returns the options with some fields changed, checked again."""
        return replace_fields(self, changes)

    def keras_verbose(self) -> int:
        """Returns ``verbose`` as Keras' ``fit`` takes it: 0, 1 or 2.

        Keras' progress bar rewrites its line many times a second and, under
        Keras 3, colours it. A file, a dumb terminal and a user who sets
        NO_COLOR (https://no-color.org) therefore get a line per epoch.
        """
        if self.verbose >= 0:
            return self.verbose
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return 1 if sys.stdout.isatty() and not plain else 2
