"""Flagfiles to recipe and options and back, without absl."""

import dataclasses
import pathlib

import pytest

from mnistpipe.errors import UsageError, UserError
from mnistpipe.recipes import RECIPES, Recipe, RunOptions, flagfiles, specs
from mnistpipe.recipes.flagfiles import GROUPS

# What a run wrote before the fields precision and watch_test existed, and
# before fields without effect were left out.
OLD = """\
# Dataset
--data=/data/fashion mnist
--train_examples=600
--validation=none
--validation_size=100
--evaluate_test=true
--input=host

# Architecture
--arch=wide900k
--stem=printed
--width=1.0
--activation=relu
--dropout=0.25
--output_dropout=0.5
--batchnorm_momentum=0.9

# Augmentation
--rotation=8.0
--width_shift=0.08
--height_shift=0.08
--shear=0.3
--zoom=0.08
--horizontal_flip=false
--vertical_flip=true
--noise=0.0
--fill_mode=nearest
--elastic_alpha=0.0
--elastic_sigma=4.0
--erasing=0.0
--erasing_area=0.2

# Training
--epochs=30
--batch_size=170
--optimizer=adam
--learning_rate=0.0003333333333333333
--beta_1=0.9
--beta_2=0.999
--label_smoothing=0.0
--schedule=plateau
--decay_factor=1.0
--hold_epochs=0
--plateau_monitor=val_accuracy
--plateau_patience=3
--plateau_factor=0.5
--plateau_min_lr=1e-05
--warmup_share=0.3
--initial_rate_factor=0.04
--final_rate_factor=0.0
--ema_momentum=0.0
--early_stopping_monitor=val_accuracy
--early_stopping_patience=10
--checkpoint=best
--checkpoint_monitor=val_accuracy
--save_every=0
--seed=3
--jit_compile=auto
--steps_per_execution=1
--strategy=one
--verbose=1
"""
OLD_RECIPE = RECIPES["wide900k"].replace(
    vertical_flip=True, learning_rate=1e-3 / 3
)
OLD_OPTIONS = RunOptions(
    data="/data/fashion mnist",
    train_examples=600,
    validation="none",
    validation_size=100,
    input="host",
    seed=3,
    verbose=1,
)


FLAGS = pathlib.Path(__file__).parents[1] / "flags"
NAMES = {arch: "quick" if arch == "quick65k" else arch for arch in RECIPES}


@pytest.mark.parametrize("arch", RECIPES)
def test_a_recipes_flagfile_is_complete_and_has_nothing_that_is_off(arch):
    path = FLAGS / f"{NAMES[arch]}.cfg"
    assert flagfiles.read(str(path)) == (RECIPES[arch], RunOptions())
    text = path.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line[2:] in GROUPS] == [
        f"# {group}" for group in GROUPS
    ]
    assert max(map(len, text.splitlines())) <= 80
    named = dict(
        line.removeprefix("--").split("=")
        for line in text.splitlines()
        if line.startswith("--")
    )
    # Without the catalog of recipes, too, the flagfile is the whole recipe.
    known = specs(Recipe)
    alone = Recipe(**{n: known[n].parse(value) for n, value in named.items()})
    unused = RECIPES[arch].unused_fields()
    neutral = {name: known_default(name) for name in unused}
    assert alone == RECIPES[arch].replace(**neutral)
    assert set(unused).isdisjoint(named)
    assert {"0", "false", "none", "float32"}.isdisjoint(named.values())


def test_best_cfg_depends_on_no_other_recipe():
    """A change of compact500k must not reach the values that were trained."""
    text = (FLAGS / "best.cfg").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 80
    recipe, options = flagfiles.read(str(FLAGS / "best.cfg"))
    assert options == RunOptions(validation="none")
    named = dict(
        line.removeprefix("--").split("=")
        for line in text.splitlines()
        if line.startswith("--") and not line.startswith("--validation=")
    )
    known = specs(Recipe)
    alone = Recipe(**{n: known[n].parse(value) for n, value in named.items()})
    neutral = {name: known_default(name) for name in recipe.unused_fields()}
    assert alone == recipe.replace(**neutral)


def known_default(name):
    (field,) = (f for f in dataclasses.fields(Recipe) if f.name == name)
    return field.default


