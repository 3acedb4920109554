"""Small trainings on real digits: the flow, the protocols, the folder."""

import csv
import json

import helpers
import keras
import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import data, pipeline
from mnistpipe.networks import augmentation, models
from mnistpipe.recipes import RECIPES, RecipeError, RunOptions, flagfiles
from mnistpipe.runs import record, runfolder
from mnistpipe.training import callbacks, feeding, protocol, train


@pytest.fixture(scope="module")
def digits():
    return helpers.few_digits()


def run(path, digits, recipe=None, **options):
    recipe = recipe or helpers.quick_recipe()
    return train.train(recipe, helpers.quick_options(path, **options), digits)


@pytest.fixture
def tiny(monkeypatch):
    """A network of one layer, for what does not depend on the network."""
    monkeypatch.setattr(models, "build", helpers.tiny_network)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits):
    """(folder, metrics) of the run that others are compared with."""
    path = tmp_path_factory.mktemp("trained")
    return path, run(path, digits)


# Reproducibility


def weights(path, name):
    return models.load(path / name).get_weights()


def test_same_seed_same_history_to_the_last_bit_whatever_the_test_set(
    trained, tmp_path, digits
):
    """Noise for test images: training must not have looked at them."""
    rng = np.random.default_rng(3)
    noise = data.Examples(
        rng.integers(0, 256, (60, 28, 28, 1), dtype=np.uint8),
        rng.integers(0, 10, 60),
    )
    blind = data.Digits("blind", digits.train, noise, 10, "")
    again = run(tmp_path, blind)
    folder, metrics = trained
    assert again.history == metrics.history
    for name in ("history.csv", "flags.cfg"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    for name in ("best.keras", "last.keras"):
        for one, other in zip(
            weights(tmp_path, name), weights(folder, name), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    assert again.test_accuracy != metrics.test_accuracy


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [0.0, 0.9])
def test_watching_the_test_set_changes_nothing_else(
    trained, tmp_path, digits, averaged
):
    """The last score is that of the saved network; no other bit differs."""
    recipe = helpers.quick_recipe(ema_momentum=averaged)
    plain = trained[1] if not averaged else run(tmp_path / "0", digits, recipe)
    metrics = run(tmp_path / "1", digits, recipe, watch_test=True)
    history = dict(metrics.history)
    accuracies = history.pop("test_accuracy")
    assert len(accuracies) == len(history.pop("test_loss")) == recipe.epochs
    assert history == plain.history
    last = models.load(tmp_path / "1" / "last.keras")
    assert accuracies[-1] == helpers.accuracy(last, digits.test)


def test_another_seed_differs(trained, tmp_path, digits):
    other = run(tmp_path, digits, seed=2)
    assert other.history["loss"] != trained[1].history["loss"]


def check_paths_agree(tmp_path, digits, recipe, tolerance, **options):
    host = run(tmp_path / "host", digits, recipe)
    device = run(tmp_path / "device", digits, recipe, input="device", **options)
    assert (host.input, device.input) == ("host", "device")
    assert host.history.keys() == device.history.keys()
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(
            host.history[name], device.history[name], rtol=tolerance
        )
    # What is saved is the network alone, alike on both paths.
    sizes = [
        (tmp_path / path / "last.keras").stat().st_size
        for path in ("host", "device")
    ]
    assert abs(sizes[0] - sizes[1]) < 1000


@pytest.mark.slow
def test_the_device_path_trains_like_the_host_path(tmp_path, digits):
    """Without dropout, which the two models may draw differently."""
    recipe = helpers.quick_recipe(dropout=0, output_dropout=0)
    check_paths_agree(tmp_path, digits, recipe, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 5])
def test_the_compiled_device_path_trains_likewise(
    tiny, tmp_path, digits, steps
):
    """Also with several steps in one call, and a last one that is short."""
    recipe = helpers.quick_recipe(batch_size=60)
    check_paths_agree(
        tmp_path,
        digits,
        recipe,
        1e-5,
        jit_compile="on",
        steps_per_execution=steps,
    )


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_seeds_of_32_bits_reach_keras_as_they_are(seed):
    assert train.keras_seed(seed) == seed


def test_both_halves_of_a_seed_reach_keras():
    seeds = [5, 5 + 2**32, 5 + 2**40, 2**63 - 1]
    folded = [train.keras_seed(seed) for seed in seeds]
    assert len(set(folded)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in folded)


# Protocols


def rows(examples):
    return {
        (int(label), image.tobytes())
        for image, label in zip(examples.images, examples.labels, strict=True)
    }


def test_split_holds_out_a_stratified_part(digits):
    split = protocol.split_rows(RunOptions(validation_size=50), digits)
    assert (len(split.train), len(split.validation)) == (250, 50)
    assert not rows(split.train) & rows(split.validation)
    assert rows(split.train) | rows(split.validation) == rows(digits.train)
    share = np.bincount(digits.train.labels) / 6
    held_out = np.bincount(split.validation.labels)
    assert np.abs(held_out - share).max() < 1


