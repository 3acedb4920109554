"""From command lines, through absl's own parsing, to recipes and options."""

import io
import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags as absl_flags

from mnistpipe import recipes
from mnistpipe.cli import flags
from mnistpipe.errors import UsageError
from mnistpipe.recipes import (
    RECIPES,
    Recipe,
    RecipeError,
    RunOptions,
    flagfiles,
)

FOLDER = pathlib.Path(__file__).parents[1] / "flags"
ARCHS = list(RECIPES)


def parsed(*arguments):
    values = absl_flags.FlagValues()
    flags.define(Recipe, flag_values=values)
    flags.define(RunOptions, flag_values=values)
    flags.parse(["main", *arguments], values)
    return values


def recipe_of(*arguments):
    return flags.read(Recipe, parsed(*arguments))


def options_of(*arguments):
    return flags.read(RunOptions, parsed(*arguments))


def refused(error, *arguments):
    with pytest.raises(error) as caught:
        recipe_of(*arguments)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("arch", ARCHS)
def test_arch_alone_is_the_whole_documented_recipe(arch):
    assert recipe_of(f"--arch={arch}") == RECIPES[arch]
    assert recipe_of("--arch", arch) == RECIPES[arch]
    assert options_of(f"--arch={arch}") == RunOptions()


@pytest.mark.parametrize("arch", ARCHS)
def test_flagfile_and_documented_recipe_are_the_same(arch):
    path = FOLDER / f"{'quick' if arch == 'quick65k' else arch}.cfg"
    assert recipe_of(f"--flagfile={path}") == RECIPES[arch]


CHANGED = {
    "stem": "3x3",
    "width": 0.75,
    "activation": "gelu",
    "dropout": 0.3,
    "output_dropout": 0.15,
    "batchnorm_momentum": 0.99,
    "rotation": 17.5,
    "width_shift": 0.05,
    "height_shift": 0.15,
    "shear": 4.0,
    "zoom": 0.8,
    "horizontal_flip": True,
    "vertical_flip": True,
    "noise": 0.01,
    "fill_mode": "wrap",
    "elastic_alpha": 34.0,
    "elastic_sigma": 5.0,
    "erasing": 0.5,
    "erasing_area": 0.3,
    "epochs": 3,
    "batch_size": 33,
    "optimizer": "nadam",
    "precision": "mixed_bfloat16",
    "learning_rate": 1 / 3e3,
    "beta_1": 0.7,
    "beta_2": 0.99,
    "label_smoothing": 0.2,
    "schedule": "hold_then_decay",
    "decay_factor": 0.1 + 0.2,
    "hold_epochs": 4,
    "plateau_monitor": "loss",
    "plateau_patience": 7,
    "plateau_factor": 0.25,
    "plateau_min_lr": 1e-7,
    "warmup_share": 0.25,
    "initial_rate_factor": 0.1,
    "final_rate_factor": 0.01,
    "ema_momentum": 0.99,
    "early_stopping_monitor": "val_loss",
    "early_stopping_patience": 5,
    "checkpoint": "none",
    "checkpoint_monitor": "val_loss",
}
# What a field needs beside it to have an effect.
BESIDE = {
    "decay_factor": ["--schedule=epoch_decay"],
    "hold_epochs": ["--schedule=hold_then_decay"],
    "early_stopping_monitor": ["--early_stopping_patience=2"],
    "elastic_sigma": ["--elastic_alpha=8"],
    "erasing_area": ["--erasing=0.5"],
    "warmup_share": ["--schedule=one_cycle"],
    "initial_rate_factor": ["--schedule=one_cycle"],
    "final_rate_factor": ["--schedule=cosine"],
}


@pytest.mark.parametrize("field", CHANGED)
def test_every_field_can_be_changed_by_its_flag(field):
    value, beside = CHANGED[field], BESIDE.get(field, [])
    text = str(value).lower() if isinstance(value, bool) else value
    before = recipe_of("--arch=strided400k", *beside)
    after = recipe_of("--arch=strided400k", *beside, f"--{field}={text}")
    assert getattr(before, field) != value
    assert after == before.replace(**{field: value})


def test_every_field_is_tried():
    assert {"arch", *CHANGED} == set(recipes.specs(Recipe))


