"""The recipe: every hyperparameter of one training.

Units: angles are in degrees, shifts are fractions of the picture's width or
height, noise is in pixel values on [0, 1], durations are in epochs. A random
value with the largest size x is drawn uniformly from -x to +x.

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
    field,
    replace_fields,
    validate,
    with_attributes,
)

DOCUMENTED = ("strided400k", "pool2m", "compact500k", "wide900k")
ARCHS = (*DOCUMENTED, "quick65k")
STEMS = ("printed", "3x3")
ACTIVATIONS = ("relu", "gelu")
FILL_MODES = ("nearest", "constant", "reflect", "wrap")
# The optimizers of tensorflow-addons, which needs Keras 2 (see addons.py).
ADDONS = ("lookahead", "rectified_adam", "yogi", "lamb")
# Every optimizer takes learning_rate, beta_1 and beta_2.
OPTIMIZERS = ("adam", "adamax", "nadam", *ADDONS)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
MONITORS = ("val_accuracy", "val_loss", "accuracy", "loss")

# Each schedule with the fields that it reads and `constant` does not.
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
# The schedules that change the learning rate at every step and end at the last
# step, so that they depend on the number of epochs.
SCHEDULES_BY_STEP = ("cosine", "one_cycle")


@with_attributes
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every hyperparameter of one training.

    The defaults turn off everything that can be turned off: there is no
    augmentation, the learning rate is constant, and training never stops early.
    Featurewise and samplewise centring, standard deviations and ZCA are off in
    all documented recipes and have no field.
    """

    # fmt: off
    arch: str = field(
        str, "Architecture", "the network", choices=ARCHS)
    stem: str = field(
        str, "Architecture", "the first convolution of strided400k: 'printed'"
        " has the document's 128 parameters (2x2, dilated by 2), '3x3' has the"
        " 288 of the public code", choices=STEMS, default="printed")
    width: float = field(
        float, "Architecture", "factor for the documented filters or units of"
        " every layer but the output, rounded to multiples of 8, at least 8;"
        " 1 is exactly the documented network", interval=Interval(0.25, 4),
        default=1.0)
    activation: str = field(
        str, "Architecture", "activation of all layers but the last",
        choices=ACTIVATIONS, default="relu")
    dropout: float = field(
        float, "Architecture", "share of values dropped inside the network;"
        " 0 leaves these layers out", interval=SHARE, default=0.0)
    output_dropout: float = field(
        float, "Architecture", "share of values dropped before the output"
        " layer; 0 leaves that layer out", interval=SHARE, default=0.0)
    # † Not printed in any recipe. Training does not read these averages, only
    # evaluation does. With Keras' 0.99 the averages of pool2m still lag after
    # its first epoch: 98.41 % on average over four seeds, 98.85 % with 0.9.
    batchnorm_momentum: float = field(
        float, "Architecture", "momentum of BatchNorm's moving averages, which"
        " only evaluation uses", interval=SHARE, default=0.9)

    rotation: float = field(
        float, "Augmentation", "largest rotation, in degrees",
        interval=Interval(0, 180), default=0.0)
    width_shift: float = field(
        float, "Augmentation", "largest horizontal shift, as a fraction of the"
        " width", interval=SHARE, default=0.0)
    height_shift: float = field(
        float, "Augmentation", "largest vertical shift, as a fraction of the"
        " height", interval=SHARE, default=0.0)
    shear: float = field(
        float, "Augmentation", "largest shear, in degrees",
        interval=Interval(0, 89), default=0.0)
    zoom: float = field(
        float, "Augmentation", "a zoom of z draws the factors of both axes"
        " from 1-z to 1+z", interval=SHARE, default=0.0)
    horizontal_flip: bool = field(
        bool, "Augmentation", "mirror half of the pictures left to right",
        default=False)
    vertical_flip: bool = field(
        bool, "Augmentation", "mirror half of the pictures top to bottom",
        default=False)
    noise: float = field(
        float, "Augmentation", "standard deviation of Gaussian noise, in pixel"
        " values on [0, 1]; the sum is not clipped", interval=Interval(0, 1),
        default=0.0)
    fill_mode: str = field(
        str, "Augmentation", "what fills the pixels from beyond the border, in"
        " SciPy's sense", choices=FILL_MODES, default="nearest")
    elastic_alpha: float = field(
        float, "Augmentation", "strength of an elastic distortion after the"
        " other moves, in pixels before its smoothing; 0 is off",
        interval=Interval(0, 1000), default=0.0)
    elastic_sigma: float = field(
        float, "Augmentation", "smoothness of the elastic distortion: standard"
        " deviation of a Gaussian, in pixels", interval=Interval(0, 100),
        default=4.0)
    erasing: float = field(
        float, "Augmentation", "share of the pictures in which a rectangle is"
        " painted black; 0 is off", interval=Interval(0, 1), default=0.0)
    erasing_area: float = field(
        float, "Augmentation", "area of the largest such rectangle, as a"
        " fraction of the picture; the smallest is 0.02",
        interval=Interval(0.02, 1), default=0.2)

    epochs: int = field(
        int, "Training", "number of epochs; 0 evaluates the untrained network",
        interval=COUNT_OR_OFF)
    batch_size: int = field(
        int, "Training", "examples per step", interval=COUNT)
    optimizer: str = field(
        str, "Training", "optimizer; lookahead (around adam), rectified_adam"
        " and yogi are those of tensorflow-addons, which imports only beside"
        " Keras 2; lamb is Keras' own from Keras 3.5 on", choices=OPTIMIZERS,
        default="adam")
    precision: str = field(
        str, "Training", "Keras' dtype policy: the mixed policies compute in"
        " 16 bits and keep the weights in float32", choices=PRECISIONS,
        default="float32")
    learning_rate: float = field(
        float, "Training", "learning rate at the start, with 'one_cycle' the"
        " highest learning rate", interval=Interval(0, 10, open_low=True),
        default=1e-3)
    beta_1: float = field(
        float, "Training", "decay of the optimizer's mean, per step",
        interval=SHARE, default=0.9)
    beta_2: float = field(
        float, "Training", "decay of the optimizer's second moment, per step",
        interval=SHARE, default=0.999)
    label_smoothing: float = field(
        float, "Training", "share of the target that is spread over all"
        " classes", interval=SHARE, default=0.0)
    schedule: str = field(
        str, "Training", "how the learning rate changes: 'epoch_decay'"
        " multiplies it by decay_factor after each epoch; 'hold_then_decay'"
        " does so after hold_epochs epochs; 'plateau' multiplies it by"
        " plateau_factor after plateau_patience epochs without progress;"
        " 'cosine' lowers it along half a cosine from the first step to the"
        " last; 'one_cycle' does so after a linear rise", choices=SCHEDULES,
        default="constant")
    decay_factor: float = field(
        float, "Training", "factor of the decaying schedules, per epoch",
        interval=Interval(0, 1, open_low=True), default=1.0)
    hold_epochs: int = field(
        int, "Training", "epochs before 'hold_then_decay' decays",
        interval=COUNT_OR_OFF, default=0)
    plateau_monitor: str = field(
        str, "Training", "the metric in which 'plateau' looks for progress",
        choices=MONITORS, default="val_loss")
    plateau_patience: int = field(
        int, "Training", "epochs without progress before 'plateau' lowers the"
        " learning rate", interval=COUNT, default=10)
    plateau_factor: float = field(
        float, "Training", "factor of 'plateau'", interval=FACTOR, default=0.1)
    plateau_min_lr: float = field(
        float, "Training", "lowest learning rate of 'plateau'",
        interval=Interval(0, 10), default=0.0)
    warmup_share: float = field(
        float, "Training", "share of all steps in which 'one_cycle' rises",
        interval=Interval(0, 1, True, True), default=0.3)
    initial_rate_factor: float = field(
        float, "Training", "where 'one_cycle' begins, as a factor of"
        " learning_rate", interval=Interval(0, 1), default=0.04)
    final_rate_factor: float = field(
        float, "Training", "where 'cosine' and 'one_cycle' end, as a factor of"
        " learning_rate", interval=Interval(0, 1), default=0.0)
    ema_momentum: float = field(
        float, "Training", "decay per step of a moving average of the weights,"
        " with which the network is validated, scored and saved; 0 is off;"
        " BatchNorm's own averages suit these weights only if"
        " batchnorm_momentum is as high", interval=SHARE, default=0.0)
    early_stopping_monitor: str = field(
        str, "Training", "the metric in which early stopping looks for"
        " progress", choices=MONITORS, default="val_accuracy")
    early_stopping_patience: int = field(
        int, "Training", "epochs without progress before training ends; 0 is"
        " off", interval=COUNT_OR_OFF, default=0)
    checkpoint: str = field(
        str, "Training", "the network by which a run is judged: 'best' is that"
        " of the best epoch, 'none' that of the last",
        choices=("best", "none"), default="none")
    checkpoint_monitor: str = field(
        str, "Training", "the metric that chooses the best epoch",
        choices=MONITORS, default="val_accuracy")
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)
        if self.arch != "strided400k" and self.stem != "printed":
            raise RecipeError(
                f"stem: expected 'printed' with {self.arch}, since only"
                f" strided400k has a choice of stems, got {self.stem!r}"
            )

    def replace(self, **changes: Any) -> "Recipe":
        """Returns the recipe with some fields changed, checked again."""
        return replace_fields(self, changes)

    def reads_validation(self) -> bool:
        """Whether validation images influence the weights that count.

        They do so by the best epoch, a plateau or early stopping that watches
        a ``val_`` figure. A fixed schedule whose last weights count reads none.
        """
        monitors = [
            self.checkpoint_monitor if self.checkpoint == "best" else "",
            self.plateau_monitor if self.schedule == "plateau" else "",
            self.early_stopping_monitor if self.early_stopping_patience else "",
        ]
        return any(one.startswith("val_") for one in monitors)

    def learning_rate_at(self, epoch: int) -> float:
        """Returns the documented learning rate in ``epoch``, counted from 0.

        Raises:
          ValueError: the learning rate depends on the history ('plateau') or
            on the step (``SCHEDULES_BY_STEP``).
        """
        if self.schedule == "plateau":
            raise ValueError("a plateau's learning rate follows the history")
        if self.schedule in SCHEDULES_BY_STEP:
            raise ValueError(f"{self.schedule} goes by steps, not by epochs")
        if self.schedule == "constant":
            return self.learning_rate
        # To decay after each epoch is to hold the rate for the first epoch.
        hold = 1 if self.schedule == "epoch_decay" else self.hold_epochs
        decays = max(0, epoch - hold + 1)
        return self.learning_rate * self.decay_factor**decays

    def unused_fields(self) -> tuple[str, ...]:
        """Returns the fields that have no effect beside the other values.

        A flag that changes such a field is refused (see ``recipe_with``).
        """
        no_effect = {
            **{
                name: name not in SCHEDULES[self.schedule]
                for names in SCHEDULES.values()
                for name in names
            },
            "batchnorm_momentum": self.arch == "wide900k",  # no BatchNorm
            "elastic_sigma": not self.elastic_alpha,
            "erasing_area": not self.erasing,
            "early_stopping_monitor": not self.early_stopping_patience,
            "checkpoint_monitor": self.checkpoint == "none",
        }
        return tuple(name for name, off in no_effect.items() if off)