def test_no_validation_trains_on_everything(digits):
    split = protocol.split_rows(RunOptions(validation="none"), digits)
    assert split.train is digits.train
    assert split.validation is None


def test_validation_on_the_test_set_is_just_that(digits):
    split = protocol.split_rows(RunOptions(validation="test"), digits)
    assert split.train is digits.train
    assert split.validation is digits.test


def test_train_examples_thins_the_training_rows_alone(digits):
    options = RunOptions(validation_size=50, train_examples=100)
    thin, full = (
        protocol.split_rows(o, digits)
        for o in (options, options.replace(train_examples=0))
    )
    assert len(thin.train) == 100
    assert rows(thin.train) < rows(full.train)
    assert rows(thin.validation) == rows(full.validation)


@pytest.mark.parametrize(
    "wrong", [{"validation_size": 300}, {"train_examples": 10_000}]
)
def test_more_than_there_is_leaves_no_folder(tmp_path, digits, wrong):
    with pytest.raises(data.DataError) as error:
        run(tmp_path / "run", digits, **wrong)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_execution_may_not_reach_into_the_next_epoch(tmp_path, digits):
    """Keras would take 6 steps for an epoch of 5."""
    with pytest.raises(RecipeError, match=r"\(1, 5\), got 3"):
        run(tmp_path / "run", digits, steps_per_execution=3)
    assert not (tmp_path / "run").exists()


def test_without_validation_the_last_weights_count(tiny, tmp_path, digits):
    metrics = run(tmp_path, digits, validation="none")
    assert metrics.weights == "last.keras"
    assert metrics.train_examples == 300
    assert metrics.validation_examples == 0
    assert not (tmp_path / "best.keras").exists()
    network = models.load(tmp_path / "last.keras")
    expected = helpers.accuracy(network, digits.test)
    assert metrics.test_accuracy == pytest.approx(expected)
    assert not any(name.startswith("val_") for name in metrics.history)


def test_selection_on_the_test_set_is_recorded(tiny, tmp_path, digits):
    metrics = run(tmp_path, digits, validation="test")
    assert metrics.selected_on_test
    assert metrics.options.validation == "test"
    best = max(metrics.history["val_accuracy"])
    assert metrics.test_accuracy == pytest.approx(best)


# The recipe reaches the training


def test_augmentation_of_the_documented_recipe():
    assert augmentation.compose(RECIPES["strided400k"]) == pipeline.Compose(
        [
            pipeline.RandomAffine(
                rotation=10,
                width_shift=0.1,
                height_shift=0.1,
                shear=0.2,
                zoom=0.1,
                fill_mode="nearest",
            ),
            pipeline.Rescale(1 / 255),
            pipeline.GaussianNoise(0.05),
        ]
    )


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
def test_flips_are_off_and_can_be_on(name):
    recipe = RECIPES["pool2m"]
    affine = augmentation.compose(recipe).transforms[0]
    assert not affine.horizontal_flip
    assert not affine.vertical_flip
    flipped = augmentation.compose(recipe.replace(**{name: True}))
    assert getattr(flipped.transforms[0], name)


def test_no_augmentation_is_rescaling():
    off = dict.fromkeys(
        ("rotation", "width_shift", "height_shift", "shear", "zoom"), 0
    )
    plain = augmentation.compose(RECIPES["wide900k"].replace(**off))
    assert plain == pipeline.Compose([pipeline.Rescale(1 / 255)])


def test_validation_pictures_are_rescaled_only(digits):
    for recipe in RECIPES.values():
        pictures = feeding.deterministic(recipe, digits.test.images)
        np.testing.assert_allclose(
            pictures, digits.test.images / 255, atol=1e-6
        )
        assert pictures.dtype == np.float32


