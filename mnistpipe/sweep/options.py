"""What only a sweep can be told; flagdefs.py makes its flags from this."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from mnistpipe import recipes
from mnistpipe.recipes import Interval, Spec

# Each objective, with the direction in which it is better.
OBJECTIVES = {"val_accuracy": "max", "val_loss": "min"}


def _flag(kind: type, default: Any, text: str, **limits: Any) -> Any:
    spec = Spec(kind, "Sweep", text, **limits)
    return dataclasses.field(default=default, metadata={"spec": spec})


@dataclass(frozen=True)
class SweepOptions:
    """What a sweep can be told beside what a run can."""

    # fmt: off
    tuner: str = _flag(
        str, "random", "what proposes the trials", choices=(
            "random", "bayesian", "hyperband"))
    max_trials: int = _flag(
        int, 20, "trials at most, the documented point among them; 0 leaves it"
        " to hyperband, whose brackets end by themselves",
        interval=Interval(0, 100_000))
    search: str = _flag(
        str, "", "hyperparameters to search, comma-separated; empty is all that"
        " have a neighbourhood, and those of --space")
    space: str = _flag(
        str, "", "a JSON file of ranges, {\"rotation\": {\"min\": 0, \"max\":"
        " 30}, \"batch_size\": [32, 64]}, in place of the neighbourhoods; any"
        " field of the recipe may be named; \"log\": true draws logarithms")
    max_parameters: int = _flag(
        int, 0, "parameters of the largest network that is tried; 0 is the"
        " documented network's own number, so that none is wider, and 500,000"
        " with compact500k", interval=Interval(0, 2**31))
    objective: str = _flag(
        str, "val_accuracy", "what a trial is judged by, on the validation"
        " images, in the epoch whose network counts", choices=tuple(OBJECTIVES))
    seeds_per_trial: int = _flag(
        int, 1, "trainings per trial, with the seeds that follow --seed; a"
        " trial is judged by their mean", interval=Interval(1, 1000))
    workers: int = _flag(
        int, 0, "processes that run trials on this machine, its cores divided"
        " among them; 0 runs one trial after another in this one",
        interval=Interval(0, 1000))
    role: str = _flag(
        str, "alone", "'chief' hands out trials to the workers of any machine,"
        " 'worker' runs them; they share the folder --run_dir", choices=(
            "alone", "chief", "worker"))
    chief_address: str = _flag(
        str, "", "host:port where the chief listens, without authentication;"
        " empty is 127.0.0.1:8790, or any free port with --workers")
    worker_id: str = _flag(
        str, "", "a worker's name; one that comes back under its old name"
        " finishes its old trial; empty is the host's")
    # fmt: on

    def __post_init__(self) -> None:
        recipes.validate(self)
        if not self.max_trials and self.tuner != "hyperband":
            raise recipes.RecipeError(
                f"max_trials: expected at least 1 with tuner={self.tuner}, "
                "came 0"
            )
