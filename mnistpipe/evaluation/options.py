"""The options of `evaluate` and `predict`, from which their flags derive."""

from dataclasses import dataclass

from mnistpipe.recipes import Interval, RecipeError, field, validate

# A longer list is a mistake in a glob.
_MOST_RUNS = 1000
_GROUP = "Scoring"


@dataclass(frozen=True)
class PredictionOptions:
    """The networks that answer, and how pictures are prepared for them."""

    # fmt: off
    run: str = field(
        str, _GROUP, "the folder of a finished run; several folders, separated"
        " by commas, answer as an ensemble: the mean of their probabilities",
        default="")
    tta: int = field(
        int, _GROUP, "test-time augmentation: number of versions of each"
        " picture whose probabilities are averaged: the picture itself and"
        " versions drawn by the recipe's own augmentation",
        interval=Interval(1, 1000), default=1)
    tta_seed: int = field(
        int, _GROUP, "seed of the draws of --tta",
        interval=Interval(0, 2**63 - 1), default=0)
    normalize_pictures: bool = field(
        bool, _GROUP, "bring pictures in files to MNIST's convention: white on"
        " black, the digit in a box of 20x20 pixels, centred by its mass in"
        " 28x28; without it, pictures must have the network's size and"
        " polarity", default=True)
    json: bool = field(
        bool, _GROUP, "print JSON instead of a table", default=False)
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.runs) or not 1 <= len(self.runs) <= _MOST_RUNS:
            raise RecipeError(
                "run: expected the folder of a finished run, or several,"
                f" separated by commas, got {self.run[:200]!r}"
            )
        twice = sorted({run for run in self.runs if self.runs.count(run) > 1})
        if twice:
            raise RecipeError(f"run: expected each run once, got {twice[0]!r}")

    @property
    def runs(self) -> tuple[str, ...]:
        """The folders of the runs, without slashes at the end."""
        return tuple(run.rstrip("/") or run for run in self.run.split(","))


@dataclass(frozen=True)
class EvaluationOptions(PredictionOptions):
    """The data for scores, and what is shown of the scores."""

    # fmt: off
    data: str = field(
        str, _GROUP, "an .npz file in Keras' layout or a folder of IDX files"
        " (only the test part is read), or a folder of pictures with one"
        " sub-folder per class, named by the class; empty is the test set of"
        " the run's own data", default="")
    hardest: int = field(
        int, _GROUP, "number of hardest examples to list: the examples whose"
        " own class got the lowest probability", interval=Interval(0, 1000),
        default=20)
    out: str = field(
        str, _GROUP, "a new folder for evaluation.txt, evaluation.json and"
        " hardest.png", default="")
    # fmt: on
