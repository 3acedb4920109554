"""The optimizers beside their papers' formulas, written out in NumPy."""

import importlib.metadata
import importlib.util
import subprocess
import sys

import helpers
import keras
import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import recipes
from mnistpipe.recipes import RECIPES, RecipeError, addons
from mnistpipe.sweep import space
from mnistpipe.training import callbacks, optimizers

BETA_1, BETA_2 = 0.8, 0.95
RECIPE = RECIPES["wide900k"].replace(
    epochs=14,
    learning_rate=0.05,
    beta_1=BETA_1,
    beta_2=BETA_2,
    schedule="constant",
    early_stopping_patience=0,
)


def of(name, **changes):
    """The recipe with that optimizer; skips where it cannot be had."""
    recipe = RECIPE.replace(optimizer=name, **changes)
    if reason := addons.lack(recipe):
        pytest.skip(reason)
    return recipe


# The formulas: (weights, gradient, memory, step from 1, rate) → weights.


def moments(memory, gradient):
    memory["m"] = BETA_1 * memory["m"] + (1 - BETA_1) * gradient
    memory["v"] = BETA_2 * memory["v"] + (1 - BETA_2) * gradient**2
    return memory["m"], memory["v"]


def adam(weights, gradient, memory, step, rate):
    """Kingma and Ba 2015, algorithm 1."""
    m, v = moments(memory, gradient)
    mean, square = m / (1 - BETA_1**step), v / (1 - BETA_2**step)
    return weights - rate * mean / (np.sqrt(square) + 1e-7)


def lookahead(weights, gradient, memory, step, rate):
    """Zhang et al. 2019 (arXiv 1907.08610), algorithm 1: k = 6, α = 0.5."""
    fast = adam(weights, gradient, memory, step, rate)
    if step % 6 == 0:
        memory["slow"] += 0.5 * (fast - memory["slow"])
        fast = memory["slow"].copy()
    return fast


def rectified_adam(weights, gradient, memory, step, rate):
    """Liu et al. 2020 (arXiv 1908.03265), algorithm 2.

    Rectified from ρ = 5 on, as in the authors' code, not from 4.
    """
    m, v = moments(memory, gradient)
    mean = m / (1 - BETA_1**step)
    longest = 2 / (1 - BETA_2) - 1
    length = longest - 2 * step * BETA_2**step / (1 - BETA_2**step)
    if length < 5:
        return weights - rate * mean
    rectified = np.sqrt(
        ((length - 4) * (length - 2) * longest)
        / ((longest - 4) * (longest - 2) * length)
    )
    spread = np.sqrt(v / (1 - BETA_2**step))
    return weights - rate * rectified * mean / (spread + 1e-7)


def yogi(weights, gradient, memory, step, rate):
    """Zaheer et al. 2018 (NeurIPS), algorithm 2, v from 1e-6, ε = 1e-3.

    With Adam's correction of the bias, as tensorflow-addons has it.
    """
    square = gradient**2
    m, v = memory["m"], memory["v"] if step > 1 else memory["v"] + 1e-6
    memory["m"] = m = BETA_1 * m + (1 - BETA_1) * gradient
    memory["v"] = v = v - (1 - BETA_2) * np.sign(v - square) * square
    rate *= np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    return weights - rate * m / (np.sqrt(v) + 1e-3)


def lamb(weights, gradient, memory, step, rate):
    """You et al. 2020 (arXiv 1904.00962), algorithm 2: λ = 0, φ(z) = z."""
    m, v = moments(memory, gradient)
    mean, square = m / (1 - BETA_1**step), v / (1 - BETA_2**step)
    update = mean / (np.sqrt(square) + 1e-6)
    length, change = np.linalg.norm(weights), np.linalg.norm(update)
    trust = length / change if length and change else 1
    return weights - rate * trust * update


FORMULAS = {
    one.__name__: one for one in (adam, lookahead, rectified_adam, yogi, lamb)
}
# A learning rate that a callback sets, and one that is in the optimizer, there
# with XLA.
SCHEDULES = {
    "epoch_decay": {"decay_factor": 0.9},
    "one_cycle": {"warmup_share": 0.3, "initial_rate_factor": 0.2},
}


def examples(rng):
    """Eleven examples of four numbers, in three classes."""
    inputs = rng.normal(size=(11, 4)).astype(np.float32)
    return inputs, np.eye(3, dtype=np.float32)[rng.integers(0, 3, 11)]


def gradients(weights, inputs, targets):
    """Of the mean cross-entropy of a softmax, by kernel and bias."""
    logits = inputs @ weights[0] + weights[1]
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    error = (likely - targets) / len(inputs)
    return [inputs.T @ error, error.sum(axis=0)]


