"""The options of `python -m mnistpipe.report`, from which its flags derive."""

from dataclasses import dataclass

from mnistpipe.recipes import RecipeError, field, validate

_GROUP = "Report"


@dataclass(frozen=True)
class ReportOptions:
    """What is reported on, and where the page goes."""

    # fmt: off
    run: str = field(
        str, _GROUP, "the folder of a run; several folders, separated by"
        " commas, are shown side by side", default="")
    sweep: str = field(
        str, _GROUP, "the folder of a sweep, in place of --run", default="")
    out: str = field(
        str, _GROUP, "the page to write, which must be new; empty is"
        " report.html in the folder of a single run or of the sweep",
        default="")
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        if bool(self.run) == bool(self.sweep):
            got = "both" if self.run else "neither"
            raise RecipeError(f"run: expected --run or --sweep, got {got}")
        if not all(self.runs) and self.run:
            raise RecipeError(
                "run: expected the folders of runs, separated by commas, got"
                f" {self.run[:200]!r}"
            )
        if len(self.runs) > 1 and not self.out:
            raise RecipeError("out: expected --out=PAGE with several runs")

    @property
    def runs(self) -> tuple[str, ...]:
        """The folders of the runs, without slashes at the end."""
        return tuple(run.rstrip("/") or run for run in self.run.split(","))
