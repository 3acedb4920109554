"""The recipes, four of them documented, and what else a run can be told.

A ``Recipe`` is every hyperparameter of a training, a ``RunOptions`` everything
about a run that is not the recipe (where it reads and writes, its seed, what is
held out). Both are frozen and validate themselves: a wrong value is a
``RecipeError`` of one line. Each field carries a ``Spec`` (type, unit, range,
meaning), from which the flags and their help are made as well.

Units: angles in degrees, shifts as a fraction of the picture's width or height,
noise in pixel values on [0, 1], learning rates per step, everything else that
counts in epochs. Ranges are drawn uniformly from -x to +x.

Decisions where the document is silent or damaged are marked † with the reason.
No TensorFlow here: ``--help`` has to answer at once.
"""

import dataclasses
import difflib
import math
import numbers
from collections.abc import Iterable
from dataclasses import MISSING, dataclass
from typing import Any

from mnistpipe.errors import UserError

DOCUMENTED = ("strided400k", "pool2m", "compact500k", "wide900k")
ARCHS = (*DOCUMENTED, "quick65k")
STEMS = ("printed", "3x3")
ACTIVATIONS = ("relu", "gelu")
FILL_MODES = ("nearest", "constant", "reflect", "wrap")
# tensorflow-addons', which cannot be had everywhere (see addons.py).
ADDONS = ("lookahead", "rectified_adam", "yogi", "lamb")
# All of them take learning_rate, beta_1 and beta_2.
OPTIMIZERS = ("adam", "adamax", "nadam", *ADDONS)
MONITORS = ("val_accuracy", "val_loss", "accuracy", "loss")

# Each schedule, with the fields that only it reads.
SCHEDULES = {
    "constant": (),
    "plateau": (
        "plateau_monitor",
        "plateau_patience",
        "plateau_factor",
        "plateau_min_lr",
    ),
    "epoch_decay": ("decay_factor",),
    "hold_then_decay": ("decay_factor", "hold_epochs"),
    "cosine": ("final_rate_factor",),
    "one_cycle": (
        "warmup_share",
        "initial_rate_factor",
        "final_rate_factor",
    ),
}
# Those that change the learning rate at every step and end with the last one,
# so that they depend on the number of epochs.
SCHEDULES_BY_STEP = ("cosine", "one_cycle")


class RecipeError(UserError):
    """A recipe or an option that cannot be: expected, came, what exists."""

    status = 2


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``; an open end is not among them."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below  # NaN is neither

    def __str__(self) -> str:
        left = "(" if self.open_low else "["
        right = ")" if self.open_high else "]"
        return f"{left}{self.low}, {self.high}{right}"