def by_formula(formula, weights, inputs, targets, rates):
    """The weights after one step with each of the rates."""
    weights = [one.astype(np.float64) for one in weights]
    memories = [
        {"m": 0 * one, "v": 0 * one, "slow": one.copy()} for one in weights
    ]
    for step, rate in enumerate(rates, 1):
        along = gradients(weights, inputs, targets)
        weights = [
            formula(*arguments, step, rate)
            for arguments in zip(weights, along, memories, strict=True)
        ]
    return weights


def trained(recipe, inputs, targets, jit_compile):
    """The weights before and after an epoch of one step each."""
    keras.utils.set_random_seed(3)
    network = helpers.tiny_network(helpers.quick_recipe(), (4,), 3)
    before = network.get_weights()
    network.compile(
        optimizers.make(recipe, 1),
        "categorical_crossentropy",
        jit_compile=jit_compile,
    )
    network.fit(
        inputs,
        targets,
        batch_size=len(inputs),
        epochs=recipe.epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks.schedule(recipe, False, 1),
    )
    assert int(network.optimizer.iterations) == recipe.epochs
    return before, network.get_weights()


def rates_of(recipe):
    """The learning rate of each step, by the recipe."""
    steps = range(recipe.epochs)
    if recipe.schedule in recipes.SCHEDULES_BY_STEP:
        rate_at = optimizers.learning_rate(recipe, 1)
        return [float(rate_at(step)) for step in steps]
    return [recipe.learning_rate_at(step) for step in steps]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", FORMULAS)
def test_training_follows_the_formula(rng, name, schedule):
    recipe = of(name, schedule=schedule, **SCHEDULES[schedule])
    inputs, targets = examples(rng)
    jit_compile = schedule == "one_cycle"
    before, after = trained(recipe, inputs, targets, jit_compile)
    rates = rates_of(recipe)
    assert len(set(rates)) > 5
    expected = by_formula(FORMULAS[name], before, inputs, targets, rates)
    for ours, formula in zip(after, expected, strict=True):
        np.testing.assert_allclose(ours, formula, rtol=1e-4, atol=2e-5)
    moved = np.abs(after[0] - before[0]).max()
    assert moved > 0.02  # a hundred times what is allowed


def test_the_formulas_differ(rng):
    """Otherwise one would do for another."""
    inputs, targets = examples(rng)
    start = [rng.normal(size=(4, 3)), np.zeros(3)]
    ends = [
        by_formula(one, start, inputs, targets, [0.05] * 14)[0]
        for one in FORMULAS.values()
    ]
    for place, one in enumerate(ends):
        for other in ends[:place]:
            assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("name", recipes.ADDONS)
def test_a_plateau_lowers_its_rate(name):
    recipe = of(
        name, schedule="plateau", plateau_patience=1, plateau_factor=0.5
    )
    network = helpers.tiny_network(helpers.quick_recipe(), (4,), 3)
    network.compile(optimizers.make(recipe, 1), "mse")
    (watcher,) = callbacks.schedule(recipe, False, 1)
    watcher.set_model(network)
    watcher.on_train_begin()
    rates = []
    for epoch, loss in enumerate([3.0, 2.0, 2.0, 1.0, 1.5]):
        watcher.on_epoch_end(epoch, {"loss": loss})
        rates.append(float(network.optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.05, 0.05, 0.025, 0.025, 0.0125])


@pytest.mark.parametrize("name", recipes.OPTIMIZERS)
@pytest.mark.parametrize("betas", [(0.0, 0.0), (0.0, 0.99), (0.99, 0.6)])
def test_every_beta_trains(rng, name, betas):
    recipe = of(name, beta_1=betas[0], beta_2=betas[1])
    network = helpers.tiny_network(helpers.quick_recipe(), (4,), 3)
    before = network.get_weights()
    optimizer = optimizers.make(recipe, 1)
    inputs, targets = examples(rng)
    for _ in range(8):
        along = gradients(network.get_weights(), inputs, targets)
        along = [tf.constant(one, tf.float32) for one in along]
        trainable = network.trainable_variables
        optimizer.apply_gradients(zip(along, trainable, strict=True))
    for one, other in zip(before, network.get_weights(), strict=True):
        assert np.isfinite(other).all()
        assert (one != other).any()


# Where it cannot be had.


@pytest.fixture
def with_keras(monkeypatch):
    """As if other versions were installed."""

    def pretend(keras_version, tensorflow_addons):
        monkeypatch.setattr(
            importlib.metadata,
            "version",
            {"keras": keras_version, "tensorflow-addons": "0.23"}.__getitem__,
        )
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: "found" if tensorflow_addons else None,
        )

    return pretend


HAD = {
    ("2.15.0", True): set(recipes.OPTIMIZERS),
    ("2.15.0", False): {"adam", "adamax", "nadam"},
    ("3.4.1", True): {"adam", "adamax", "nadam"},
    ("3.5.0", False): {"adam", "adamax", "nadam", "lamb"},
    ("3.15.1", False): {"adam", "adamax", "nadam", "lamb"},
}


