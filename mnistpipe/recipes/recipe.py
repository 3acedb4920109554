"""The recipe: every hyperparameter of one training.

Units: angles in degrees, shifts as a fraction of the picture's width or height,
noise in pixel values on [0, 1], learning rates per step, everything else that
counts in epochs. Ranges are drawn uniformly from -x to +x.

Decisions where the document is silent or damaged are marked † with the reason.
"""

from dataclasses import dataclass
from typing import Any

from mnistpipe.recipes.fields import (
    COUNT,
    COUNT_OR_OFF,
    FACTOR,
    SHARE,
    Interval,
    RecipeError,
    integer,
    name,
    number,
    replace_fields,
    switch,
    validate,
    with_attributes,
)

DOCUMENTED = ("strided400k", "pool2m", "compact500k", "wide900k")
ARCHS = (*DOCUMENTED, "quick65k")
STEMS = ("printed", "3x3")
ACTIVATIONS = ("relu", "gelu")
FILL_MODES = ("nearest", "constant", "reflect", "wrap")
# tensorflow-addons', which cannot be had everywhere (see addons.py).
ADDONS = ("lookahead", "rectified_adam", "yogi", "lamb")
# All of them take learning_rate, beta_1 and beta_2.
OPTIMIZERS = ("adam", "adamax", "nadam", *ADDONS)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
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


