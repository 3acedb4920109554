"""What evaluate and predict can be told; flagdefs.py makes flags from this."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from mnistpipe import recipes
from mnistpipe.recipes import Interval, RecipeError, Spec

# Each is held in memory once; an ensemble of more is a mistake in a glob.
_MOST_RUNS = 1000


def _flag(kind: type, default: Any, text: str, **limits: Any) -> Any:
    spec = Spec(kind, "Scoring", text, **limits)
    return dataclasses.field(default=default, metadata={"spec": spec})


@dataclass(frozen=True)
class PredictionOptions:
    """Which networks answer, and what they are shown."""

    # fmt: off
    run: str = _flag(
        str, "", "the folder of a finished run; several, comma-separated,"
        " answer as an ensemble, by the mean of their probabilities")
    tta: int = _flag(
        int, 1, "test-time augmentation: so many versions of each picture, of"
        " which the probabilities are averaged: the picture itself, and the"
        " others drawn by the recipe's own augmentation",
        interval=Interval(1, 1000))
    tta_seed: int = _flag(
        int, 0, "seed of these draws", interval=Interval(0, 2**63 - 1))
    normalize_pictures: bool = _flag(
        bool, True, "bring pictures in files to MNIST's convention: white on"
        " black, the digit in a box of 20x20 pixels, centred by its mass in"
        " 28x28; otherwise they must have the network's size and polarity")
    json: bool = _flag(
        bool, False, "print JSON in place of the table")
    # fmt: on

    def __post_init__(self) -> None:
        recipes.validate(self)
        if not all(self.runs) or not 1 <= len(self.runs) <= _MOST_RUNS:
            raise RecipeError(
                "run: expected the folder of a finished run, or several,"
                f" comma-separated, came {self.run[:200]!r}"
            )
        twice = sorted({run for run in self.runs if self.runs.count(run) > 1})
        if twice:
            raise RecipeError(f"run: expected each run once, came {twice[0]!r}")

    @property
    def runs(self) -> tuple[str, ...]:
        """The folders; a slash at the end makes no difference."""
        return tuple(run.rstrip("/") or run for run in self.run.split(","))


@dataclass(frozen=True)
class EvaluationOptions(PredictionOptions):
    """What the networks are scored on, and what is shown of it."""

    # fmt: off
    data: str = _flag(
        str, "", "an .npz file in Keras' layout or a folder of IDX files (of"
        " either, only the test part is read), or a folder of pictures in one"
        " sub-folder per class, named by its number; empty is the test set of"
        " the run's own data")
    hardest: int = _flag(
        int, 20, "how many of the hardest examples are listed: those whose own"
        " class got the least probability", interval=Interval(0, 1000))
    out: str = _flag(
        str, "", "a new folder for evaluation.txt, evaluation.json and"
        " hardest.png")
    # fmt: on
