"""The options that only a sweep has, from which its flags derive."""

from dataclasses import dataclass

from mnistpipe.recipes import Interval, RecipeError, field, validate

# Each objective, with the direction in which it is better.
OBJECTIVES = {"val_accuracy": "max", "val_loss": "min"}
_GROUP = "Sweep"


@dataclass(frozen=True)
class SweepOptions:
    """The options that a sweep has beside the options of a run."""

    # fmt: off
    tuner: str = field(
        str, _GROUP, "the method that proposes trials",
        choices=("random", "bayesian", "hyperband"), default="random")
    max_trials: int = field(
        int, _GROUP, "largest number of trials, with the documented point; 0"
        " is for hyperband only, whose brackets end by themselves",
        interval=Interval(0, 100_000), default=20)
    search: str = field(
        str, _GROUP, "hyperparameters to search, separated by commas; empty is"
        " all that have a neighbourhood, and those of --space", default="")
    space: str = field(
        str, _GROUP, "a JSON file of ranges that replace the neighbourhoods,"
        " {\"rotation\": {\"min\": 0, \"max\": 30}, \"batch_size\": [32, 64]};"
        " any field of the recipe may be named; \"log\": true draws logarithms",
        default="")
    max_parameters: int = field(
        int, _GROUP, "number of parameters of the largest network that is"
        " tried; 0 is the number of the documented network, so that none is"
        " wider, and 500,000 with compact500k", interval=Interval(0, 2**31),
        default=0)
    objective: str = field(
        str, _GROUP, "the metric on the validation images by which a trial is"
        " judged, in the epoch whose network counts", choices=OBJECTIVES,
        default="val_accuracy")
    seeds_per_trial: int = field(
        int, _GROUP, "trainings per trial, with the seeds that follow --seed;"
        " a trial is judged by their mean", interval=Interval(1, 1000),
        default=1)
    workers: int = field(
        int, _GROUP, "number of trials that this machine runs at a time, which"
        " divide its cores; 0 runs one trial after another on all cores",
        interval=Interval(0, 1000), default=0)
    role: str = field(
        str, _GROUP, "'chief' hands out trials to the workers of any machine,"
        " 'worker' runs them; they share the folder --run_dir",
        choices=("alone", "chief", "worker"), default="alone")
    chief_address: str = field(
        str, _GROUP, "host:port where the chief listens, for workers that can"
        " read the secret in --run_dir; empty is 127.0.0.1:8790", default="")
    worker_id: str = field(
        str, _GROUP, "the name of a worker; a worker that returns under its"
        " old name finishes its old trial; empty is the name of the host",
        default="")
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        if not self.max_trials and self.tuner != "hyperband":
            raise RecipeError(
                f"max_trials: expected at least 1 with tuner={self.tuner}, "
                "got 0"
            )