def test_label_smoothing_and_optimizer_reach_the_model(digits):
    """The loss beside smoothed cross-entropy in numpy."""
    recipe = helpers.quick_recipe(
        label_smoothing=0.1, beta_1=0.8, beta_2=0.99, learning_rate=0.002
    )
    network = train.build(recipe, digits)
    split = protocol.Split(digits.train, digits.test)
    options = RunOptions(input="host")
    feed = feeding.make_feed(recipe, options, network, split, 10)
    pictures, targets = feed.validation
    loss, _ = feed.model.evaluate(pictures, targets, verbose=0)
    smooth = 0.9 * np.eye(10)[digits.test.labels] + 0.1 / 10
    answers = network.predict(pictures, verbose=0).astype(np.float64)
    expected = -(smooth * np.log(answers)).sum(axis=1).mean()
    assert loss == pytest.approx(expected, rel=1e-5)
    optimizer = feed.model.optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.8, 0.99)
    assert float(optimizer.learning_rate) == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"schedule": "epoch_decay", "decay_factor": 0.9}, [1, 0.9, 0.81]),
        (
            {
                "schedule": "hold_then_decay",
                "decay_factor": 0.5,
                "hold_epochs": 2,
            },
            [1, 1, 0.5],
        ),
        ({"schedule": "constant"}, [1, 1, 1]),
        # A loss that cannot improve by any number: halved at each epoch.
        (
            {
                "schedule": "plateau",
                "plateau_monitor": "val_loss",
                "plateau_patience": 1,
                "plateau_factor": 0.5,
            },
            [1, 1, 0.5],
        ),
    ],
    ids=lambda value: value["schedule"] if isinstance(value, dict) else "",
)
def test_schedules_in_a_training(schedule, expected, tiny_fit):
    recipe = helpers.quick_recipe(
        epochs=3, early_stopping_patience=0, **schedule
    )
    rates = tiny_fit(callbacks.schedule(recipe, True, steps_per_epoch=1))
    np.testing.assert_allclose(rates, np.multiply(expected, 1e-3), rtol=1e-6)


@pytest.fixture
def tiny_fit():
    """Three epochs of a model that learns nothing; its learning rates."""

    def fit(schedule):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Flatten()])
        model.compile(keras.optimizers.Adam(1e-3), "mse")
        x = np.zeros((4, 1), np.float32)
        history = model.fit(
            x,
            x,
            epochs=3,
            validation_data=(x, x),
            callbacks=schedule,
            verbose=0,
        ).history
        return history.get("learning_rate", history.get("lr"))

    return fit


def test_documented_plateau_and_stopping():
    recipe = RECIPES["wide900k"]
    plateau, stopping = callbacks.schedule(recipe, True, steps_per_epoch=1)
    assert isinstance(plateau, keras.callbacks.ReduceLROnPlateau)
    assert plateau.monitor == "val_accuracy"
    assert (plateau.patience, plateau.factor) == (3, 0.5)
    assert plateau.min_lr == 1e-5
    assert plateau.mode == "max"
    assert isinstance(stopping, keras.callbacks.EarlyStopping)
    assert (stopping.monitor, stopping.patience) == ("val_accuracy", 10)


def test_without_validation_they_watch_the_training_loss():
    recipe = RECIPES["wide900k"]
    schedule = callbacks.schedule(recipe, False, steps_per_epoch=1)
    assert [one.monitor for one in schedule] == ["loss", "loss"]
    assert schedule[0].mode == "min"


class Saves:
    """Stands for network and folder: counts what is saved."""

    def __init__(self):
        self.names = []

    def save_network(self, network, name):
        self.names.append(name)

    def get_weights(self):
        return []


@pytest.mark.parametrize(
    ("monitor", "figures", "epochs"),
    [
        ("val_accuracy", [0.5, 0.7, 0.7, 0.6, 0.8], [0, 1, 4]),
        ("val_loss", [0.5, 0.7, 0.4, 0.4, 0.3], [0, 2, 4]),
        ("val_loss", [float("nan"), 0.7, float("nan")], [1]),
    ],
)
def test_best_is_the_first_of_the_best(monitor, figures, epochs):
    saves = Saves()
    best = callbacks.SaveBest(saves, saves, monitor)
    saved = []
    for epoch, figure in enumerate(figures):
        before = len(saves.names)
        best.on_epoch_end(epoch, {monitor: figure})
        saved += [epoch] * (len(saves.names) - before)
    assert saved == epochs
    assert best.best_epoch == epochs[-1]


# The run folder


def test_the_folder_holds_what_it_promises(trained):
    folder, metrics = trained
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "flags.cfg",
        "history.csv",
        "tensorboard",
        "test_probabilities.npy",
        "best.keras",
        "last.keras",
        "metrics.json",
        "state",
    }
    assert record.read(folder / "metrics.json") == metrics
    kept = json.loads((folder / "metrics.json").read_text())
    assert kept == metrics.to_json()
    recipe, _ = flagfiles.read(str(folder / "flags.cfg"), whole=True)
    assert recipe == metrics.recipe


def test_metrics_say_what_made_them(trained, digits):
    _, metrics = trained
    assert metrics.options.validation == "split"
    assert metrics.selected_on_test is False
    assert metrics.seed == 1
    assert metrics.versions["keras"] == keras.__version__
    assert metrics.hardware.cores >= 1
    assert metrics.parameters == 887_530
    assert metrics.data.fingerprint == digits.fingerprint
    assert metrics.recipe == helpers.quick_recipe()
    assert (metrics.epochs_run, metrics.steps) == (2, 10)
    assert metrics.train_examples == 250
    assert 0 < metrics.fit_seconds < metrics.duration_seconds
    per_second = 2 * 250 / metrics.fit_seconds
    assert metrics.images_per_second == pytest.approx(per_second)