@with_attributes
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every hyperparameter of one training.

    The defaults leave everything out that can be left out: no augmentation, a
    constant learning rate, no stopping. Featurewise and samplewise centring,
    standard deviations and ZCA are off in all recipes and have no field.
    """

    # fmt: off
    arch: str = name(
        "Architecture", ARCHS, "the network")
    stem: str = name(
        "Architecture", STEMS, "the first convolution of strided400k: 'printed'"
        " has the document's 128 parameters (2x2, dilated by 2), '3x3' the 288"
        " of the public code", default="printed")
    width: float = number(
        "Architecture", Interval(0.25, 4), "factor of every layer's documented"
        " filters or units but the output's, rounded to multiples of 8, at"
        " least 8; 1 is exactly the documented network", default=1.0)
    activation: str = name(
        "Architecture", ACTIVATIONS, "activation of all layers but the last",
        default="relu")
    dropout: float = number(
        "Architecture", SHARE, "share of values dropped inside the network;"
        " 0 leaves these layers out", default=0.0)
    output_dropout: float = number(
        "Architecture", SHARE, "share of values dropped before the output"
        " layer; 0 leaves that layer out", default=0.0)
    # † Not printed in any recipe. Training does not read these averages, only
    # evaluation does; at Keras' 0.99 those of pool2m still lag after its first
    # epoch: 98.41 % on average over four seeds where 0.9 gives 98.85 %.
    batchnorm_momentum: float = number(
        "Architecture", SHARE, "momentum of BatchNorm's moving averages, which"
        " only evaluation uses", default=0.9)

    rotation: float = number(
        "Augmentation", Interval(0, 180), "largest rotation, degrees",
        default=0.0)
    width_shift: float = number(
        "Augmentation", SHARE, "largest horizontal shift, fraction of the"
        " width", default=0.0)
    height_shift: float = number(
        "Augmentation", SHARE, "largest vertical shift, fraction of the"
        " height", default=0.0)
    shear: float = number(
        "Augmentation", Interval(0, 89),
        "largest shear, degrees", default=0.0)
    zoom: float = number(
        "Augmentation", SHARE, "zoom z draws both axes' factors from 1-z to"
        " 1+z", default=0.0)
    horizontal_flip: bool = switch(
        "Augmentation", "mirror half of the pictures left to right",
        default=False)
    vertical_flip: bool = switch(
        "Augmentation", "mirror half of the pictures top to bottom",
        default=False)
    noise: float = number(
        "Augmentation", Interval(0, 1), "standard deviation of Gaussian noise,"
        " in pixel values on [0, 1]; not clipped", default=0.0)
    fill_mode: str = name(
        "Augmentation", FILL_MODES, "what moves in from beyond the border, in"
        " SciPy's sense", default="nearest")
    elastic_alpha: float = number(
        "Augmentation", Interval(0, 1000), "strength of an elastic distortion,"
        " in pixels before its smoothing, after the other moves; 0 is off",
        default=0.0)
    elastic_sigma: float = number(
        "Augmentation", Interval(0, 100), "smoothness of the elastic"
        " distortion, standard deviation of a Gaussian in pixels", default=4.0)
    erasing: float = number(
        "Augmentation", Interval(0, 1), "share of the pictures in which a"
        " rectangle is painted black; 0 is off", default=0.0)
    erasing_area: float = number(
        "Augmentation", Interval(0.02, 1), "largest such rectangle, fraction"
        " of the picture's area; the smallest is 0.02", default=0.2)

    epochs: int = integer(
        "Training", COUNT_OR_OFF, "epochs; 0 evaluates the untrained network")
    batch_size: int = integer(
        "Training", COUNT, "examples per step")
    optimizer: str = name(
        "Training", OPTIMIZERS, "optimizer; lookahead (around adam),"
        " rectified_adam and yogi are tensorflow-addons', which imports only"
        " beside Keras 2, lamb is Keras' own from 3.5 on", default="adam")
    precision: str = name(
        "Training", PRECISIONS, "type of the layers' arithmetic, as Keras'"
        " dtype policies name it; with the mixed policies the weights stay"
        " float32", default="float32")
    learning_rate: float = number(
        "Training", Interval(0, 10, open_low=True), "learning rate at the"
        " start, and with 'one_cycle' at its highest, per step", default=1e-3)
    beta_1: float = number(
        "Training", SHARE, "decay of the optimizer's mean, per step",
        default=0.9)
    beta_2: float = number(
        "Training", SHARE, "decay of the optimizer's second moment, per step",
        default=0.999)
    label_smoothing: float = number(
        "Training", SHARE, "share of the target that is spread over all"
        " classes", default=0.0)
    schedule: str = name(
        "Training", SCHEDULES, "how the learning rate goes on: 'epoch_decay'"
        " multiplies it by decay_factor after each epoch, 'hold_then_decay'"
        " after holding it for hold_epochs, 'plateau' by plateau_factor"
        " after plateau_patience epochs without progress; 'cosine' lets it fall"
        " along half a cosine from the first step to the last, 'one_cycle'"
        " after a linear rise", default="constant")
    decay_factor: float = number(
        "Training", Interval(0, 1, open_low=True), "what a decaying schedule"
        " multiplies by, per epoch", default=1.0)
    hold_epochs: int = integer(
        "Training", COUNT_OR_OFF, "epochs before 'hold_then_decay' decays",
        default=0)
    plateau_monitor: str = name(
        "Training", MONITORS, "what the plateau watches", default="val_loss")
    plateau_patience: int = integer(
        "Training", COUNT, "epochs without progress before the learning rate"
        " falls", default=10)
    plateau_factor: float = number(
        "Training", FACTOR, "what a plateau multiplies by", default=0.1)
    plateau_min_lr: float = number(
        "Training", Interval(0, 10), "learning rate at which a plateau stops",
        default=0.0)
    warmup_share: float = number(
        "Training", Interval(0, 1, True, True), "share of all steps in which"
        " 'one_cycle' rises", default=0.3)
    initial_rate_factor: float = number(
        "Training", Interval(0, 1), "where 'one_cycle' begins, as a factor of"
        " learning_rate", default=0.04)
    final_rate_factor: float = number(
        "Training", Interval(0, 1), "where 'cosine' and 'one_cycle' end, as a"
        " factor of learning_rate", default=0.0)
    ema_momentum: float = number(
        "Training", SHARE, "decay per step of a moving average of the"
        " weights, by which the network is validated, scored and saved; 0 is"
        " off. BatchNorm's own averages suit these weights only if"
        " batchnorm_momentum is as high", default=0.0)
    early_stopping_monitor: str = name(
        "Training", MONITORS, "what early stopping watches",
        default="val_accuracy")
    early_stopping_patience: int = integer(
        "Training", COUNT_OR_OFF, "epochs without progress before training"
        " ends; 0 is off", default=0)
    checkpoint: str = name(
        "Training", ("best", "none"), "the network that a run is judged by:"
        " 'best' that of the best epoch, 'none' that of the last",
        default="none")
    checkpoint_monitor: str = name(
        "Training", MONITORS, "what the best epoch is best in",
        default="val_accuracy")
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        if self.arch != "strided400k" and self.stem != "printed":
            raise RecipeError(
                f"stem: expected 'printed' with {self.arch}, since only"
                f" strided400k has a choice of stems, got {self.stem!r}"
            )

    def replace(self, **changes: Any) -> "Recipe":
        """The same recipe with some fields changed, validated anew."""
        return replace_fields(self, changes)

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