OPTIONS = RunOptions(
    data="/data/fashion mnist",
    train_examples=5000,
    validation="test",
    validation_size=10,
    evaluate_test=False,
    input="device",
    save_every=100,
    seed=2**63 - 1,
    jit_compile="off",
    steps_per_execution=16,
    strategy="mirrored",
    verbose=2,
)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_effective_flagfile_gives_the_run_again(arch, tmp_path):
    recipe = RECIPES[arch].replace(
        rotation=0.1 + 0.2, horizontal_flip=True, learning_rate=1e-3 / 3
    )
    path = tmp_path / "flags.cfg"
    path.write_text(flagfiles.text(recipe, OPTIONS), encoding="utf-8")
    assert recipe_of(f"--flagfile={path}") == recipe
    assert options_of(f"--flagfile={path}") == OPTIONS
    headings = [x for x in path.read_text().splitlines() if x[:1] == "#"]
    assert headings == [
        "# Dataset",
        "# Architecture",
        "# Augmentation",
        "# Training",
    ]


def test_the_effective_flagfile_has_no_run_dir_and_an_absolute_data_path():
    options = RunOptions(run_dir="runs/a", data="digits.npz", resume="runs/b")
    text = flagfiles.text(RECIPES["pool2m"], options)
    assert "run_dir" not in text and "resume" not in text
    assert f"--data={pathlib.Path('digits.npz').absolute()}\n" in text


def test_the_last_occurrence_wins():
    path = FOLDER / "pool2m.cfg"
    assert recipe_of("--epochs=2", f"--flagfile={path}").epochs == 50
    assert recipe_of(f"--flagfile={path}", "--epochs=2").epochs == 2


def test_switches_in_all_their_forms():
    for form, value in [
        ("--horizontal_flip", True),
        ("--nohorizontal_flip", False),
        ("--horizontal_flip=true", True),
        ("--horizontal_flip=false", False),
    ]:
        assert recipe_of("--arch=pool2m", form).horizontal_flip is value


def test_defining_twice_and_in_part():
    values = absl_flags.FlagValues()
    flags.define(Recipe, flag_values=values)
    flags.define(RunOptions, flag_values=values)
    values(["main", "--epochs=7"])
    flags.define(Recipe, flag_values=values)
    flags.define(RunOptions, flag_values=values)
    assert values.epochs == 7
    few = absl_flags.FlagValues()
    flags.define(Recipe, ("arch", "stem"), few)
    few(["main", "--arch=strided400k", "--stem=3x3"])
    assert len(few) == 2
    assert flags.read(Recipe, few).stem == "3x3"


def test_a_flag_without_effect_is_refused():
    message = refused(RecipeError, "--arch=pool2m", "--plateau_patience=5")
    assert "plateau_patience" in message and "schedule=epoch_decay" in message
    refused(RecipeError, "--arch=pool2m", "--checkpoint_monitor=val_loss")
    refused(RecipeError, "--arch=pool2m", "--early_stopping_monitor=loss")
    # but what the recipe has anyway may be spelled out
    path = FOLDER / "strided400k.cfg"
    recipe = recipe_of(f"--flagfile={path}", "--schedule=constant")
    assert recipe.schedule == "constant"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--epochs=ten"], ["--epochs=ten", "an integer in [0, 1000000]"]),
        (["--epochs=1e3"], ["an integer in", "got '1e3'"]),
        (["--epochs=-1"], ["--epochs=-1", "got -1"]),
        (["--batch_size=0"], ["an integer in [1, 1000000], got 0"]),
        (["--batch_size=6.4"], ["an integer in", "got '6.4'"]),
        (["--learning_rate=nan"], ["learning_rate", "got nan"]),
        (["--validation=all"], ["split, none, test, got 'all'"]),
        (["--seed=-1"], ["seed", "got -1"]),
        (["--rotation=nan"], ["a number in [0, 180], got nan"]),
        (["--rotation=1e999"], ["a number in [0, 180], got inf"]),
        (["--zoom=1"], ["a number in [0, 1), got 1.0"]),
        (["--dropout="], ["a number in [0, 1), got ''"]),
        (["--fill_mode=mirror"], ["nearest, constant, reflect, wrap"]),
        (["--horizontal_flip=maybe"], ["true or false, got 'maybe'"]),
        (["--seed=9223372036854775808"], ["[0, 9223372036854775807]"]),
        (["--arch=pool2"], ["strided400k, pool2m", "did you mean 'pool2m'"]),
        (["--batchsize=3"], ["batchsize", "batch_size"]),
        (["--verbose"], ["verbose"]),
        (["--run_dir=a\nb"], ["one line of text"]),
        (["extra"], ["got the argument 'extra'"]),
        (["--", "--epochs=3"], ["got the argument '--epochs=3'"]),
        (["--flagfile=nowhere.cfg"], ["'nowhere.cfg'", "No such file"]),
        (["--flagfile=."], ["'.'", "directory"]),
        (["--flagfile"], ["expected a flagfile"]),
    ],
)
def test_command_line_that_is_refused(arguments, parts):
    message = refused(UsageError, "--arch=pool2m", *arguments)
    assert all(part in message for part in parts), message