@pytest.mark.parametrize("versions", HAD, ids=str)
def test_what_cannot_be_had_is_one_line(with_keras, versions):
    with_keras(*versions)
    for name in recipes.OPTIMIZERS:
        recipe = RECIPE.replace(optimizer=name)
        if name in HAD[versions]:
            addons.check(recipe)
            continue
        with pytest.raises(RecipeError) as error:
            addons.check(recipe)
        (line,) = str(error.value).splitlines()
        assert line.startswith("optimizer: expected one of adam, ")
        assert f"got {name!r}, which is of tensorflow-addons" in line
        why = "not installed" if versions[0] < "3" else versions[0]
        assert why in line
        assert "the extra addons has both" in line


def test_what_is_said_is_what_is_here():
    """The table above is of versions; this is of what does import."""
    if keras.__version__.startswith("2"):
        assert importlib.util.find_spec("tensorflow_addons")
        assert addons.load().optimizers.Yogi
        assert not hasattr(keras.optimizers, "Lamb")
    else:
        assert "yogi" not in optimizers._OPTIMIZERS
        assert addons._keras() >= (3, 5)
        assert keras.optimizers.Lamb


def test_theirs_keep_no_averages(with_keras):
    with_keras("2.15.0", True)
    recipe = RECIPE.replace(ema_momentum=0.9)
    addons.check(recipe)
    for name in recipes.ADDONS:
        with pytest.raises(RecipeError, match="ema_momentum: expected 0 with"):
            addons.check(recipe.replace(optimizer=name))
    with_keras("3.5.0", False)
    addons.check(recipe.replace(optimizer="lamb"))


def test_an_import_that_fails_is_one_line(monkeypatch):
    def fail(name):
        raise AttributeError("no such thing")

    monkeypatch.setattr(addons.importlib, "import_module", fail)
    with pytest.raises(RecipeError, match="got AttributeError: no such"):
        addons.load()


def test_versions(with_keras):
    with_keras("2.15.0", True)
    assert addons.versions(RECIPE) == {}
    lamb_recipe = RECIPE.replace(optimizer="lamb")
    assert addons.versions(lamb_recipe) == {"tensorflow-addons": "0.23"}
    with_keras("3.5.0", False)
    assert addons.versions(lamb_recipe) == {}


def test_the_trainer_says_so_before_it_starts(tmp_path):
    """Before a folder is made, and before TensorFlow is loaded."""
    code = (
        "import sys\n"
        "from mnistpipe import main\n"
        "from mnistpipe.cli import app, flags\n"
        "from mnistpipe.recipes import Recipe, RunOptions, addons\n"
        "addons._missing = lambda name: name == 'yogi' and 'gone' or ''\n"
        "flags.define(Recipe)\n"
        "flags.define(RunOptions)\n"
        "try:\n"
        "    app.run(main.main)\n"
        "finally:\n"
        "    print('tensorflow' in sys.modules)\n"
    )
    arguments = ("--arch=wide900k", "--optimizer=yogi")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, "False\n"), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: optimizer: expected one of adam, ")
    assert line.endswith("got 'yogi', gone")
    assert not list(tmp_path.iterdir())


# In a sweep.


@pytest.mark.parametrize("versions", HAD, ids=str)
def test_a_sweep_tries_what_can_be_had(with_keras, versions):
    with_keras(*versions)
    axis = space.select(RECIPE)["optimizer"]
    assert set(axis.choices) == HAD[versions]
    assert axis.documented == "adam"
    asked = {"optimizer": ["yogi", "lamb"]}
    if HAD[versions] >= {"yogi", "lamb"}:
        axis = space.select(RECIPE, "", asked)["optimizer"]
        assert set(axis.choices) == {"adam", "yogi", "lamb"}
    else:
        with pytest.raises(RecipeError, match=r"^space: optimizer: expected"):
            space.select(RECIPE, "", asked)


def test_a_sweep_around_what_cannot_be_had_is_refused(with_keras):
    with_keras("3.15.1", False)
    recipe = RECIPE.replace(optimizer="lookahead")
    with pytest.raises(RecipeError, match=r"^optimizer: expected one of adam"):
        space.select(recipe)
    with pytest.raises(RecipeError, match=r"^optimizer: expected one of adam"):
        space.select(recipe, "rotation")


def test_a_sweep_with_averages_leaves_theirs_out(with_keras):
    with_keras("2.15.0", True)
    averages = {"ema_momentum": {"min": 0.9, "max": 0.99}}
    axes = space.select(RECIPE, "", averages)
    assert axes["optimizer"].choices == ("adam", "adamax", "nadam")
    averages["optimizer"] = ["yogi"]
    with pytest.raises(RecipeError, match=r"^space: ema_momentum: expected 0"):
        space.select(RECIPE, "", averages)
    assert "optimizer" not in space.select(RECIPE, "rotation", averages)