def test_the_scored_network_is_the_one_that_is_kept(trained, digits):
    folder, metrics = trained
    history = metrics.history
    assert metrics.weights == "best.keras"
    assert metrics.best_epoch == int(np.argmax(history["val_accuracy"]))
    network = models.load(folder / "best.keras")
    expected = helpers.accuracy(network, digits.test)
    assert metrics.test_accuracy == pytest.approx(expected)
    assert metrics.test_examples == len(digits.test)
    counts = [one.examples for one in metrics.per_class]
    assert counts == np.bincount(digits.test.labels).tolist()


def test_history_file_and_scalars_are_the_history(trained):
    from tensorboard.backend.event_processing import event_accumulator

    folder, metrics = trained
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["val_loss"]) for row in rows]
    np.testing.assert_allclose(losses, metrics.history["val_loss"], rtol=1e-7)
    assert not any("time" in name for name in rows[0])
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    scalars = [
        float(tf.make_ndarray(one.tensor_proto))
        for one in events.Tensors("loss")
    ]
    np.testing.assert_allclose(scalars, metrics.history["loss"], rtol=1e-6)


def test_a_used_folder_is_refused_before_any_work(
    tmp_path, digits, monkeypatch
):
    (tmp_path / "metrics.json").write_text("{}")
    before = helpers.files(tmp_path)
    # Work would fail:
    monkeypatch.setattr(train.protocol, "split_rows", None)
    with pytest.raises(runfolder.RunFolderError):
        run(tmp_path, digits)
    assert helpers.files(tmp_path) == before


def test_no_epochs_evaluate_the_untrained_network(tiny, tmp_path, digits):
    metrics = run(tmp_path, digits, helpers.quick_recipe(epochs=0))
    assert (metrics.epochs_run, metrics.steps) == (0, 0)
    assert metrics.images_per_second == 0
    assert metrics.weights == "last.keras"
    assert not metrics.interrupted
    network = models.load(tmp_path / "last.keras")
    expected = helpers.accuracy(network, digits.test)
    assert metrics.test_accuracy == pytest.approx(expected)


def test_a_run_that_diverges_says_so(tiny, tmp_path, digits, monkeypatch):
    """Without a figure to be best in, the last weights count."""
    monkeypatch.setattr(
        feeding, "one_hot", lambda *_: np.full((300, 10), np.nan)
    )
    metrics = run(tmp_path, digits, validation="none")
    assert metrics.weights == "last.keras"
    assert metrics.test_accuracy == 0
    kept = json.loads((tmp_path / "metrics.json").read_text())
    assert kept["test_loss"] is None
    assert kept["history"]["loss"] == [None, None]


def test_ctrl_c_leaves_a_valid_folder(tiny, tmp_path, digits, monkeypatch):
    """In the second epoch, after some steps."""

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.EpochScalars, "on_epoch_end", interrupt)
    metrics = run(tmp_path, digits)
    assert metrics.interrupted
    assert metrics.test_accuracy is None
    assert metrics.per_class is None
    assert metrics.steps == 10
    assert record.read(tmp_path / "metrics.json") == metrics
    for name in ("best.keras", "last.keras"):
        assert models.load(tmp_path / name).count_params() == 7850
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_ctrl_c_while_testing_leaves_a_valid_folder(
    tiny, tmp_path, digits, monkeypatch
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.scoring, "predict", interrupt)
    metrics = run(tmp_path, digits)
    assert metrics.interrupted
    assert metrics.epochs_run == 2
    assert metrics.test_accuracy is None
    assert record.read(tmp_path / "metrics.json") == metrics


def test_the_test_set_can_be_left_alone(tiny, tmp_path, digits, monkeypatch):
    def refuse(*_):
        raise AssertionError("the test images were read")

    monkeypatch.setattr(train.scoring, "predict", refuse)
    metrics = run(tmp_path, digits, evaluate_test=False)
    assert not metrics.interrupted
    assert metrics.test_accuracy is None
    assert metrics.test_examples is None
    assert len(metrics.history["val_accuracy"]) == 2


def test_the_time_left_follows_the_last_epoch(monkeypatch, capsys):
    """Ten steps an epoch; epoch 0 had 5 steps left when it was resumed."""
    clock = iter([100.0, 120.0, 150.0])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock))
    time_left = callbacks.TimeLeft(epochs=31, steps_per_epoch=10)
    for epoch, steps in enumerate([5, 10, 10]):
        time_left.set_params({"steps": steps})
        time_left.on_epoch_begin(epoch)
    # 30 epochs of 10 steps of 4 s, then 29 epochs of 30 s.
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["about 20 min 0 s left", "about 14 min 30 s left"]