def test_an_arch_is_needed_and_those_that_exist_are_named():
    message = refused(RecipeError)
    assert all(arch in message for arch in ARCHS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("--epochs=3\n  # indented\n", 2),
        ("--fill_mode=nearest # trailing\n", 1),
        ("--data=/a/b\t# trailing\n", 1),
        ("\n# heading\nepochs=3\n", 3),
        ("--epochs 3\n", 1),
        ("--epochs\n3\n", 1),
        ("--run_dir\n--epochs=3\n", 1),
        ("--epochs=3\n--\n", 2),
        ("just text\n", 1),
    ],
)
def test_flagfile_traps(tmp_path, text, line):
    path = tmp_path / "a.cfg"
    path.write_text(text, encoding="utf-8")
    message = refused(UsageError, "--arch=pool2m", f"--flagfile={path}")
    assert message.startswith(f"{path}:{line}: expected --name=value")
    nested = tmp_path / "b.cfg"
    nested.write_text(f"--flagfile={path}\n", encoding="utf-8")
    refused(UsageError, "--arch=pool2m", "--flagfile", str(nested))


def test_flagfiles_that_cannot_be_read(tmp_path):
    binary = tmp_path / "binary.cfg"
    binary.write_bytes(b"\xff\xfe--epochs")
    assert "not a text file" in refused(UsageError, f"--flagfile={binary}")
    circle = tmp_path / "circle.cfg"
    circle.write_text(f"--flagfile={circle}\n", encoding="utf-8")
    assert "reads itself" in refused(UsageError, f"--flagfile={circle}")


def test_a_nested_flagfile_is_read_where_it_stands(tmp_path):
    inner, outer = tmp_path / "inner.cfg", tmp_path / "outer.cfg"
    inner.write_text("--arch=pool2m\n--epochs=4\n--zoom=0.2\n")
    outer.write_text(f"--zoom=0.3\n--flagfile={inner}\n--epochs=5\n")
    recipe = recipe_of(f"--flagfile={outer}")
    assert (recipe.epochs, recipe.zoom) == (5, 0.2)


PROGRAM = '''
"""What this program is for."""
import sys
from mnistpipe.cli import app, flags
from mnistpipe.errors import UserError
from mnistpipe.recipes import Recipe, RunOptions

def main(argv):
    recipe = flags.read(Recipe)
    options = flags.read(RunOptions)
    if options.seed == 1:
        raise UserError("a file: expected this,\\ngot that")
    if options.seed == 2:
        raise KeyError("a bug")
    if options.seed == 3:
        raise KeyboardInterrupt
    if options.seed == 4:
        print("50 ± 2 % of 3×3 ━")
        raise UserError("±")
    print(recipe.arch)

flags.define(Recipe)
flags.define(RunOptions)
try:
    app.run(main)
finally:
    heavy = {"tensorflow", "keras", "numpy", "sklearn"} & set(sys.modules)
    assert not heavy, heavy
'''


def program(*arguments, code=PROGRAM, encoding="utf-8", **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        encoding=encoding,
        cwd=FOLDER.parent,
        check=False,
    )


def test_a_run_that_is_fine():
    done = program("--arch=pool2m")
    assert (done.returncode, done.stdout, done.stderr) == (0, "pool2m\n", "")


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["--arch=pool2"], 2, "did you mean 'pool2m'?"),
        ([], 2, "wide900k, quick65k; got none"),
        (["--arch=pool2m", "--stem=3x3"], 2, "only strided400k"),
        (["--arch=pool2m", "--batchsize=3"], 2, "Did you mean: batch_size"),
        (["--arch=pool2m", "extra"], 2, "got the argument 'extra'"),
        (["--arch=pool2m", "--seed=1"], 1, "expected this, got that"),
    ],
)
def test_an_error_is_one_line_and_a_status(arguments, status, part):
    done = program(*arguments)
    assert done.returncode == status and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and part in line


