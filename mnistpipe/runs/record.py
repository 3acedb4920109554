"""RunRecord: the type of metrics.json, and its summaries as text.

`Provenance` is what a run was begun with; saved states hold it too.
`RunRecord` adds the results. Accuracies are shares, losses are in nats, times
in seconds, epochs and labels are counted from 0; text counts epochs from 1. A
stranger may have written the files, so types, ranges and text are checked.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from mnistpipe import safejson
from mnistpipe.data import files
from mnistpipe.data.examples import data_error
from mnistpipe.errors import UserError
from mnistpipe.recipes import Interval, Recipe, RunOptions, documented
from mnistpipe.runs import backends, runfolder

_MAX_BYTES = 1 << 26  # a history of 100,000 epochs

Count = Annotated[int, Interval(0, 2**63 - 1)]
Share = Annotated[float, Interval(0, 1)]
Seconds = Annotated[float, Interval(0, 1e12)]
History = Mapping[str, tuple[float | None, ...]]


@dataclasses.dataclass(frozen=True)
class DataIdentity:
    """The data set of a run.

    Attributes:
      name: the name of the set.
      fingerprint: SHA-256 in hex over all examples.
      test_fingerprint: SHA-256 in hex over the test examples, where known.
      class_names: in label order; empty if classes are only numbered.
      preparation: what was done to pictures in files, as text.
    """

    name: str
    fingerprint: str = ""
    test_fingerprint: str | None = None
    class_names: tuple[str, ...] = ()
    preparation: str = "as stored"


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The processor, the cores that the process may use, the GPUs' names."""

    cpu: str = "unknown"
    cores: Count | None = None
    gpus: tuple[str, ...] = ()

    def processor(self) -> str:
        """Returns the cores in words: "2 cores of AMD EPYC"."""
        plural = "s" * (self.cores != 1)
        return f"{self.cores} core{plural} of {self.cpu}"


