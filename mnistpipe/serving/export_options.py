"""The options of the export, from which its flags derive."""

from dataclasses import dataclass

from mnistpipe.recipes import RecipeError, field, validate

FORMATS = ("saved_model", "litert", "onnx", "keras")
_GROUP = "Export"


@dataclass(frozen=True)
class ExportOptions:
    """Which networks are exported, and to what."""

    # fmt: off
    run: str = field(
        str, _GROUP, "the folder of a finished run; several folders, separated"
        " by commas, become one ensemble model: the mean of their"
        " probabilities", default="")
    format: str = field(
        str, _GROUP, "'saved_model' is for TensorFlow and TensorFlow Serving,"
        " 'litert' for phones and small devices, 'onnx' for ONNX Runtime, in"
        " browsers too, 'keras' for Keras", choices=FORMATS,
        default="saved_model")
    int8: bool = field(
        bool, _GROUP, "quantise a 'litert' model to 8-bit integers",
        default=False)
    out: str = field(
        str, _GROUP, "a new folder for the model and its card; empty is"
        " export-<format> in the folder of the first run", default="")
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.runs):
            raise RecipeError(
                "run: expected the folder of a finished run, or several,"
                f" separated by commas, got {self.run[:200]!r}"
            )
        if self.int8 and self.format != "litert":
            raise RecipeError(
                f"int8: expected --format=litert with it, got {self.format}"
            )

    @property
    def runs(self) -> tuple[str, ...]:
        """The folders of the runs, without slashes at the end."""
        return tuple(run.rstrip("/") or run for run in self.run.split(","))