def test_a_bug_stays_loud_and_an_interrupt_quiet():
    done = program("--arch=pool2m", "--seed=2")
    assert done.returncode == 1 and "Traceback" in done.stderr
    done = program("--arch=pool2m", "--seed=3")
    assert done.returncode == 130 and done.stderr == ""


@pytest.mark.parametrize(
    ("encoding", "out", "err"),
    [
        ("ascii", "50 ? 2 % of 3?3 ?", "error: \\xb1"),
        ("latin-1:strict", "50 \xb1 2 % of 3\xd73 ?", "error: \xb1"),
        ("utf-8", "50 ± 2 % of 3×3 ━", "error: ±"),
    ],
)
def test_any_encoding_of_the_output_will_do(encoding, out, err):
    done = program(
        *("--arch=pool2m", "--seed=4"),
        PYTHONIOENCODING=encoding,
        encoding=encoding.partition(":")[0],
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        f"{out}\n",
        f"{err}\n",
    )


MATPLOTLIB = """
from mnistpipe.cli import app
def main(argv):
    import matplotlib.pyplot
app.run(main)
"""


def test_matplotlib_is_quiet_without_a_writable_home():
    nowhere = "/dev/null/home"  # not writable for root either
    done = program(
        code=MATPLOTLIB,
        HOME=nowhere,
        XDG_CONFIG_HOME=nowhere,
        XDG_CACHE_HOME=nowhere,
    )
    assert (done.returncode, done.stderr) == (0, "")


NOTES = """
from absl import logging
from mnistpipe.cli import app
def main(argv):
    logging.info("a note of TensorFlow's export")
    logging.warning("a warning")
app.run(main)
"""


@pytest.mark.parametrize(("flags", "noted"), [((), 0), (("--verbosity=0",), 1)])
def test_notes_of_libraries_are_shown_on_demand(flags, noted):
    done = program(*flags, code=NOTES)
    assert done.returncode == 0
    assert done.stderr.count("a note") == noted
    assert done.stderr.count("a warning") == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("verbose", "output", "environment", "keras"),
    [
        (-1, Terminal, {}, 1),
        (-1, Terminal, {"TERM": "dumb"}, 2),
        (-1, Terminal, {"NO_COLOR": "1"}, 2),
        (-1, Terminal, {"NO_COLOR": ""}, 1),
        (-1, io.StringIO, {}, 2),
        (0, Terminal, {}, 0),
        (1, io.StringIO, {"TERM": "dumb"}, 1),
        (2, Terminal, {}, 2),
    ],
)
def test_progress_suits_the_output(
    monkeypatch, verbose, output, environment, keras
):
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", output())
    assert RunOptions(verbose=verbose).keras_verbose() == keras


@pytest.mark.parametrize("form", ["--help", "-h", "--helpshort"])
def test_help_has_the_projects_flags_and_imports_nothing_heavy(form):
    done = program(form)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("What this program is for.")
    for name in [*recipes.specs(Recipe), *recipes.specs(RunOptions)]:
        assert f"\n  --{name}\n" in done.stdout
    assert "Recipes: ." not in done.stdout
    assert "verbosity" not in done.stdout and "logging" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_helpfull_has_absls_flags_too():
    done = program("--helpfull")
    assert done.returncode == 0 and "--verbosity" in done.stdout


def test_help_states_unit_and_documented_values():
    values = absl_flags.FlagValues()
    flags.define(Recipe, flag_values=values)
    flags.define(RunOptions, flag_values=values)
    assert "degrees" in values["shear"].help
    assert (
        "Recipes: strided400k 0.2, pool2m 0, compact500k 0, wide900k"
        " 0.3, quick65k 0." in values["shear"].help
    )
    assert "All recipes: adam." in values["optimizer"].help
    assert "Recipes: compact500k 10." in values["hold_epochs"].help
    assert values["elastic_sigma"].help.endswith("[0, 100]. Default: 4.")
    assert "Default: 5000." in values["validation_size"].help