@dataclass(frozen=True)
class Spec:
    """What a field means and takes.

    Attributes:
      kind: ``int``, ``float``, ``bool`` or ``str``.
      group: heading in flagfiles and ``--help``.
      help: meaning and unit.
      interval: the numbers allowed, for ``int`` and ``float``.
      choices: the names allowed, for ``str``; empty for any text.
    """

    kind: type
    group: str
    help: str
    interval: Interval | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What is allowed, in words."""
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is str:
            return "one line of text without ' #' or spaces around it"
        noun = "an integer" if self.kind is int else "a number"
        return f"{noun} in {self.interval}"

    def check(self, value: Any) -> Any:
        """Returns ``value`` as the field's own type.

        Raises:
          ValueError: it is of another type, or out of range.
        """
        if not self._allows(value):
            raise ValueError(
                f"expected {self.expected}, came {value!r}{self._hint(value)}"
            )
        return self.kind(value)

    def _allows(self, value: Any) -> bool:
        if self.kind is bool:
            return isinstance(value, bool)
        if self.kind is str:
            if not isinstance(value, str):
                return False
            # A flagfile must be able to carry it.
            plain = value == value.strip() and value.isprintable()
            return value in self.choices or (
                not self.choices and plain and " #" not in value
            )
        number = numbers.Integral if self.kind is int else numbers.Real
        return (
            isinstance(value, number)
            and not isinstance(value, bool)
            and value in self.interval
        )

    def _hint(self, value: Any) -> str:
        close = difflib.get_close_matches(str(value), self.choices, n=1)
        return f"; did you mean {close[0]!r}?" if close else ""


_SHARE = Interval(0, 1, open_high=True)
_FACTOR = Interval(0, 1, open_low=True, open_high=True)
_COUNT = Interval(1, 1_000_000)
_COUNT_OR_OFF = Interval(0, 1_000_000)


def _field(spec: Spec, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"spec": spec})


def _number(
    group: str, interval: Interval, text: str, default: Any = MISSING
) -> Any:
    return _field(Spec(float, group, text, interval), default)


def _integer(
    group: str, interval: Interval, text: str, default: Any = MISSING
) -> Any:
    return _field(Spec(int, group, text, interval), default)


def _name(
    group: str, choices: Iterable[str], text: str, default: Any = MISSING
) -> Any:
    return _field(Spec(str, group, text, choices=tuple(choices)), default)


def _switch(group: str, text: str, default: Any = MISSING) -> Any:
    return _field(Spec(bool, group, text), default)


def specs(cls: type) -> dict[str, Spec]:
    """The fields of ``Recipe`` or ``RunOptions`` by name, in order."""
    return {f.name: f.metadata["spec"] for f in dataclasses.fields(cls)}


def validate(instance: Any) -> None:
    """Checks every field, and stores it as its own type (10 as 10.0)."""
    for name, spec in specs(type(instance)).items():
        try:
            value = spec.check(getattr(instance, name))
        except ValueError as error:
            raise RecipeError(f"{name}: {error}") from None
        object.__setattr__(instance, name, value)


def _replace(instance: Any, changes: dict[str, Any]) -> Any:
    known = specs(type(instance))
    for name in changes:
        if name not in known:
            raise RecipeError(
                f"expected one of the fields {', '.join(known)}, came {name!r}"
            )
    return dataclasses.replace(instance, **changes)


def _with_attributes(cls: type) -> type:
    """Appends to the docstring what the fields say of themselves."""
    lines = [
        f"  {name}: {spec.help}; {spec.expected}."
        for name, spec in specs(cls).items()
    ]
    cls.__doc__ = "\n".join([cls.__doc__ or "", "Attributes:", *lines])
    return cls


@_with_attributes
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every hyperparameter of one training.

    The defaults leave everything out that can be left out: no augmentation, a
    constant learning rate, no stopping. Featurewise and samplewise centring,
    standard deviations and ZCA are off in all recipes and have no field.
    """

    # fmt: off
    arch: str = _name(
        "Architecture", ARCHS, "the network")
    stem: str = _name(
        "Architecture", STEMS, "the first convolution of strided400k: 'printed'"
        " has the document's 128 parameters (2x2, dilated by 2), '3x3' the 288"
        " of the public code", default="printed")
    width: float = _number(
        "Architecture", Interval(0.25, 4), "factor of every layer's documented"
        " filters or units but the output's, rounded to multiples of 8, at"
        " least 8; 1 is exactly the documented network", default=1.0)
    activation: str = _name(
        "Architecture", ACTIVATIONS, "activation of all layers but the last",
        default="relu")
    dropout: float = _number(
        "Architecture", _SHARE, "share of values dropped inside the network;"
        " 0 leaves these layers out", default=0.0)
    output_dropout: float = _number(
        "Architecture", _SHARE, "share of values dropped before the output"
        " layer; 0 leaves that layer out", default=0.0)
    # † Not printed in any recipe. Training does not read these averages, only
    # evaluation does; at Keras' 0.99 those of pool2m still lag after its first
    # epoch: 98.41 % on average over four seeds where 0.9 gives 98.85 %.
    batchnorm_momentum: float = _number(
        "Architecture", _SHARE, "momentum of BatchNorm's moving averages, which"
        " only evaluation uses", default=0.9)

    rotation: float = _number(
        "Augmentation", Interval(0, 180), "largest rotation, degrees",
        default=0.0)
    width_shift: float = _number(
        "Augmentation", _SHARE, "largest horizontal shift, fraction of the"
        " width", default=0.0)
    height_shift: float = _number(
        "Augmentation", _SHARE, "largest vertical shift, fraction of the"
        " height", default=0.0)
    shear: float = _number(
        "Augmentation", Interval(0, 89),
        "largest shear, degrees", default=0.0)
    zoom: float = _number(
        "Augmentation", _SHARE, "zoom z draws both axes' factors from 1-z to"
        " 1+z", default=0.0)
    horizontal_flip: bool = _switch(
        "Augmentation", "mirror half of the pictures left to right",
        default=False)
    vertical_flip: bool = _switch(
        "Augmentation", "mirror half of the pictures top to bottom",
        default=False)
    noise: float = _number(
        "Augmentation", Interval(0, 1), "standard deviation of Gaussian noise,"
        " in pixel values on [0, 1]; not clipped", default=0.0)
    fill_mode: str = _name(
        "Augmentation", FILL_MODES, "what moves in from beyond the border, in"
        " SciPy's sense", default="nearest")
    elastic_alpha: float = _number(
        "Augmentation", Interval(0, 1000), "strength of an elastic distortion,"
        " in pixels before its smoothing, after the other moves; 0 is off",
        default=0.0)
    elastic_sigma: float = _number(
        "Augmentation", Interval(0, 100), "smoothness of the elastic"
        " distortion, standard deviation of a Gaussian in pixels", default=4.0)
    erasing: float = _number(
        "Augmentation", Interval(0, 1), "share of the pictures in which a"
        " rectangle is painted black; 0 is off", default=0.0)
    erasing_area: float = _number(
        "Augmentation", Interval(0.02, 1), "largest such rectangle, fraction"
        " of the picture's area; the smallest is 0.02", default=0.2)

    epochs: int = _integer(
        "Training", _COUNT_OR_OFF, "epochs; 0 evaluates the untrained network")
    batch_size: int = _integer(
        "Training", _COUNT, "examples per step")
    optimizer: str = _name(
        "Training", OPTIMIZERS, "optimizer; lookahead (around adam),"
        " rectified_adam and yogi are tensorflow-addons', which imports only"
        " beside Keras 2, lamb is Keras' own from 3.5 on", default="adam")
    learning_rate: float = _number(
        "Training", Interval(0, 10, open_low=True), "learning rate at the"
        " start, and with 'one_cycle' at its highest, per step", default=1e-3)
    beta_1: float = _number(
        "Training", _SHARE, "decay of the optimizer's mean, per step",
        default=0.9)
    beta_2: float = _number(
        "Training", _SHARE, "decay of the optimizer's second moment, per step",
        default=0.999)
    label_smoothing: float = _number(
        "Training", _SHARE, "share of the target that is spread over all"
        " classes", default=0.0)
    schedule: str = _name(
        "Training", SCHEDULES, "how the learning rate goes on: 'epoch_decay'"
        " multiplies it by decay_factor after each epoch, 'hold_then_decay'"
        " after holding it for hold_epochs, 'plateau' by plateau_factor"
        " after plateau_patience epochs without progress; 'cosine' lets it fall"
        " along half a cosine from the first step to the last, 'one_cycle'"
        " after a linear rise", default="constant")
    decay_factor: float = _number(
        "Training", Interval(0, 1, open_low=True), "what a decaying schedule"
        " multiplies by, per epoch", default=1.0)
    hold_epochs: int = _integer(
        "Training", _COUNT_OR_OFF, "epochs before 'hold_then_decay' decays",
        default=0)
    plateau_monitor: str = _name(
        "Training", MONITORS, "what the plateau watches", default="val_loss")
    plateau_patience: int = _integer(
        "Training", _COUNT, "epochs without progress before the learning rate"
        " falls", default=10)
    plateau_factor: float = _number(
        "Training", _FACTOR, "what a plateau multiplies by", default=0.1)
    plateau_min_lr: float = _number(
        "Training", Interval(0, 10), "learning rate at which a plateau stops",
        default=0.0)
    warmup_share: float = _number(
        "Training", Interval(0, 1, True, True), "share of all steps in which"
        " 'one_cycle' rises", default=0.3)
    initial_rate_factor: float = _number(
        "Training", Interval(0, 1), "where 'one_cycle' begins, as a factor of"
        " learning_rate", default=0.04)
    final_rate_factor: float = _number(
        "Training", Interval(0, 1), "where 'cosine' and 'one_cycle' end, as a"
        " factor of learning_rate", default=0.0)
    ema_momentum: float = _number(
        "Training", _SHARE, "decay per step of a moving average of the"
        " weights, by which the network is validated, scored and saved; 0 is"
        " off. BatchNorm's own averages suit these weights only if"
        " batchnorm_momentum is as high", default=0.0)
    early_stopping_monitor: str = _name(
        "Training", MONITORS, "what early stopping watches",
        default="val_accuracy")
    early_stopping_patience: int = _integer(
        "Training", _COUNT_OR_OFF, "epochs without progress before training"
        " ends; 0 is off", default=0)
    checkpoint: str = _name(
        "Training", ("best", "none"), "the network that a run is judged by:"
        " 'best' that of the best epoch, 'none' that of the last",
        default="none")
    checkpoint_monitor: str = _name(
        "Training", MONITORS, "what the best epoch is best in",
        default="val_accuracy")
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        if self.arch != "strided400k" and self.stem != "printed":
            raise RecipeError(
                f"stem: expected 'printed' with {self.arch}, since only"
                f" strided400k has a choice of stems, came {self.stem!r}"
            )

    def replace(self, **changes: Any) -> "Recipe":
        """The same recipe with some fields changed, validated anew."""
        return _replace(self, changes)

    def learning_rate_at(self, epoch: int) -> float:
        """The documented learning rate in ``epoch``, counted from 0.

        Raises:
          ValueError: the schedule is 'plateau', whose learning rate follows
            the training's history, or one of ``SCHEDULES_BY_STEP``.
        """
        if self.schedule == "plateau":
            raise ValueError("a plateau's learning rate follows the history")
        if self.schedule in SCHEDULES_BY_STEP:
            raise ValueError(f"{self.schedule} goes by steps, not by epochs")
        if self.schedule == "constant":
            return self.learning_rate
        # "After each epoch" is holding for the first one.
        hold = 1 if self.schedule == "epoch_decay" else self.hold_epochs
        decays = max(0, epoch - hold + 1)
        return self.learning_rate * self.decay_factor**decays

    def unused_fields(self) -> tuple[str, ...]:
        """The fields that have no effect beside the others' values.

        A flag that changes one of them is refused (see flagdefs).
        """
        read = SCHEDULES[self.schedule]
        unused = [
            name
            for names in SCHEDULES.values()
            for name in names
            if name not in read
        ]
        if self.arch == "wide900k":  # it has no BatchNorm
            unused.append("batchnorm_momentum")
        if not self.elastic_alpha:
            unused.append("elastic_sigma")
        if not self.erasing:
            unused.append("erasing_area")
        if not self.early_stopping_patience:
            unused.append("early_stopping_monitor")
        if self.checkpoint == "none":
            unused.append("checkpoint_monitor")
        return tuple(dict.fromkeys(unused))