class Machine(NamedTuple):
    """What trains: versions by package, hardware, the number of devices."""

    versions: Mapping[str, str]
    hardware: Hardware
    devices: int


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One class: how many examples there are, how many were recognised."""

    label: Count
    examples: Count
    correct: Count
    accuracy: Share | None  # None without examples


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a run was begun with.

    Attributes:
      recipe: what is trained.
      options: how the recipe is trained, as the user wrote the options.
      parameters: number of the network's values, trainable or not.
      train_examples: number of rows that train.
      validation_examples: number of rows that choose epoch and learning rate.
      data: the data set.
      versions: versions of all packages that affect the arithmetic, by name.
      hardware: the machine on which the run was begun or last resumed.
      commits: the commits of the code, one for each session of the run.
      input: where pictures are gathered and augmented.
      devices: number of devices that train.
    """

    recipe: Recipe
    options: RunOptions
    parameters: Count
    train_examples: Count
    validation_examples: Count
    data: DataIdentity
    versions: Mapping[str, str]
    hardware: Hardware = Hardware()
    commits: tuple[str, ...] = ()
    input: Literal["host", "device"] = "host"
    devices: Annotated[int, Interval(1, 1 << 20)] = 1

    @property
    def arch(self) -> str:
        """The architecture's name."""
        return self.recipe.arch

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        return self.options.seed

    @property
    def selected_on_test(self) -> bool:
        """Whether the validation images were the test images."""
        return self.options.validation == "test"

    @property
    def test_set_chose(self) -> bool:
        """Whether the test images can have influenced the scored weights.

        Under protocol "test" they can if the recipe reads validation images.
        """
        return self.selected_on_test and self.recipe.reads_validation()

    @property
    def test_is_read(self) -> bool:
        """Whether the test images are scored at the end."""
        return self.options.evaluate_test

    def protocol(self) -> str:
        """Returns text that says how a score of this run is selected."""
        name = self.options.validation
        if self.test_set_chose:
            return (
                f"{name}: selected on the test set, whose images were the "
                "validation images"
            )
        if self.selected_on_test:
            return f"{name}: validated on the test images, which chose nothing"
        held_out = "no images held out"
        if self.validation_examples:
            held_out = f"{self.validation_examples:,} training images held out"
        read = "test set not read"
        if self.options.watch_test:
            read = "test set scored after each epoch, and chose nothing"
        elif self.test_is_read:
            read = "test set read once, at the end"
        return f"{name}: {held_out}; {read}"

    def to_json(self) -> dict[str, Any]:
        """Returns the fields for JSON; NaN and infinities become None."""
        content = _finite(dataclasses.asdict(self))
        return {**content, **self._derived()}

    def _derived(self) -> dict[str, Any]:
        """Returns facts that JSON repeats from the recipe and the options."""
        return {
            "arch": self.arch,
            "protocol": self.options.validation,
            "selected_on_test": self.selected_on_test,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, content: Any) -> Any:
        """Returns the record of parsed JSON, by this version or an older one.

        Raises:
          ValueError: one line: a value is missing, or is not as a run
            writes it.
        """
        record = safejson.decode_fields(cls, _with_settings(content))
        for name, own in record._derived().items():
            got = content.get(name)
            if type(got) is not type(own) or got != own:
                raise ValueError(
                    f"{name}: expected {own!r}, as in its recipe and options, "
                    f"got {got!r:.80}"
                )
        return record


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord(Provenance):
    """The results of a run, with everything that produced them.

    Attributes:
      run_dir: the folder, as the user wrote it.
      weights: the saved network that counts.
      best_epoch: the epoch of best.keras; None if there is no such file.
      epochs_run: number of finished epochs.
      interrupted: whether the training was stopped before its end.
      history: figures by name, one for each finished epoch; None where a
        figure was not finite.
      steps: number of batches trained on.
      resumed_at_steps: the steps at which the run was resumed.
      fit_seconds: time in `fit`, with validation and checkpoints, without the
        time that a kill made void.
      duration_seconds: time from start to end, in all sessions.
      images_per_second: training images over `fit_seconds`.
      test_accuracy: the accuracy of the weights that count. This and the
        following fields are None if the test images were not scored.
      test_loss: mean cross-entropy; None also if not finite.
      test_examples: number of test images.
      test_correct: number of recognised test images.
      per_class: the same figures for each class.
    """

    run_dir: str = ""
    weights: Literal["best.keras", "last.keras"]
    best_epoch: Count | None
    epochs_run: Count
    interrupted: bool
    history: History = dataclasses.field(default_factory=dict)
    steps: Count = 0
    resumed_at_steps: tuple[Count, ...] = ()
    fit_seconds: Seconds = 0.0
    duration_seconds: Seconds = 0.0
    images_per_second: Annotated[float, Interval(0, 1e12)] = 0.0
    test_accuracy: Share | None = None
    test_loss: float | None = None
    test_examples: Count | None = None
    test_correct: Count | None = None
    per_class: tuple[ClassScore, ...] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError if the fields contradict each other."""
        if self.weights == runfolder.BEST and self.best_epoch is None:
            raise ValueError("best_epoch: expected the epoch of best.keras")
        if self.best_epoch is not None and self.best_epoch >= self.epochs_run:
            raise ValueError(
                f"best_epoch: expected one of {self.epochs_run} epochs, got "
                f"{self.best_epoch}"
            )
        for name, figures in self.history.items():
            if len(figures) != self.epochs_run:
                raise ValueError(
                    f"history.{name}: expected a figure for each of "
                    f"{self.epochs_run} epochs, got {len(figures)}"
                )
        scores = (self.test_accuracy, self.test_examples, self.test_correct)
        if len({value is None for value in scores}) != 1:
            raise ValueError(
                f"test scores: expected all of them or none, got {scores}"
            )
        examples, correct = self.test_examples, self.test_correct
        if examples and correct is not None and correct > examples:
            raise ValueError(
                f"test_correct: expected at most {examples}, got {correct}"
            )

    def finished(self, epochs: int | None = None) -> bool:
        """Returns whether nothing is left to train.

        Args:
          epochs: the wanted epochs; by default those of the recipe. A run that
            stopped early has nothing left, however many epochs are wanted.
        """
        stopped_early = self.epochs_run < self.recipe.epochs
        enough = epochs is None or epochs <= self.recipe.epochs
        return not self.interrupted and (stopped_early or enough)

    @property
    def honest_accuracy(self) -> float | None:
        """The test accuracy if the test images chose nothing, else None."""
        return None if self.test_set_chose else self.test_accuracy

    @property
    def judged_epoch(self) -> int | None:
        """The epoch of the weights that count; None if none was finished."""
        if self.weights == runfolder.BEST:
            return self.best_epoch
        return self.epochs_run - 1 if self.epochs_run else None

    @property
    def watched(self) -> tuple[float | None, ...]:
        """The accuracy on the test images after each epoch, if recorded."""
        own = self.history.get("val_accuracy") if self.selected_on_test else ()
        return self.history.get("test_accuracy") or own or ()

    @property
    def best_watched_epoch(self) -> int | None:
        """The epoch with the best test accuracy; of equal epochs the first."""
        figures = [-1.0 if f is None else f for f in self.watched]
        return figures.index(max(figures)) if figures else None

    def best_watched(self) -> str:
        """Returns text about the best epoch on the test set; "" if unknown.

        The text names the selection, so that nobody takes the figure for the
        run's own score.
        """
        epoch = self.best_watched_epoch
        if epoch is None or self.watched[epoch] is None:
            return ""
        own = "not measured"
        if self.test_accuracy is not None:
            own = f"{self.test_accuracy:.2%}"
        chosen = ""
        if self.recipe.arch in documented.SCORES:
            chosen = ", as the document seems to have chosen"
        return (
            f"the best epoch on the test set{chosen}: "
            f"{self.watched[epoch]:.2%} (epoch {epoch + 1}); the run's own "
            f"score is {own}"
        )

    def which_weights(self) -> str:
        """Returns text that says which weights count."""
        if self.weights == runfolder.LAST or self.best_epoch is None:
            return "last weights"
        return f"weights of the best epoch, {self.best_epoch + 1}"

    @property
    def test_is_read(self) -> bool:
        """Whether the test images were scored at the end."""
        return self.test_accuracy is not None

    def own_test(self, fingerprint: str) -> bool | None:
        """Returns whether a fingerprint is that of the run's own test set.

        None is returned for a run that did not record its test set.
        """
        own = self.data.test_fingerprint
        return None if own is None else own == fingerprint

    def selected_on(self, fingerprint: str) -> bool:
        """Returns whether a test set may have chosen epoch or learning rate."""
        return self.test_set_chose and self.own_test(fingerprint) is not False

    def summary(self) -> str:
        """Returns a one-line summary of the network for people."""
        epochs = self.epochs_run
        held_out = "none held out"
        if self.selected_on_test:
            held_out = "the test images as validation images"
        elif self.validation_examples:
            held_out = f"{self.validation_examples:,} training images held out"
        stopped = ", interrupted" if self.interrupted else ""
        return (
            f"{self.arch}, seed {self.seed}, protocol "
            f"{self.options.validation} ({held_out}), "
            f"{epochs} epoch{'s' * (epochs != 1)} of "
            f"{self.train_examples:,} images of {self.data.name} "
            f"({self.which_weights()}{stopped}), "
            f"{backends.summary(self.versions)}"
        )


def read(path: pathlib.Path) -> RunRecord:
    """Reads a metrics.json.

    Raises:
      DataError: one line: the file cannot be read, or is damaged.
    """
    metrics = files.read_object(path, "the figures of a run", _MAX_BYTES)
    try:
        return RunRecord.from_json(metrics)
    except ValueError as error:
        wanted = "values as a run writes them"
        raise data_error(path, wanted, str(error)[:300]) from None


def _with_settings(content: Any) -> dict[str, Any]:
    """Builds recipe and options, which check themselves."""
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, got {type(content).__name__}")
    built = dict(content)
    for name, cls in (("recipe", Recipe), ("options", RunOptions)):
        if not isinstance(content.get(name), dict):
            raise ValueError(f"{name}: expected an object, got none")
        try:
            built[name] = cls(**content[name])
        except (TypeError, UserError) as error:
            raise ValueError(
                f"{name}: expected fields that this version of mnistpipe "
                f"knows, got {error}"
            ) from None
    return built


def _finite(value: Any) -> Any:
    """Replaces figures that are not finite by None, as JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
