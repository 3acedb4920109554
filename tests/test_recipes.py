"""The documented numbers, written out again, and what a recipe refuses."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

from mnistpipe import recipes
from mnistpipe.errors import UserError
from mnistpipe.recipes import RECIPES, Recipe, RecipeError, RunOptions

ARCHS = ["strided400k", "pool2m", "compact500k", "wide900k"]

# field: one value per architecture, in the order of ARCHS
DOCUMENTED = {
    "epochs": [100, 50, 50, 30],
    "batch_size": [64, 64, 256, 170],
    "rotation": [10, 10, 10, 8],
    "width_shift": [0.1, 0.1, 0.1, 0.08],
    "height_shift": [0.1, 0.1, 0.1, 0.08],
    "shear": [0.2, 0, 0, 0.3],
    "zoom": [0.1, 0.1, 0.1, 0.08],
    "noise": [0.05, 0, 0, 0],
    "fill_mode": ["nearest"] * 4,
    "horizontal_flip": [False] * 4,
    "vertical_flip": [False] * 4,
    "optimizer": ["adam"] * 4,
    "precision": ["float32"] * 4,
    "learning_rate": [1e-3] * 4,
    "beta_1": [0.9] * 4,
    "beta_2": [0.999] * 4,
    "label_smoothing": [0.1, 0, 0, 0],
    # Not in the documents: off.
    "elastic_alpha": [0] * 4,
    "erasing": [0] * 4,
    "ema_momentum": [0] * 4,
    "schedule": ["plateau", "epoch_decay", "hold_then_decay", "plateau"],
    "checkpoint": ["best", "none", "best", "best"],
    "early_stopping_patience": [0, 0, 0, 10],
    "stem": ["printed"] * 4,
    "width": [1] * 4,
    "activation": ["relu"] * 4,
    "dropout": [0.4, 0.25, 0.4, 0.25],
    "output_dropout": [0, 0.5, 0.5, 0.5],
}
# Those that only some architectures read.
DOCUMENTED_OF_ONE = {
    "strided400k": {
        "batchnorm_momentum": 0.9,
        "plateau_monitor": "val_loss",
        "plateau_patience": 20,
        "plateau_factor": 0.2,
        "plateau_min_lr": 0,
        "checkpoint_monitor": "val_accuracy",
    },
    "pool2m": {"batchnorm_momentum": 0.9, "decay_factor": 0.9},
    "compact500k": {
        "batchnorm_momentum": 0.9,
        "decay_factor": 0.9048374180359595,
        "hold_epochs": 10,
        "checkpoint_monitor": "val_accuracy",
    },
    "wide900k": {
        "plateau_monitor": "val_accuracy",
        "plateau_patience": 3,
        "plateau_factor": 0.5,
        "plateau_min_lr": 1e-5,
        "early_stopping_monitor": "val_accuracy",
        "checkpoint_monitor": "val_accuracy",
    },
}


def test_there_are_four_in_the_documents_order_and_our_own():
    assert list(recipes.DOCUMENTED) == ARCHS
    assert list(RECIPES) == [*ARCHS, "quick65k"] == list(recipes.ARCHS)
    assert [recipe.arch for recipe in RECIPES.values()] == list(RECIPES)


@pytest.mark.parametrize("field", DOCUMENTED)
def test_documented_value(field):
    built = [getattr(RECIPES[arch], field) for arch in ARCHS]
    assert built == DOCUMENTED[field]


@pytest.mark.parametrize("arch", ARCHS)
def test_documented_value_of_one(arch):
    expected = DOCUMENTED_OF_ONE[arch]
    recipe = RECIPES[arch]
    assert {name: getattr(recipe, name) for name in expected} == expected
    # and every field is either in a table above or has no effect there
    named = {"arch", *DOCUMENTED, *expected}
    rest = {f.name for f in dataclasses.fields(Recipe)} - named
    assert rest == set(recipe.unused_fields())


def test_options_by_default():
    assert dataclasses.asdict(RunOptions()) == {
        "data": "",
        "train_examples": 0,
        "validation": "split",
        "validation_size": 5000,
        "evaluate_test": True,
        "watch_test": False,
        "input": "auto",
        "run_dir": "",
        "resume": "",
        "save_every": 0,
        "seed": 0,
        "jit_compile": "auto",
        "steps_per_execution": 1,
        "strategy": "one",
        "verbose": -1,
    }


@pytest.mark.parametrize(
    ("arch", "epoch", "rate"),
    [
        ("pool2m", 0, 1e-3),
        ("pool2m", 1, 9e-4),
        ("pool2m", 2, 8.1e-4),
        ("pool2m", 3, 7.29e-4),
        ("pool2m", 10, 3.486784401e-4),
        ("pool2m", 49, 5.7264168970223e-6),
        ("compact500k", 0, 1e-3),
        ("compact500k", 9, 1e-3),
        ("compact500k", 10, 9.048374180359595e-4),
        ("compact500k", 11, 8.187307530779819e-4),
        ("compact500k", 12, 7.408182206817179e-4),
        ("compact500k", 49, 1.8315638888734178e-5),
    ],
)
def test_learning_rate_of_an_epoch(arch, epoch, rate):
    assert RECIPES[arch].learning_rate_at(epoch) == pytest.approx(
        rate, rel=1e-12
    )


def test_learning_rate_as_the_documents_function_gives_it():
    # The document's scheduler(epoch, lr), called as Keras calls it.
    rate = 1e-3
    for epoch in range(50):
        rate = rate if epoch < 10 else rate * math.exp(-0.1)
        built = RECIPES["compact500k"].learning_rate_at(epoch)
        assert built == pytest.approx(rate, rel=1e-12)


def test_learning_rate_held_constant():
    recipe = Recipe(arch="pool2m", epochs=9, batch_size=1, learning_rate=0.02)
    assert {recipe.learning_rate_at(epoch) for epoch in range(9)} == {0.02}


def test_a_plateau_has_no_learning_rate_of_an_epoch():
    with pytest.raises(ValueError, match="history"):
        RECIPES["wide900k"].learning_rate_at(0)


@pytest.mark.parametrize("schedule", recipes.SCHEDULES_BY_STEP)
def test_a_schedule_by_step_has_no_learning_rate_of_an_epoch(schedule):
    with pytest.raises(ValueError, match="by steps"):
        RECIPES["pool2m"].replace(schedule=schedule).learning_rate_at(0)


NOT_NUMBERS = [math.nan, math.inf, -math.inf, "10", None, True, 1j, [1]]
BAD = [
    ("arch", ["pool2", "", None, 3, "POOL2M"]),
    ("stem", ["5x5", "", None]),
    ("width", [0, -1, 0.24, 4.01, *NOT_NUMBERS]),
    ("activation", ["selu", "", 1]),
    ("dropout", [-0.1, 1, 1.5, *NOT_NUMBERS]),
    ("output_dropout", [-1e-9, 1, *NOT_NUMBERS]),
    ("batchnorm_momentum", [-0.1, 1, *NOT_NUMBERS]),
    ("rotation", [-1, 180.5, 10**400, *NOT_NUMBERS]),
    ("width_shift", [-0.1, 1, 28, *NOT_NUMBERS]),
    ("height_shift", [-0.1, 1, 28, *NOT_NUMBERS]),
    ("shear", [-0.2, 89.1, *NOT_NUMBERS]),
    ("zoom", [-0.1, 1, *NOT_NUMBERS]),
    ("horizontal_flip", [0, 1, "yes", None]),
    ("vertical_flip", [0, 1, "true", None]),
    ("noise", [-0.05, 12.75, *NOT_NUMBERS]),
    ("fill_mode", ["mirror", "Nearest", "", None]),
    ("elastic_alpha", [-1, 1001, *NOT_NUMBERS]),
    ("elastic_sigma", [-0.1, 101, *NOT_NUMBERS]),
    ("erasing", [-0.1, 1.1, *NOT_NUMBERS]),
    ("erasing_area", [0, 0.01, 1.1, *NOT_NUMBERS]),
    ("epochs", [-1, 2.0, 10**7, *NOT_NUMBERS]),
    ("batch_size", [0, -64, 64.0, 10**7, *NOT_NUMBERS]),
    ("optimizer", ["Adam", "sgd", None]),
    ("precision", ["float16", "bfloat16", "", None]),
    ("learning_rate", [0, -1e-3, 11, *NOT_NUMBERS]),
    ("beta_1", [-0.1, 1, *NOT_NUMBERS]),
    ("beta_2", [-0.1, 1, *NOT_NUMBERS]),
    ("label_smoothing", [-0.1, 1, *NOT_NUMBERS]),
    ("schedule", ["Cosine", "onecycle", "", None]),
    ("decay_factor", [0, -0.9, 1.1, *NOT_NUMBERS]),
    ("hold_epochs", [-1, 1.5, *NOT_NUMBERS]),
    ("plateau_monitor", ["val_acc", "", None]),
    ("plateau_patience", [0, -3, 1.5, *NOT_NUMBERS]),
    ("plateau_factor", [0, 1, -0.5, *NOT_NUMBERS]),
    ("plateau_min_lr", [-1e-5, 11, *NOT_NUMBERS]),
    ("warmup_share", [0, 1, -0.3, *NOT_NUMBERS]),
    ("initial_rate_factor", [-0.1, 1.1, *NOT_NUMBERS]),
    ("final_rate_factor", [-0.1, 1.1, *NOT_NUMBERS]),
    ("ema_momentum", [-0.1, 1, *NOT_NUMBERS]),
    ("early_stopping_monitor", ["accuracy ", None]),
    ("early_stopping_patience", [-1, 1.5, *NOT_NUMBERS]),
    ("checkpoint", ["last", True, None]),
    ("checkpoint_monitor", ["test_accuracy", None]),
]
BAD_OPTIONS = [
    ("data", [None, 3, "a\nb", " a", "a ", "a #b", "a\0b"]),
    ("run_dir", [None, 3, "a\nb", "a\tb"]),
    ("resume", [None, 3, "a\nb", "a\tb"]),
    ("save_every", [-1, 1.5, *NOT_NUMBERS]),
    ("train_examples", [-1, 1.0, *NOT_NUMBERS]),
    ("validation", ["train", "", None]),
    ("validation_size", [0, -1, 0.1, *NOT_NUMBERS]),
    ("watch_test", ["no", 0, None]),
    ("evaluate_test", ["no", 0, None]),
    ("input", ["gpu", "", None]),
    ("seed", [-1, 2**63, 1.0, *NOT_NUMBERS]),
    ("jit_compile", [True, "yes", None]),
    ("steps_per_execution", [0, 1.5, *NOT_NUMBERS]),
    ("strategy", ["two", True, None]),
    ("verbose", [-2, 3, "auto", True]),
]


def pairs(table):
    return [(field, value) for field, values in table for value in values]


def check_refused(instance, field, value):
    with pytest.raises(RecipeError) as caught:
        instance.replace(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{field}: expected ")
    assert f"got {value!r}" in message
    assert len(message.splitlines()) == 1
    choices = recipes.specs(type(instance))[field].choices
    assert all(name in message for name in choices)
    assert isinstance(caught.value, UserError) and caught.value.status == 2


@pytest.mark.parametrize(("field", "value"), pairs(BAD))
def test_recipe_refuses(field, value):
    check_refused(RECIPES["strided400k"], field, value)


@pytest.mark.parametrize(("field", "value"), pairs(BAD_OPTIONS))
def test_options_refuse(field, value):
    check_refused(RunOptions(), field, value)


def test_every_field_is_tried_with_bad_values():
    tried = {field for field, _ in BAD}
    assert tried == set(recipes.specs(Recipe))
    tried = {field for field, _ in BAD_OPTIONS}
    assert tried == set(recipes.specs(RunOptions))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("epochs", [0, 1, np.int64(7)]),
        ("rotation", [0, 180, np.float32(0.5), Fraction(1, 2)]),
        ("zoom", [0, 0.8, 0.999]),
        ("decay_factor", [1e-9, 1]),
        ("plateau_min_lr", [0, 1e-5]),
    ],
)
def test_the_edges_are_allowed_and_kept_as_plain_numbers(field, values):
    kind = recipes.specs(Recipe)[field].kind
    for value in values:
        recipe = RECIPES["wide900k"].replace(**{field: value})
        assert getattr(recipe, field) == value
        assert type(getattr(recipe, field)) is kind


def test_seed_has_63_bits():
    assert RunOptions(seed=2**63 - 1).seed == 2**63 - 1


def test_a_close_name_is_suggested():
    with pytest.raises(RecipeError, match="did you mean 'pool2m'"):
        recipes.recipe_for("pool2")
    with pytest.raises(RecipeError, match="strided400k, pool2m, compact500k"):
        recipes.recipe_for("resnet")


def test_unknown_fields_are_named_beside_those_that_exist():
    with pytest.raises(RecipeError, match=r"batch_size.*got 'batchsize'"):
        RECIPES["pool2m"].replace(batchsize=1)


def test_only_strided400k_has_a_choice_of_stems():
    assert RECIPES["strided400k"].replace(stem="3x3").stem == "3x3"
    for arch in ["pool2m", "compact500k", "wide900k"]:
        with pytest.raises(RecipeError, match="only strided400k"):
            RECIPES[arch].replace(stem="3x3")


def test_recipes_and_options_are_frozen_hashable_and_compare_by_value():
    for instance, field in [
        (RECIPES["pool2m"], "epochs"),
        (RunOptions(), "seed"),
    ]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(instance, field, 3)
        same = instance.replace(**{field: getattr(instance, field)})
        assert same == instance and hash(same) == hash(instance)
        assert instance.replace(**{field: 3}) != instance


@pytest.mark.parametrize("cls", [Recipe, RunOptions])
def test_the_docstring_gives_each_fields_meaning_and_range(cls):
    for name, spec in recipes.specs(cls).items():
        assert f"\n  {name}: {spec.help}; {spec.expected}." in cls.__doc__
        assert spec.group in (
            "Dataset",
            "Architecture",
            "Augmentation",
            "Training",
        )
    for name, unit in {
        "rotation": "degrees",
        "shear": "degrees",
        "width_shift": "fraction of the width",
        "height_shift": "fraction of the height",
        "noise": r"[0, 1]",
        "decay_factor": "per epoch",
    }.items():
        assert unit in recipes.specs(Recipe)[name].help
