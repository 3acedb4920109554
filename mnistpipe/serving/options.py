"""The options of the demo, from which its flags derive."""

from dataclasses import dataclass

from mnistpipe.recipes import Interval, RecipeError, field, validate

_GROUP = "Demo"


@dataclass(frozen=True)
class DemoOptions:
    """Which networks answer, where the page is, where drawings are saved."""

    # fmt: off
    run: str = field(
        str, _GROUP, "the folder of a finished run; several folders, separated"
        " by commas, answer side by side and as an ensemble", default="")
    host: str = field(
        str, _GROUP, "address to listen on; 127.0.0.1 is reached from this"
        " machine only, 0.0.0.0 from every machine in the network",
        default="127.0.0.1")
    port: int = field(
        int, _GROUP, "port to listen on", interval=Interval(1, 65535),
        default=7860)
    save_to: str = field(
        str, _GROUP, "folder for saved drawings, one sub-folder per class;"
        " `evaluate --data` reads the folder", default="drawings")
    versions: int = field(
        int, _GROUP, "number of augmented versions that show how steady an"
        " answer is", interval=Interval(1, 1000), default=20)
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.runs):
            raise RecipeError(
                "run: expected the folder of a finished run, or several,"
                f" separated by commas, got {self.run[:200]!r}"
            )

    @property
    def runs(self) -> tuple[str, ...]:
        """The folders of the runs, without slashes at the end."""
        return tuple(run.rstrip("/") or run for run in self.run.split(","))