@_with_attributes
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Everything about a run that is not the recipe."""

    # fmt: off
    data: str = _name(
        "Dataset", (), "an .npz file in Keras' layout, or a folder of IDX"
        " files; empty is the embedded MNIST", default="")
    train_examples: int = _integer(
        "Dataset", Interval(0, 2**31), "size of a stratified subset of the"
        " training examples; 0 is all", default=0)
    validation: str = _name(
        "Dataset", ("split", "none", "test"), "what chooses epoch and learning"
        " rate: 'split' a part of the training examples, 'none' the training"
        " loss, 'test' the test set, so that its score is selected",
        default="split")
    validation_size: int = _integer(
        "Dataset", Interval(1, 2**31), "examples that 'split' holds out,"
        " stratified", default=5000)
    evaluate_test: bool = _switch(
        "Dataset", "score the network on the test images when the training is"
        " over; a sweep leaves them alone", default=True)
    watch_test: bool = _switch(
        "Dataset", "score the test images after every epoch and record the"
        " scores; they choose nothing, neither epoch nor learning rate",
        default=False)
    input: str = _name(
        "Dataset", ("auto", "host", "device"), "where pictures are gathered and"
        " augmented: 'device' keeps the data resident on it; 'auto' is device"
        " on a GPU whose memory holds them", default="auto")

    run_dir: str = _name(
        "Training", (), "the run folder, which must be new; empty is"
        " runs/<arch>-<time>", default="")
    resume: str = _name(
        "Training", (), "the folder of a run that was killed or stopped, to go"
        " on where it was; other flags may be left out, and of those that"
        " decide the result only epochs may differ, upwards", default="")
    save_every: int = _integer(
        "Training", _COUNT_OR_OFF, "steps between saved states, besides those"
        " at the end of each epoch; 0 is none", default=0)
    seed: int = _integer(
        "Training", Interval(0, 2**63 - 1), "seed of everything random",
        default=0)
    jit_compile: str = _name(
        "Training", ("auto", "on", "off"), "compile the training step with"
        " XLA; 'auto' is off on a CPU, where it is slower", default="auto")
    steps_per_execution: int = _integer(
        "Training", _COUNT, "steps in one call of the compiled loop",
        default=1)
    strategy: str = _name(
        "Training", ("one", "mirrored"), "'mirrored' shares each batch among"
        " all GPUs of this machine", default="one")
    verbose: int = _integer(
        "Training", Interval(0, 2), "0 is silent, 1 a progress bar, 2 a line"
        " per epoch", default=1)
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)

    def replace(self, **changes: Any) -> "RunOptions":
        """The same options with some fields changed, validated anew."""
        return _replace(self, changes)


_RECIPES: tuple[Recipe, ...] = (
    Recipe(
        arch="strided400k",
        stem="printed",  # † the 128 parameters of the table's first row
        activation="relu",  # † not printed; the public code has gelu
        dropout=0.4,  # † the table has the layers, not the rate
        rotation=10,
        width_shift=0.1,
        height_shift=0.1,
        shear=0.2,  # Keras' shear_range is in degrees
        zoom=0.1,
        noise=0.05,  # † not clipped: the printed lambda does not
        fill_mode="nearest",
        epochs=100,
        batch_size=64,  # † not printed; recipe 2's
        learning_rate=1e-3,
        label_smoothing=0.1,
        schedule="plateau",
        plateau_monitor="val_loss",  # † not printed; Keras' default
        plateau_patience=20,
        plateau_factor=0.2,
        plateau_min_lr=0.0,  # † not printed; Keras' default
        checkpoint="best",
        checkpoint_monitor="val_accuracy",  # † not printed; recipe 3's
    ),
    Recipe(
        arch="pool2m",
        dropout=0.25,
        output_dropout=0.5,  # † from the public code with this network
        rotation=10,
        width_shift=0.1,
        height_shift=0.1,
        zoom=0.1,
        fill_mode="nearest",  # † not printed; ImageDataGenerator's default
        epochs=50,
        batch_size=64,
        learning_rate=1e-3,
        schedule="epoch_decay",
        decay_factor=0.9,
    ),
    Recipe(
        arch="compact500k",
        output_dropout=0.2,  # this project's own network, its own rate
        rotation=10,
        width_shift=0.1,
        height_shift=0.1,
        zoom=0.1,
        fill_mode="nearest",  # † not printed; ImageDataGenerator's default
        epochs=50,
        batch_size=256,
        learning_rate=1e-3,
        beta_1=0.9,
        beta_2=0.999,
        schedule="hold_then_decay",
        decay_factor=math.exp(-0.1),
        hold_epochs=10,
        checkpoint="best",
        checkpoint_monitor="val_accuracy",
    ),
    Recipe(
        arch="wide900k",
        dropout=0.25,  # † the table has the layers, not the rate
        output_dropout=0.5,  # † the table ends at Flatten
        # † The document has lost this recipe's augmentation and its epochs;
        # these are from a fuller copy of it, except that the copy's zoom of
        # 0.8, factors from 0.2 to 1.8, is almost surely a typo for 0.08.
        rotation=8,
        width_shift=0.08,
        height_shift=0.08,
        shear=0.3,
        zoom=0.08,
        fill_mode="nearest",
        epochs=30,
        batch_size=170,
        learning_rate=1e-3,  # † not printed; Keras' default
        schedule="plateau",
        plateau_monitor="val_accuracy",
        plateau_patience=3,
        plateau_factor=0.5,
        plateau_min_lr=1e-5,
        early_stopping_monitor="val_accuracy",
        early_stopping_patience=10,
        # restore_best_weights: judged by the best epoch, stopped early or not.
        checkpoint="best",
        checkpoint_monitor="val_accuracy",
    ),
    # Not documented: the shortest way to a good network on a small machine.
    # What was tried beside it is in results/.
    Recipe(
        arch="quick65k",
        rotation=5,
        width_shift=0.07,
        height_shift=0.07,
        zoom=0.07,
        fill_mode="nearest",
        epochs=5,
        batch_size=128,
        learning_rate=4e-3,
        schedule="one_cycle",
    ),
)

RECIPES: dict[str, Recipe] = {recipe.arch: recipe for recipe in _RECIPES}


def recipe_for(arch: str) -> Recipe:
    """The recipe of ``arch``: as documented, or this project's own.

    Raises:
      RecipeError: there is no such architecture; names those there are.
    """
    try:
        return RECIPES[specs(Recipe)["arch"].check(arch)]
    except ValueError as error:
        raise RecipeError(f"arch: {error}") from None
