"""The run options: everything about a run that is not the recipe."""

from dataclasses import dataclass
from typing import Any

from mnistpipe.recipes.fields import (
    COUNT,
    COUNT_OR_OFF,
    Interval,
    integer,
    name,
    replace_fields,
    switch,
    validate,
    with_attributes,
)


@with_attributes
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Everything about a run that is not the recipe."""

    # fmt: off
    data: str = name(
        "Dataset", (), "an .npz file in Keras' layout, or a folder of IDX"
        " files; empty is the embedded MNIST", default="")
    train_examples: int = integer(
        "Dataset", Interval(0, 2**31), "size of a stratified subset of the"
        " training examples; 0 is all", default=0)
    validation: str = name(
        "Dataset", ("split", "none", "test"), "what chooses epoch and learning"
        " rate: 'split' a part of the training examples, 'none' the training"
        " loss, 'test' the test set, so that its score is selected",
        default="split")
    validation_size: int = integer(
        "Dataset", Interval(1, 2**31), "examples that 'split' holds out,"
        " stratified", default=5000)
    evaluate_test: bool = switch(
        "Dataset", "score the network on the test images when the training is"
        " over; a sweep leaves them alone", default=True)
    watch_test: bool = switch(
        "Dataset", "score the test images after every epoch and record the"
        " scores; they choose nothing, neither epoch nor learning rate",
        default=False)
    input: str = name(
        "Dataset", ("auto", "host", "device"), "where pictures are gathered and"
        " augmented: 'device' keeps the data resident on it; 'auto' is device"
        " on a GPU whose memory holds them", default="auto")

    run_dir: str = name(
        "Training", (), "the run folder, which must be new; empty is"
        " runs/<arch>-<time>", default="")
    resume: str = name(
        "Training", (), "the folder of a run that was killed or stopped, to go"
        " on where it was; other flags may be left out, and of those that"
        " decide the result only epochs may differ, upwards", default="")
    save_every: int = integer(
        "Training", COUNT_OR_OFF, "steps between saved states, besides those"
        " at the end of each epoch; 0 is none", default=0)
    seed: int = integer(
        "Training", Interval(0, 2**63 - 1), "seed of everything random",
        default=0)
    jit_compile: str = name(
        "Training", ("auto", "on", "off"), "compile the training step with"
        " XLA; 'auto' is off on a CPU, where it is slower", default="auto")
    steps_per_execution: int = integer(
        "Training", COUNT, "steps in one call of the compiled loop",
        default=1)
    strategy: str = name(
        "Training", ("one", "mirrored"), "'mirrored' shares each batch among"
        " all GPUs of this machine", default="one")
    verbose: int = integer(
        "Training", Interval(0, 2), "0 is silent, 1 a progress bar, 2 a line"
        " per epoch", default=1)
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)

    def replace(self, **changes: Any) -> "RunOptions":
        """The same options with some fields changed, validated anew."""
        return replace_fields(self, changes)