@pytest.fixture
def cfg(tmp_path):
    """Writes a flagfile and returns its path."""

    def write(content, name="a.cfg"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


def test_a_flagfile_of_an_older_version(cfg):
    expected = (OLD_RECIPE, OLD_OPTIONS)
    assert flagfiles.read(cfg(OLD), whole=True) == expected
    assert OLD_RECIPE.precision == "float32"
    assert OLD_OPTIONS.watch_test is False


@pytest.mark.parametrize("arch", RECIPES)
def test_text_leaves_out_what_has_no_effect_and_nothing_else(arch, cfg):
    recipe = RECIPES[arch].replace(rotation=0.1 + 0.2, vertical_flip=True)
    options = RunOptions(seed=2**63 - 1, evaluate_test=False, data="/data/v1.0")
    text = flagfiles.text(recipe, options)
    assert flagfiles.read(cfg(text), whole=True) == (recipe, options)
    named = [line[2:].split("=")[0] for line in text.splitlines()]
    unused = set(recipe.unused_fields())
    assert unused.isdisjoint(named)
    assert unused | set(named) >= set(vars(recipe))
    assert "run_dir" not in named and "resume" not in named
    # A field may have no effect and yet differ from the documented recipe.
    different = {**vars(recipe), "elastic_sigma": 7.0}
    assert "--elastic_sigma=7\n" in flagfiles.text(Recipe(**different))


def test_a_flagfile_that_was_cut_off_is_refused(cfg):
    whole = flagfiles.text(OLD_RECIPE, OLD_OPTIONS)
    cuts = {*range(0, len(whole) - 1, 7), *range(len(whole) - 40, len(whole))}
    for cut in cuts:
        try:
            got = flagfiles.read(cfg(whole[:cut]), whole=True)
        except UserError as error:
            assert len(str(error).splitlines()) == 1
        else:  # only the end of the last line is missing
            assert whole[cut:] == "\n" and got == (OLD_RECIPE, OLD_OPTIONS)


def test_the_last_value_counts_and_comments_do_not(cfg):
    inner = cfg("--zoom=0.2\n--epochs=4\n", "inner.cfg")
    text = (
        "# a comment\n// another\n\n--arch=pool2m\n--zoom=0.3\n"
        f"--flagfile={inner}\n--epochs=5\n-seed=2\n"
    )
    recipe, options = flagfiles.read(cfg(text))
    assert recipe == RECIPES["pool2m"].replace(zoom=0.2, epochs=5)
    assert options == RunOptions(seed=2)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("--vertical_flip", True),
        ("--novertical_flip", False),
        ("--vertical_flip=true", True),
        ("--vertical_flip=True", True),
        ("--vertical_flip=0", False),
    ],
)
def test_the_forms_of_true_and_false(cfg, line, value):
    recipe, _ = flagfiles.read(cfg(f"--arch=pool2m\n{line}\n"))
    assert recipe.vertical_flip is value


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "one of strided400k"),
        ("--epochs=2\n", "one of strided400k"),
        ("--arch=pool2m\n--batchsize=3\n", "did you mean 'batch_size'?"),
        ("--arch=pool2m\n--nobatch_size\n", "--nobatch_size"),
        ("--arch=pool2m\n--epochs\n", "a.cfg:2: expected --name=value"),
        ("--arch=pool2m\n--epochs=two\n", "--epochs: expected an integer"),
        ("--arch=pool2m\n--vertical_flip=2\n", "true or false, got '2'"),
        ("--arch=pool2m\n--tuner=random\n", "expected fields of a recipe"),
        ("--arch=pool2m\n--plateau_factor=0.3\n", "not used with schedule"),
    ],
)
def test_a_wrong_flagfile_is_one_line(cfg, text, part):
    with pytest.raises(UserError) as caught:
        flagfiles.read(cfg(text))
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_flagfiles_in_a_command_line_are_replaced_by_their_lines(cfg):
    path = cfg("--epochs=3\n# comment\n--seed=1\n")
    before = ["--arch=pool2m", f"--flagfile={path}", "-flagfile", path, "x"]
    after = ["--arch=pool2m", *["--epochs=3", "--seed=1"] * 2, "x"]
    assert flagfiles.expand(before, {}) == after
    assert flagfiles.expand(["--", f"--flagfile={path}"], {})[0] == "--"
    with pytest.raises(UsageError, match="expected a flagfile that can be"):
        flagfiles.expand(["--flagfile"], {})
