"""The options of `preview`, from which its flags derive. No TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistpipe.recipes import (
    Interval,
    Recipe,
    RecipeError,
    field,
    specs,
    validate,
)

_GROUP = "Preview"
_MOST_PICTURES = 2000  # a figure of these takes about 50 MB
_ANIMATIONS = (".gif", ".png", ".apng")


@dataclass(frozen=True)
class PreviewOptions:
    """The options of a preview: which examples, how many draws, which file."""

    # fmt: off
    data: str = field(
        str, _GROUP, "an .npz file in Keras' layout, a folder of IDX files or"
        " a folder of pictures, whose training examples are shown; empty is"
        " the embedded MNIST", default="")
    examples: int = field(
        int, _GROUP, "number of examples, one per row, of each class in turn",
        interval=Interval(1, 100), default=8)
    draws: int = field(
        int, _GROUP, "number of augmented versions of each example; with"
        " --animate, number of frames", interval=Interval(1, 100), default=10)
    captions: bool = field(
        bool, _GROUP, "write the drawn parameters below each picture",
        default=False)
    sweep: str = field(
        str, _GROUP, "strengths that are shown side by side, as"
        " rotation:0,5,10,20, for one field of the augmentation", default="")
    animate: bool = field(
        bool, _GROUP, "write an animation with a frame per draw",
        default=False)
    out: str = field(
        str, _GROUP, "the file that is written, and replaced if it exists; .png"
        " and with --animate .gif, .png or .apng; empty is preview.png, with"
        " --animate preview.gif", default="")
    seed: int = field(
        int, _GROUP, "seed of the draws", interval=Interval(0, 2**63 - 1),
        default=0)
    normalize_pictures: bool = field(
        bool, _GROUP, "bring pictures in files to MNIST's convention, as"
        " predict does; without it, pictures must have the same size",
        default=True)
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        _, values = self.strengths
        pictures = self.examples * (1 + self.draws * max(1, len(values)))
        if pictures > _MOST_PICTURES:
            raise RecipeError(
                f"draws: expected at most {_MOST_PICTURES} pictures in a"
                f" preview, got {pictures} (examples × draws × strengths)"
            )
        endings = _ANIMATIONS if self.animate else (".png",)
        if self.path.suffix.lower() not in endings:
            raise RecipeError(
                f"out: expected a file name that ends in"
                f" {' or '.join(endings)}, got {self.out!r}"
            )

    @property
    def path(self) -> Path:
        """The file to write."""
        default = "preview.gif" if self.animate else "preview.png"
        return Path(self.out or default)

    @property
    def strengths(self) -> tuple[str, tuple[Any, ...]]:
        """The swept field and its values; ("", ()) without a sweep."""
        if not self.sweep:
            return "", ()
        fields = {
            name: spec
            for name, spec in specs(Recipe).items()
            if spec.group == "Augmentation"
        }
        name, colon, values = self.sweep.partition(":")
        if name not in fields or not colon:
            raise RecipeError(
                "sweep: expected NAME:VALUE,VALUE,… with one of the names"
                f" {', '.join(fields)}, got {self.sweep!r}"
            )
        try:
            parsed = tuple(fields[name].parse(v) for v in values.split(","))
        except ValueError as error:
            raise RecipeError(f"sweep of {name}: {error}") from None
        return name, tuple(dict.fromkeys(parsed))
